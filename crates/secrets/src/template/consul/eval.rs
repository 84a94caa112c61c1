//! Renders a parsed template.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use super::functions::{self, Call};
use super::parser::Parsed;
use super::tree::{Base, Branch, Command, Node, Operand, Pipeline};
use super::value::Value;
use crate::template::fault::Fault;
use crate::template::output::Output;
use crate::template::{MAX_STEPS, Values};

/// How deep templates may call each other.
const MAX_DEPTH: usize = 50;

/// Renders `parsed` with the values.
///
/// # Errors
/// A value is missing or does not fit, or a limit is reached.
pub(super) fn render(parsed: &Parsed, values: &Values) -> Result<Output, Fault> {
    let mut machine = Machine::new(&parsed.defined, values);
    machine.list(&parsed.body, &Value::Nil)?;
    Ok(machine.out)
}

/// The value of an operand that needs no secret and no variable.
pub(super) fn constant(operand: &Operand, values: &Values) -> Result<Value, Fault> {
    Machine::new(&BTreeMap::new(), values).operand(operand, &Value::Nil)
}

struct Machine<'a> {
    defined: &'a BTreeMap<String, Vec<Node>>,
    values: &'a Values,
    out: Output,
    variables: Vec<(String, Value)>,
    steps: usize,
    depth: usize,
}

enum Flow {
    Next,
    Break,
    Continue,
}

impl<'a> Machine<'a> {
    fn new(defined: &'a BTreeMap<String, Vec<Node>>, values: &'a Values) -> Self {
        let variables = vec![(String::new(), Value::Nil)];
        Self { defined, values, out: Output::default(), variables, steps: 0, depth: 0 }
    }

    fn step(&mut self) -> Result<(), Fault> {
        self.steps += 1;
        match self.steps > MAX_STEPS {
            true => {
                Err(Fault::new(format!("more than {MAX_STEPS} steps; is there an endless loop?")))
            }
            false => Ok(()),
        }
    }

    fn list(&mut self, nodes: &[Node], dot: &Value) -> Result<Flow, Fault> {
        for node in nodes {
            self.step()?;
            match self.node(node, dot)? {
                Flow::Next => {}
                flow @ (Flow::Break | Flow::Continue) => return Ok(flow),
            }
        }
        Ok(Flow::Next)
    }

    fn node(&mut self, node: &Node, dot: &Value) -> Result<Flow, Fault> {
        let mark = self.variables.len();
        match node {
            Node::Text(text) => self.out.push(text)?,
            Node::Show(pipeline) => self.show(pipeline, dot)?,
            Node::Template { name, data, at } => {
                let data = match data {
                    Some(pipeline) => self.pipeline(pipeline, dot)?,
                    None => Value::Nil,
                };
                self.template(name, &data).map_err(|fault| fault.placed(*at))?;
            }
            Node::If(branch) => {
                let chosen = self.pipeline(&branch.pipeline, dot)?.is_true();
                let flow = self.list(if chosen { &branch.body } else { &branch.otherwise }, dot);
                self.variables.truncate(mark);
                return flow;
            }
            Node::With(branch) => {
                let value = self.pipeline(&branch.pipeline, dot)?;
                let flow = match value.is_true() {
                    true => self.list(&branch.body, &value),
                    false => self.list(&branch.otherwise, dot),
                };
                self.variables.truncate(mark);
                return flow;
            }
            Node::Range(branch) => {
                let flow = self.range(branch, dot);
                self.variables.truncate(mark);
                return flow;
            }
            Node::Break => return Ok(Flow::Break),
            Node::Continue => return Ok(Flow::Continue),
        }
        Ok(Flow::Next)
    }

    fn show(&mut self, pipeline: &Pipeline, dot: &Value) -> Result<(), Fault> {
        let value = self.pipeline(pipeline, dot)?;
        if !pipeline.variables.is_empty() {
            return Ok(());
        }
        if value == Value::Nil {
            let text = "nothing is there to show; ask with {{if}} or give a default with {{or}}";
            return Err(Fault::at(pipeline.at, text));
        }
        value.write(&mut self.out, "<nil>").map_err(|fault| fault.placed(pipeline.at))
    }

    fn template(&mut self, name: &str, data: &Value) -> Result<(), Fault> {
        let defined = self.defined;
        let unknown = || Fault::new(format!("there is no template {name:?}"));
        let body = defined.get(name).ok_or_else(unknown)?;
        if self.depth == MAX_DEPTH {
            return Err(Fault::new(format!("templates call each other deeper than {MAX_DEPTH}")));
        }
        self.depth += 1;
        let own = vec![(String::new(), data.clone())];
        let outer = std::mem::replace(&mut self.variables, own);
        let result = self.list(body, data);
        self.variables = outer;
        self.depth -= 1;
        result.map(|_flow| ())
    }

    fn range(&mut self, branch: &Branch, dot: &Value) -> Result<Flow, Fault> {
        let over = self.commands(&branch.pipeline, dot)?;
        let items: Vec<(Value, Value)> = match &over {
            Value::Nil => Vec::new(),
            Value::List(items) => (0..).map(Value::Int).zip(items.iter().cloned()).collect(),
            Value::Map(entries) => entries
                .iter()
                .map(|(key, value)| (Value::text(key.as_str()), value.clone()))
                .collect(),
            // Not collected without a look: the number may be any.
            Value::Int(count) if usize::try_from(*count).is_ok_and(|count| count <= MAX_STEPS) => {
                (0..*count).map(|number| (Value::Int(number), Value::Int(number))).collect()
            }
            other => {
                let text = format!("range goes over lists and maps, not over {}", other.kind());
                return Err(Fault::at(branch.pipeline.at, text));
            }
        };
        if items.is_empty() {
            return self.list(&branch.otherwise, dot);
        }
        let mark = self.variables.len();
        for (key, value) in items {
            self.step().map_err(|fault| fault.placed(branch.pipeline.at))?;
            match branch.pipeline.variables.as_slice() {
                [first, second] => {
                    self.set(first, key, branch.pipeline.assigns);
                    self.set(second, value.clone(), branch.pipeline.assigns);
                }
                names => names.iter().for_each(|name| {
                    self.set(name, value.clone(), branch.pipeline.assigns);
                }),
            }
            let flow = self.list(&branch.body, &value)?;
            self.variables.truncate(mark);
            if matches!(flow, Flow::Break) {
                break;
            }
        }
        Ok(Flow::Next)
    }

    fn set(&mut self, name: &str, value: Value, assigns: bool) {
        let known = self.variables.iter_mut().rev().find(|(known, _)| known == name);
        match known {
            Some((_, old)) if assigns => *old = value,
            _ => self.variables.push((name.to_owned(), value)),
        }
    }

    fn pipeline(&mut self, pipeline: &Pipeline, dot: &Value) -> Result<Value, Fault> {
        let value = self.commands(pipeline, dot)?;
        for name in &pipeline.variables {
            self.set(name, value.clone(), pipeline.assigns);
        }
        Ok(value)
    }

    fn commands(&mut self, pipeline: &Pipeline, dot: &Value) -> Result<Value, Fault> {
        let mut value = None;
        for command in &pipeline.commands {
            self.step().map_err(|fault| fault.placed(command.at))?;
            let result = self.command(command, dot, value.take());
            value = Some(result.map_err(|fault| fault.placed(command.at))?);
        }
        Ok(value.unwrap_or(Value::Nil))
    }

    fn command(
        &mut self,
        command: &Command,
        dot: &Value,
        last: Option<Value>,
    ) -> Result<Value, Fault> {
        let Some((first, arguments)) = command.words.split_first() else {
            return Ok(Value::Nil);
        };
        match &first.base {
            Base::Function(name) if first.fields.is_empty() => {
                self.call(name, arguments, dot, last)
            }
            _ if !arguments.is_empty() || last.is_some() => {
                Err(Fault::new("only a function takes arguments; this is a value"))
            }
            _ => self.operand(first, dot),
        }
    }

    fn call(
        &mut self,
        name: &str,
        arguments: &[Operand],
        dot: &Value,
        last: Option<Value>,
    ) -> Result<Value, Fault> {
        if matches!(name, "and" | "or") {
            return self.choose(name == "and", arguments, dot, last);
        }
        let mut values = Vec::with_capacity(arguments.len() + 1);
        for argument in arguments {
            values.push(self.operand(argument, dot)?);
        }
        values.extend(last);
        if name == "executeTemplate" {
            return self.execute(&values);
        }
        let function = functions::find(name)?;
        function.check(values.len())?;
        (function.run)(&Call { name, arguments: &values, values: self.values })
    }

    /// `and` and `or`: the first value that decides; those after it are not looked at.
    fn choose(
        &mut self,
        is_and: bool,
        arguments: &[Operand],
        dot: &Value,
        last: Option<Value>,
    ) -> Result<Value, Fault> {
        let mut value = None;
        for argument in arguments {
            let found = self.operand(argument, dot)?;
            if found.is_true() != is_and {
                return Ok(found);
            }
            value = Some(found);
        }
        last.or(value).ok_or_else(|| Fault::new("and/or need an argument"))
    }

    fn execute(&mut self, arguments: &[Value]) -> Result<Value, Fault> {
        let (Some(Value::Text(name)), 1 | 2) = (arguments.first(), arguments.len()) else {
            return Err(Fault::new("executeTemplate takes a name and a value"));
        };
        let outer = std::mem::take(&mut self.out);
        let result = self.template(name, arguments.get(1).unwrap_or(&Value::Nil));
        let text = std::mem::replace(&mut self.out, outer);
        result.map(|()| text.into())
    }

    fn operand(&mut self, operand: &Operand, dot: &Value) -> Result<Value, Fault> {
        let base = match &operand.base {
            Base::Dot => dot.clone(),
            Base::Nil => Value::Nil,
            Base::Bool(value) => Value::Bool(*value),
            Base::Int(number) => Value::Int(*number),
            Base::Float(number) => Value::Float(*number),
            Base::Str(text) => Value::text(text.as_str()),
            Base::Function(name) => self.call(name, &[], dot, None)?,
            Base::Variable(name) => {
                let found = self.variables.iter().rev().find(|(known, _)| known == name);
                found.map_or(Value::Nil, |(_, value)| value.clone())
            }
            Base::Pipeline(pipeline) => {
                let mark = self.variables.len();
                let value = self.pipeline(pipeline, dot)?;
                self.variables.truncate(mark);
                value
            }
        };
        operand
            .fields
            .iter()
            .try_fold(base, |value, name| value.field(name))
            .map_err(|fault| fault.placed(operand.at))
    }
}

/// How two values of one kind are ordered; other kinds cannot be compared.
pub(super) fn order(left: &Value, right: &Value) -> Result<Ordering, Fault> {
    let unfit = || Fault::new(format!("{} and {} cannot be compared", left.kind(), right.kind()));
    match (left, right) {
        (Value::Int(left), Value::Int(right)) => Ok(left.cmp(right)),
        (Value::Float(left), Value::Float(right)) => left.partial_cmp(right).ok_or_else(unfit),
        _ => match (left.letters(), right.letters()) {
            (Some(left), Some(right)) => Ok(left.cmp(right)),
            _ => Err(unfit()),
        },
    }
}
