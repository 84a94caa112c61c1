//! Documents: whether they are well-formed, and whether a JSON Schema accepts them.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use boon::{Compiler, Schemas, UrlLoader, ValidationError};
use saphyr_parser::Parser;
use serde::de::IgnoredAny;
use serde_json::Value;

use super::CheckError;
use crate::store::DraftFile;

/// What a schema is known by while it is compiled. Nothing is ever fetched from there.
const SCHEMA_URL: &str = "http://schema.invalid/";
/// The most bytes of a schema.
const SCHEMA: u64 = 1 << 20;
/// Of more faults than this the first are told.
const FAULTS: usize = 5;

/// What is wrong with a document, or with its schema.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    /// It is no JSON.
    #[error(transparent)]
    Document(Box<CheckError>),
    /// The schema cannot be read.
    #[error("cannot read the schema {}: {reason}", .schema.display())]
    Unreadable {
        /// The schema.
        schema: PathBuf,
        /// What is wrong with it.
        reason: io::Error,
    },
    /// The schema is none.
    #[error("{} is not a JSON Schema: {reason}", .schema.display())]
    Unfit {
        /// The schema.
        schema: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The schema does not accept it.
    #[error("{} does not accept it: {}", .schema.display(), .faults.join(", "))]
    Refused {
        /// The schema.
        schema: PathBuf,
        /// Where in the document, and which part of the schema; the first few.
        faults: Vec<String>,
    },
}

/// Whether a file is one JSON text (RFC 8259).
pub(super) fn json(file: &DraftFile) -> Result<(), CheckError> {
    let parsed: Result<IgnoredAny, _> = serde_json::from_slice(file.content.reveal());
    parsed.map(drop).map_err(|error| malformed_json(file, &error))
}

fn malformed_json(file: &DraftFile, error: &serde_json::Error) -> CheckError {
    let (line, column) = (error.line(), error.column());
    let place = format!(" at line {line} column {column}");
    let reason = error.to_string().replace(&place, "");
    CheckError::Malformed { file: file.name.to_string(), form: "JSON", line, column, reason }
}

/// Whether a file is a stream of YAML documents (YAML 1.2).
pub(super) fn yaml(file: &DraftFile) -> Result<(), CheckError> {
    let malformed = |line, column, reason: &str| CheckError::Malformed {
        file: file.name.to_string(),
        form: "YAML",
        line,
        column,
        reason: reason.to_owned(),
    };
    let text = file.content.reveal_text().ok_or_else(|| malformed(1, 1, "it is not UTF-8"))?;
    for event in Parser::new_from_str(text) {
        event.map_err(|error| {
            malformed(error.marker().line(), error.marker().col() + 1, error.info())
        })?;
    }
    Ok(())
}

/// Whether a schema accepts a JSON file. The schema stands alone: what it refers to elsewhere is not
/// fetched, but the drafts themselves are known.
pub(super) fn schema(file: &DraftFile, schema: &Path) -> Result<(), SchemaError> {
    let document: Value = serde_json::from_slice(file.content.reveal())
        .map_err(|error| SchemaError::Document(Box::new(malformed_json(file, &error))))?;
    let unfit = |reason: String| SchemaError::Unfit { schema: schema.to_owned(), reason };
    let text = read(schema)
        .map_err(|reason| SchemaError::Unreadable { schema: schema.to_owned(), reason })?;
    let rules: Value = serde_json::from_slice(&text).map_err(|error| unfit(error.to_string()))?;
    let mut compiler = Compiler::new();
    compiler.use_loader(Box::new(Nowhere));
    let mut schemas = Schemas::new();
    let unfit_rule = |error: boon::CompileError| unfit(format!("{error:#}"));
    compiler.add_resource(SCHEMA_URL, rules).map_err(unfit_rule)?;
    let compiled = compiler.compile(SCHEMA_URL, &mut schemas).map_err(unfit_rule)?;
    schemas.validate(&document, compiled).map_err(|error| {
        let mut faults = BTreeSet::new();
        collect(&error, &mut faults);
        SchemaError::Refused { schema: schema.to_owned(), faults: faults.into_iter().collect() }
    })
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    File::open(path)?.take(SCHEMA + 1).read_to_end(&mut text)?;
    match text.len() as u64 > SCHEMA {
        true => Err(io::Error::other(format!("it has more than {SCHEMA} bytes"))),
        false => Ok(text),
    }
}

/// Places only: what the library says of a fault may quote the document.
fn collect(error: &ValidationError<'_, '_>, faults: &mut BTreeSet<String>) {
    if error.causes.is_empty() {
        let place = error.instance_location.to_string();
        let place = if place.is_empty() { "the document" } else { &place };
        let rule = error.schema_url.strip_prefix(SCHEMA_URL).unwrap_or(error.schema_url);
        faults.insert(format!("{place} breaks {}", if rule.is_empty() { "#" } else { rule }));
        if faults.len() > FAULTS {
            faults.pop_last();
        }
    }
    for cause in &error.causes {
        collect(cause, faults);
    }
}

/// Fetches nothing.
struct Nowhere;

impl UrlLoader for Nowhere {
    fn load(&self, url: &str) -> Result<Value, Box<dyn std::error::Error>> {
        Err(format!(
            "{url} is not fetched; put what is needed of it into the schema, below `$defs`"
        )
        .into())
    }
}
