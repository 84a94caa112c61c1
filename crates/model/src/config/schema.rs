//! The schema of the configuration, drawn from the structs of [`super::raw`]: what editors complete
//! by, what the reference prints, and what a file is checked against.

use std::sync::LazyLock;

use schemars::generate::SchemaSettings;
use serde_json::Value;

use super::raw;

/// The schema without references, so that whoever reads it goes straight down.
pub(super) static SCHEMA: LazyLock<Value> = LazyLock::new(|| {
    let settings =
        SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
    let mut schema = settings.into_generator().into_root_schema_for::<raw::Config>().to_value();
    without_null(&mut schema);
    schema
});

/// What a value has to be, and what is said of it.
pub(super) enum Shape<'a> {
    /// A mapping with these keys, each with its schema.
    Struct(&'a serde_json::Map<String, Value>),
    /// A mapping with keys of the user's own.
    Table {
        /// The schema of each value.
        values: &'a Value,
        /// The kind of text that a key is.
        keys: &'a str,
        /// The most keys.
        most: u64,
    },
    /// A list.
    List {
        /// The schema of each item.
        items: &'a Value,
        /// Whether no item comes twice.
        unique: bool,
        /// The most items.
        most: u64,
    },
    /// A whole number between these two.
    Integer(u64, u64),
    /// `true` or `false`.
    Boolean,
    /// One of these words.
    Choice(Vec<&'a str>),
    /// Text of this kind.
    Text(&'a str),
    /// A scalar of the first shape, or the second, which is a list or a mapping.
    Either(&'a Value, &'a Value),
}

impl<'a> Shape<'a> {
    /// The shape that a schema describes; `None` for a schema that none of our types makes.
    pub(super) fn of(schema: &'a Value) -> Option<Self> {
        if let Some([short, long]) = schema["anyOf"].as_array().map(Vec::as_slice) {
            return Some(Self::Either(short, long));
        }
        if let Some(words) = choices(schema) {
            return Some(Self::Choice(words));
        }
        match schema["type"].as_str()? {
            "object" => match schema["properties"].as_object() {
                Some(properties) => Some(Self::Struct(properties)),
                None => Some(Self::Table {
                    values: &schema["additionalProperties"],
                    keys: schema["propertyNames"]["x-text"].as_str()?,
                    most: schema["maxProperties"].as_u64()?,
                }),
            },
            "array" => Some(Self::List {
                items: &schema["items"],
                unique: schema["uniqueItems"] == true,
                most: schema["maxItems"].as_u64()?,
            }),
            "integer" => {
                Some(Self::Integer(schema["minimum"].as_u64()?, schema["maximum"].as_u64()?))
            }
            "boolean" => Some(Self::Boolean),
            "string" => Some(Self::Text(schema["x-text"].as_str()?)),
            _ => None,
        }
    }
}

/// The words of an enumeration: schemars writes those with doc comments as a list of constants.
fn choices(schema: &Value) -> Option<Vec<&str>> {
    let words = match (schema["oneOf"].as_array(), schema["enum"].as_array()) {
        (Some(options), _) => {
            options.iter().filter_map(|option| option["const"].as_str()).collect()
        }
        (None, Some(words)) => words.iter().filter_map(Value::as_str).collect(),
        (None, None) => return None,
    };
    Some(words)
}

/// A key without a value is left out of the file, never null.
fn without_null(schema: &mut Value) {
    match schema {
        Value::Array(items) => items.iter_mut().for_each(without_null),
        Value::Object(object) => {
            if let Some(Value::Array(types)) = object.get_mut("type") {
                types.retain(|name| name != "null");
                if let [only] = types.as_slice() {
                    let only = only.clone();
                    object.insert("type".to_owned(), only);
                }
            }
            if object.get("default").is_some_and(Value::is_null) {
                object.shift_remove("default");
            }
            only_choice(object);
            object.values_mut().for_each(without_null);
        }
        _ => {}
    }
}

/// An enumeration that may be left out is written as a choice between it and null: what is left of
/// the choice takes its place.
fn only_choice(object: &mut serde_json::Map<String, Value>) {
    let null = |schema: &Value| schema["type"] == "null";
    let only = match object.get("anyOf").and_then(Value::as_array).map(Vec::as_slice) {
        Some([Value::Object(only), other]) if null(other) => only.clone(),
        _ => return,
    };
    object.shift_remove("anyOf");
    for (key, value) in only {
        // What is said of the key counts more than what is said of its type.
        object.entry(key).or_insert(value);
    }
}
