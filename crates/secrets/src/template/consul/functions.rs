//! The functions of a template, by name.

mod compare;
mod encode;
mod format;
mod json;
mod number;
mod source;
mod sprig;
mod text;

pub(in crate::template) use self::encode::sha256;
use super::value::Value;
use crate::template::Values;
use crate::template::fault::Fault;

/// The most items that a function makes.
const MAX_ITEMS: usize = 100_000;

/// A function, and how many arguments it takes.
pub(super) struct Function {
    name: &'static str,
    least: usize,
    most: usize,
    pub(super) run: fn(&Call<'_>) -> Result<Value, Fault>,
}

/// A call of a function.
pub(super) struct Call<'a> {
    pub(super) name: &'a str,
    /// As many as [`Function::check`] accepts.
    pub(super) arguments: &'a [Value],
    pub(super) values: &'a Values,
}

const ANY: usize = usize::MAX;

const fn function(
    name: &'static str,
    least: usize,
    most: usize,
    run: fn(&Call<'_>) -> Result<Value, Fault>,
) -> Function {
    Function { name, least, most, run }
}

const ALL: [&[Function]; 8] = [
    compare::FUNCTIONS,
    encode::FUNCTIONS,
    format::FUNCTIONS,
    json::FUNCTIONS,
    number::FUNCTIONS,
    source::FUNCTIONS,
    sprig::FUNCTIONS,
    text::FUNCTIONS,
];

/// Those that the evaluation itself does.
const BUILT_IN: [Function; 3] = [
    function("and", 1, ANY, unreachable_function),
    function("or", 1, ANY, unreachable_function),
    function("executeTemplate", 1, 2, unreachable_function),
];

fn unreachable_function(call: &Call<'_>) -> Result<Value, Fault> {
    Err(Fault::new(format!("{} is not called like this", call.name)))
}

/// Functions of consul-template that are not here, and why.
const LEFT_OUT: &[(&[&str], &str)] = &[
    (
        &[
            "key",
            "keyExists",
            "keyOrDefault",
            "ls",
            "safeLs",
            "tree",
            "safeTree",
            "service",
            "services",
            "node",
            "nodes",
            "datacenters",
            "connect",
            "caRoots",
            "caLeaf",
            "partitions",
            "peerings",
            "exportedServices",
            "byKey",
            "byTag",
            "byMeta",
            "byPort",
        ],
        "Consul is not read; have the value in a secret or in the environment",
    ),
    (
        &[
            "nomadServices",
            "nomadService",
            "nomadVarList",
            "nomadVarListSafe",
            "nomadVar",
            "nomadVarExists",
        ],
        "Nomad is not read; have the value in a secret or in the environment",
    ),
    (&["secrets"], "names of secrets are not listed; name each one with secret"),
    (&["file"], "files are not read with our rights; use a configuration source, which is watched"),
    (&["plugin"], "commands are not run by a template"),
    (&["writeToFile"], "a template writes the file it is for; add another file to the set"),
    (&["scratch"], "there is no scratch; use variables"),
    (&["toTOML", "parseYAML"], "TOML is not written and YAML not read here; JSON is"),
];

/// The function with this name.
///
/// # Errors
/// There is none; says why, or which name is near.
pub(super) fn find(name: &str) -> Result<&'static Function, Fault> {
    let all = || ALL.into_iter().flatten().chain(&BUILT_IN);
    if let Some(function) = all().find(|function| function.name == name) {
        return Ok(function);
    }
    if let Some((_, why)) = LEFT_OUT.iter().find(|(names, _)| names.contains(&name)) {
        return Err(Fault::new(format!("{name} cannot be used here: {why}")));
    }
    let near = all()
        .map(|function| (strsim::damerau_levenshtein(function.name, name), function.name))
        .min()
        .filter(|(distance, _)| *distance <= 3)
        .map(|(_, near)| format!("; did you mean {near}?"));
    Err(Fault::new(format!("there is no function {name}{}", near.unwrap_or_default())))
}

impl Function {
    /// # Errors
    /// It takes fewer or more arguments.
    pub(super) fn check(&self, count: usize) -> Result<(), Fault> {
        if (self.least..=self.most).contains(&count) {
            return Ok(());
        }
        let wanted = match (self.least, self.most) {
            (least, ANY) => format!("at least {least}"),
            (least, most) if least == most => least.to_string(),
            (least, most) => format!("{least} to {most}"),
        };
        Err(Fault::new(format!("{} takes {wanted} arguments, not {count}", self.name)))
    }
}

impl Call<'_> {
    fn value(&self, at: usize) -> &Value {
        self.arguments.get(at).unwrap_or(&Value::Nil)
    }

    fn last(&self) -> &Value {
        self.arguments.last().unwrap_or(&Value::Nil)
    }

    fn unfit(&self, at: usize, wanted: &str) -> Fault {
        let kind = self.value(at).kind();
        Fault::new(format!("argument {} of {} is {kind}, not {wanted}", at + 1, self.name))
    }

    fn text(&self, at: usize) -> Result<&str, Fault> {
        match self.value(at) {
            Value::Text(text) => Ok(text),
            _ => Err(self.unfit(at, "a text")),
        }
    }

    fn int(&self, at: usize) -> Result<i64, Fault> {
        match self.value(at) {
            Value::Int(number) => Ok(*number),
            _ => Err(self.unfit(at, "an integer")),
        }
    }

    fn count(&self, at: usize) -> Result<usize, Fault> {
        usize::try_from(self.int(at)?).map_err(|_| self.unfit(at, "from 0 on"))
    }

    fn items(&self, at: usize) -> Result<Vec<Value>, Fault> {
        match self.value(at) {
            Value::List(items) => Ok(items.to_vec()),
            _ => Err(self.unfit(at, "a list")),
        }
    }

    fn fault(&self, what: impl std::fmt::Display) -> Fault {
        Fault::new(format!("{}: {what}", self.name))
    }

    /// A list of what may be many.
    fn list(&self, items: impl Iterator<Item = Value>) -> Result<Value, Fault> {
        let items: Vec<Value> = items.take(MAX_ITEMS + 1).collect();
        match items.len() > MAX_ITEMS {
            true => Err(self.fault(format!("more than {MAX_ITEMS} items"))),
            false => Ok(Value::list(items)),
        }
    }
}
