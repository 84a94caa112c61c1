//! The reference page of the configuration, written from its schema.

use serde_json::{Map, Value};

use super::schema::{SCHEMA, Shape};

const INTRODUCTION: &str = "\
# Configuration reference

One YAML file. Every key may be left out. Unknown keys are errors. A *duration* is a number with
`ms`, `s`, `m`, `h` or `d`; a *size* is a number with `B`, `KB`, `KiB`, `MB`, `MiB`, `GB` or `GiB`.
`pillion check FILE` reports every problem at once; `pillion explain FILE` prints what is in force.

*Reload: yes* means that a changed file applies to new exchanges at once; *restart* means that the
change waits for the next start.
";

/// The whole page, in Markdown.
pub fn reference() -> String {
    let mut page = Page { text: INTRODUCTION.to_owned(), seen: Vec::new() };
    page.section("", &SCHEMA);
    page.text
}

struct Page<'a> {
    text: String,
    /// The mappings that have their table already, with the path of each.
    seen: Vec<(&'a Map<String, Value>, String)>,
}

impl<'a> Page<'a> {
    /// The table of a mapping, then those of the mappings below it.
    fn section(&mut self, path: &str, schema: &'a Value) {
        match Shape::of(schema) {
            Some(Shape::Struct(properties)) => self.structure(path, schema, properties),
            Some(Shape::Table { values, .. }) => self.section(&format!("{path}.NAME"), values),
            Some(Shape::List { items, .. }) => self.section(&format!("{path}[]"), items),
            Some(Shape::Either(_, long)) => self.section(path, long),
            _ => {}
        }
    }

    fn structure(&mut self, path: &str, schema: &'a Value, properties: &'a Map<String, Value>) {
        let title = if path.is_empty() { "Top level".to_owned() } else { format!("`{path}`") };
        self.text.push_str(&format!("\n## {title}\n\n"));
        if let Some(description) = schema["description"].as_str() {
            self.text.push_str(&format!("{}\n\n", one_line(description)));
        }
        if let Some((_, earlier)) = self.seen.iter().find(|(seen, _)| *seen == properties) {
            self.text.push_str(&format!("The same keys as [`{earlier}`](#{}).\n", anchor(earlier)));
            return;
        }
        self.seen.push((properties, path.to_owned()));
        self.text.push_str("| key | type | default | reload | meaning |\n");
        self.text.push_str("| --- | --- | --- | --- | --- |\n");
        for (key, schema) in properties {
            self.text.push_str(&row(key, schema));
        }
        for (key, schema) in properties {
            let dot = if path.is_empty() { "" } else { "." };
            self.section(&format!("{path}{dot}{key}"), schema);
        }
    }
}

fn row(key: &str, schema: &Value) -> String {
    let reload = schema["x-reload"].as_str().unwrap_or("yes");
    let reload = if is_container(schema) { "" } else { reload };
    let meaning = one_line(schema["description"].as_str().unwrap_or(""));
    let cells =
        [format!("`{key}`"), type_of(schema), default_of(schema), reload.to_owned(), meaning];
    format!("| {} |\n", cells.map(|cell| cell.replace('|', "\\|")).join(" | "))
}

/// Whether a value has a table of its own, and no default and reload in one word.
fn is_container(schema: &Value) -> bool {
    match Shape::of(schema) {
        Some(Shape::Struct(_)) => true,
        Some(Shape::Table { values, .. }) => is_container(values),
        _ => false,
    }
}

fn default_of(schema: &Value) -> String {
    match (schema["x-default"].as_str(), &schema["default"]) {
        (Some(text), _) => text.to_owned(),
        (None, _) if is_container(schema) => String::new(),
        (None, Value::String(text)) => format!("`{text}`"),
        (None, value) => format!("`{value}`"),
    }
}

fn type_of(schema: &Value) -> String {
    match Shape::of(schema) {
        Some(Shape::Struct(_)) => "mapping".to_owned(),
        Some(Shape::Table { values, keys, .. }) => {
            format!("mapping of {keys} to {}", type_of(values))
        }
        Some(Shape::List { items, .. }) => format!("list of {}", type_of(items)),
        Some(Shape::Integer(least, most)) => format!("number, {least} to {most}"),
        Some(Shape::Boolean) => "`true` or `false`".to_owned(),
        Some(Shape::Choice(words)) => {
            words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
        }
        Some(Shape::Text(kind)) => match (schema["x-min"].as_str(), schema["x-max"].as_str()) {
            (Some(least), Some(most)) => format!("{kind}, {least} to {most}"),
            _ => kind.to_owned(),
        },
        Some(Shape::Either(short, long)) => format!("{} or {}", type_of(short), type_of(long)),
        None => String::new(),
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The anchor that Markdown renderers make of a heading.
fn anchor(path: &str) -> String {
    path.chars().filter(|c| c.is_alphanumeric() || *c == '_').collect::<String>().to_lowercase()
}
