//! Holds the tree of a file against the schema, and turns it into plain JSON for serde.
//!
//! Every value that breaks a rule is reported and left out, so that the rest can still be looked
//! at; keys and items keep their places.

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::diagnostic::Problems;
use super::key::KeyPath;
use super::nearest::nearest;
use super::schema::{SCHEMA, Shape};
use super::text::{self, Fault};
use super::yaml::{Content, Entry, Node, Span};

/// A value in the file: itself, the place to point at, and its key path.
struct Place<'a> {
    node: &'a Node,
    span: Span,
    path: KeyPath,
}

/// Checks a whole document.
pub(super) fn check(problems: &mut Problems<'_>, document: &Node) -> Value {
    let span = Span { width: 1, ..document.span };
    let place = Place { node: document, span, path: KeyPath::default() };
    value(problems, &SCHEMA, &place).unwrap_or_else(|| Value::Object(Map::new()))
}

fn value(problems: &mut Problems<'_>, schema: &Value, place: &Place<'_>) -> Option<Value> {
    let Some(shape) = Shape::of(schema) else {
        debug_assert!(false, "no shape for {schema}");
        return None;
    };
    match (&place.node.content, shape) {
        (Content::Scalar { .. }, Shape::Either(short, long)) if !place.node.is_null() => {
            let one = value(problems, short, place)?;
            Some(match schema["x-scalar"].as_str() {
                Some(key) => Value::Object(Map::from_iter([(key.to_owned(), one)])),
                None if long["type"] == "array" => Value::Array(vec![one]),
                None => one,
            })
        }
        (_, Shape::Either(_, long)) => value(problems, long, place),
        // `app:` with everything below it commented out.
        (_, Shape::Struct(_) | Shape::Table { .. }) if place.node.is_null() => {
            Some(Value::Object(Map::new()))
        }
        (_, shape) if place.node.is_null() => fail(
            problems,
            place,
            Fault::new(format!("has no value; it must be {}", noun(&shape)))
                .hint("write a value, or leave the key out for the default"),
        ),
        (Content::Mapping(entries), Shape::Struct(properties)) => {
            Some(structure(problems, properties, entries, place))
        }
        (Content::Mapping(entries), Shape::Table { values, keys, most }) => {
            at_most(problems, place, entries.len(), most, "keys");
            Some(table(problems, (values, keys), entries, place))
        }
        (Content::List(items), Shape::List { items: schema, unique, most }) => {
            at_most(problems, place, items.len(), most, "items");
            Some(list(problems, schema, unique, items, place))
        }
        (Content::Scalar { text, plain }, shape) => match scalar(schema, &shape, text, *plain) {
            Ok(value) => Some(value),
            Err(fault) => fail(problems, place, fault),
        },
        (content, shape) => {
            let found = match content {
                Content::List(_) => "a list",
                _ => "a mapping",
            };
            fail(problems, place, Fault::new(format!("must be {}, found {found}", noun(&shape))))
        }
    }
}

fn fail(problems: &mut Problems<'_>, place: &Place<'_>, fault: Fault) -> Option<Value> {
    let text = match &place.node.content {
        Content::Scalar { text, .. } if !place.node.is_null() => Some(text.as_str()),
        _ => None,
    };
    problems.report(place.span, &place.path, text, fault);
    None
}

fn at_most(problems: &mut Problems<'_>, place: &Place<'_>, count: usize, most: u64, of: &str) {
    if u64::try_from(count).unwrap_or(u64::MAX) > most {
        fail(problems, place, Fault::new(format!("has {count} {of}, at most {most} are allowed")));
    }
}

/// A mapping whose keys are ours.
fn structure(
    problems: &mut Problems<'_>,
    properties: &Map<String, Value>,
    entries: &[Entry],
    place: &Place<'_>,
) -> Value {
    let mut seen = HashSet::new();
    let mut object = Map::new();
    for entry in entries {
        let below = below(entry, &place.path);
        let Some(schema) = properties.get(&entry.key) else {
            let fault = if problems.is_full() {
                Fault::new("unknown key")
            } else {
                unknown(&entry.key, properties)
            };
            problems.report(entry.span, &below.path, None, fault);
            continue;
        };
        if !seen.insert(entry.key.as_str()) {
            problems.report(entry.span, &below.path, None, twice());
            continue;
        }
        if let Some(value) = value(problems, schema, &below) {
            object.insert(entry.key.clone(), value);
        }
    }
    Value::Object(object)
}

/// A mapping whose keys are the user's.
fn table(
    problems: &mut Problems<'_>,
    (values, keys): (&Value, &str),
    entries: &[Entry],
    place: &Place<'_>,
) -> Value {
    let mut seen = HashSet::new();
    let mut object = Map::new();
    for entry in entries {
        let below = below(entry, &place.path);
        // Header names are the same in either case, and two upstreams that differ in nothing else
        // would only be taken for each other.
        if !seen.insert(entry.key.to_ascii_lowercase()) {
            problems.report(entry.span, &below.path, None, twice());
            continue;
        }
        if let Some(Err(fault)) = text::kind(keys).map(|kind| (kind.check)(&entry.key)) {
            problems.report(entry.span, &below.path, None, fault);
        }
        if let Some(value) = value(problems, values, &below) {
            object.insert(entry.key.clone(), value);
        }
    }
    Value::Object(object)
}

fn list(
    problems: &mut Problems<'_>,
    schema: &Value,
    unique: bool,
    items: &[Node],
    place: &Place<'_>,
) -> Value {
    let mut seen = HashSet::new();
    let mut values = Vec::new();
    for (index, node) in items.iter().enumerate() {
        let width =
            if matches!(node.content, Content::Scalar { .. }) { node.span.width } else { 1 };
        let span = Span { width, ..node.span };
        let below = Place { node, span, path: place.path.item(index) };
        match value(problems, schema, &below) {
            Some(value) if unique && !seen.insert(value.to_string()) => {
                fail(problems, &below, Fault::new("is in the list twice").hint("remove one"));
            }
            Some(value) => values.push(value),
            // A rule that cannot be read still counts, so that those after it keep their number.
            None if schema["type"] == "object" => values.push(Value::Object(Map::new())),
            None => {}
        }
    }
    Value::Array(values)
}

fn below<'a>(entry: &'a Entry, path: &KeyPath) -> Place<'a> {
    let scalar = matches!(entry.node.content, Content::Scalar { .. }) && !entry.node.is_null();
    let span = if scalar { entry.node.span } else { entry.span };
    Place { node: &entry.node, span, path: path.key(&entry.key) }
}

/// A single value.
fn scalar(schema: &Value, shape: &Shape<'_>, text: &str, plain: bool) -> Result<Value, Fault> {
    match shape {
        Shape::Integer(least, most) => integer(text, plain, *least, *most),
        Shape::Boolean => boolean(text, plain),
        Shape::Choice(words) if words.contains(&text) => Ok(Value::from(text)),
        Shape::Choice(words) => {
            let fault = Fault::new(format!("{text:?} is not {}", noun(shape)));
            Err(match nearest(text, words.iter().copied()) {
                Some(near) => fault.hint(format!("did you mean {near}?")),
                None => fault,
            })
        }
        Shape::Text(name) => {
            let kind = text::kind(name).ok_or_else(|| Fault::new("is of no known kind"))?;
            if let Some(amount) = (kind.check)(text)? {
                in_range(schema, kind, text, amount)?;
            }
            Ok(Value::from(text))
        }
        shape => Err(Fault::new(format!("must be {}, found {text:?}", noun(shape)))),
    }
}

fn integer(text: &str, plain: bool, least: u64, most: u64) -> Result<Value, Fault> {
    match text.parse::<i128>() {
        Ok(_) if !plain => {
            Err(Fault::new(format!("{text:?} is text, not a number")).hint("remove the quotes"))
        }
        Ok(number) if number >= i128::from(least) && number <= i128::from(most) => {
            Ok(Value::from(u64::try_from(number).unwrap_or(least)))
        }
        Ok(_) => Err(Fault::new(format!("{text} is not between {least} and {most}"))),
        Err(_) => Err(Fault::new(format!("{text:?} is not a whole number"))
            .hint(format!("write a number between {least} and {most}"))),
    }
}

fn boolean(text: &str, plain: bool) -> Result<Value, Fault> {
    match text {
        "true" if plain => Ok(Value::Bool(true)),
        "false" if plain => Ok(Value::Bool(false)),
        _ => {
            let fault = Fault::new(format!("{text:?} is not true or false"));
            Err(match text.to_ascii_lowercase().as_str() {
                "true" | "yes" | "on" | "1" => fault.hint("write true, without quotes"),
                "false" | "no" | "off" | "0" => fault.hint("write false, without quotes"),
                _ => fault,
            })
        }
    }
}

fn in_range(schema: &Value, kind: &text::Kind, text: &str, amount: u64) -> Result<(), Fault> {
    let bound = |name: &str| {
        let text = schema[name].as_str()?;
        Some((text, (kind.check)(text).ok()??))
    };
    match (bound("x-min"), bound("x-max")) {
        (Some((least, low)), Some((most, high))) if amount < low || amount > high => {
            Err(Fault::new(format!("{text} is not between {least} and {most}")))
        }
        _ => Ok(()),
    }
}

/// What a value should be, in words.
fn noun(shape: &Shape<'_>) -> String {
    match shape {
        Shape::Struct(_) | Shape::Table { .. } => "a mapping".to_owned(),
        Shape::List { .. } | Shape::Either(..) => "a list".to_owned(),
        Shape::Integer(..) => "a whole number".to_owned(),
        Shape::Boolean => "true or false".to_owned(),
        Shape::Choice(words) => format!("one of {}", words.join(", ")),
        Shape::Text(name) => match text::kind(name) {
            Some(kind) if name.starts_with('e') => format!("an {name} such as {}", kind.example),
            Some(kind) => format!("a {name} such as {}", kind.example),
            None => "text".to_owned(),
        },
    }
}

fn twice() -> Fault {
    Fault::new("this key is there twice").hint("remove one: which of them counts is not defined")
}

fn unknown(key: &str, properties: &Map<String, Value>) -> Fault {
    let fault = Fault::new("unknown key");
    if let Some(near) = nearest(key, properties.keys().map(String::as_str)) {
        return fault.hint(format!("did you mean {near}?"));
    }
    match elsewhere(&SCHEMA, key, "").as_slice() {
        [] => {
            let known: Vec<_> = properties.keys().map(String::as_str).collect();
            fault.hint(format!("the keys here are {}", known.join(", ")))
        }
        places => fault.hint(format!("this key belongs to {}", places.join(" or "))),
    }
}

/// Where else in the configuration a key of this name is.
fn elsewhere(schema: &Value, key: &str, path: &str) -> Vec<String> {
    match Shape::of(schema) {
        Some(Shape::Struct(properties)) => {
            let mut places = Vec::new();
            if properties.contains_key(key) {
                places.push(if path.is_empty() {
                    "the top level".to_owned()
                } else {
                    path.to_owned()
                });
            }
            for (name, schema) in properties {
                let dot = if path.is_empty() { "" } else { "." };
                places.extend(elsewhere(schema, key, &format!("{path}{dot}{name}")));
            }
            places
        }
        Some(Shape::Table { values, .. }) => elsewhere(values, key, &format!("{path}.NAME")),
        Some(Shape::List { items, .. }) => elsewhere(items, key, &format!("{path}[]")),
        Some(Shape::Either(_, long)) => elsewhere(long, key, path),
        _ => Vec::new(),
    }
}
