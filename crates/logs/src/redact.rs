//! Making unreadable what must not leave: secrets that Pillion delivered, patterns, numbers of
//! payment cards, and the values of attributes with telling names.
//!
//! The first three are looked for in the text of an assembled line, before anything else is made of
//! it; the last in the parsed record.

mod cards;
mod cuts;
mod forms;
mod needles;
mod stream;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use pillion_model::logs::Redact;
use pillion_runtime::board::{Delivered, Secret};
use pillion_runtime::say;
use tokio::sync::watch;

pub use self::cuts::REDACTED;
pub use self::stream::Unfinished;

use self::cuts::{QUOTED, cut_out, replaced};
use self::needles::Needles;
use crate::record::{Record, Value};
use crate::tokens::{Kind, Tokens, unquoted};

/// Makes unreadable what must not leave.
///
/// Of the delivered secrets it holds copies in every form that is looked for; they are overwritten
/// when the secrets change, and at its end.
pub struct Redactor {
    /// `None`: delivered secrets are left.
    delivered: Option<watch::Receiver<Arc<[Secret]>>>,
    needles: Needles,
    patterns: Vec<regex::Regex>,
    keys: Vec<String>,
    cards: bool,
    warned: bool,
}

impl Redactor {
    /// A redactor of what `redact` says and of what is delivered now.
    ///
    /// # Errors
    /// A pattern is none, or is too large.
    pub fn new(redact: &Redact, delivered: &Delivered) -> Result<Self, regex::Error> {
        let compile = |pattern: &Arc<str>| regex::Regex::new(pattern);
        let mut redactor = Self {
            delivered: redact.delivered.then(|| delivered.watch()),
            needles: Needles::default(),
            patterns: redact.patterns.iter().map(compile).collect::<Result<_, _>>()?,
            keys: redact.keys.clone(),
            cards: redact.cards,
            warned: false,
        };
        redactor.rebuild();
        Ok(redactor)
    }

    /// Takes in what has been delivered since the last time. To be called before each block of
    /// lines; it costs one atomic load where nothing has changed.
    pub fn refresh(&mut self) {
        let changed = |delivered: &watch::Receiver<_>| delivered.has_changed().unwrap_or(false);
        if self.delivered.as_ref().is_some_and(changed) {
            self.rebuild();
        }
    }

    fn rebuild(&mut self) {
        let Some(delivered) = &mut self.delivered else { return };
        let secrets = delivered.borrow_and_update().clone();
        self.needles = Needles::new(&secrets);
        if self.needles.left > 0 && !self.warned {
            self.warned = true;
            say!(
                Warn,
                "secrets of less than 4 bytes are not redacted: they stand in ordinary words",
                secrets = self.needles.left
            );
        }
    }

    /// The text of a line, and whether something in it was made unreadable. Nothing is copied where
    /// nothing is found. Text that is a JSON object or list stays one.
    #[must_use]
    pub fn text<'a>(&self, text: Cow<'a, str>) -> (Cow<'a, str>, bool) {
        let mut found = Vec::new();
        self.needles.find(text.as_bytes(), &mut found);
        for pattern in &self.patterns {
            let matches = pattern.find_iter(&text).map(|found| found.range());
            found.extend(matches.filter(|range| !range.is_empty()));
        }
        if self.cards {
            cards::find(text.as_bytes(), &mut found);
        }
        if found.is_empty() {
            return (text, false);
        }
        (Cow::Owned(cut_out(&text, found)), true)
    }

    /// Makes the values of attributes with telling names unreadable, at any depth.
    pub fn attributes(&self, record: &mut Record<'_>) {
        if self.keys.is_empty() {
            return;
        }
        let mut redacted = self.nested(&mut record.body);
        for (name, value) in &mut record.attributes {
            if self.is_telling(name) {
                *value = Value::Text(Cow::Borrowed(REDACTED));
                redacted = true;
            } else {
                redacted |= self.nested(value);
            }
        }
        record.marks.redacted |= redacted;
    }

    /// Whether the value behind this name is not to be seen. A name with dots is a path.
    fn is_telling(&self, name: &str) -> bool {
        let last = name.rsplit('.').next().unwrap_or(name);
        self.keys.iter().any(|key| key.eq_ignore_ascii_case(name) || key.eq_ignore_ascii_case(last))
    }

    /// Looks into an object or a list; it is written anew only where there is something in it.
    fn nested(&self, value: &mut Value<'_>) -> bool {
        let Value::Json(json) = value else { return false };
        if !json.starts_with(['{', '[']) {
            return false;
        }
        let cuts: Vec<(Range<usize>, &str)> = self.telling(json).map(|at| (at, QUOTED)).collect();
        if cuts.is_empty() {
            return false;
        }
        *json = Cow::Owned(replaced(json, &cuts));
        true
    }

    /// Where the values behind telling names stand.
    fn telling(&self, json: &str) -> impl Iterator<Item = Range<usize>> {
        let mut tokens = Tokens::new(json);
        std::iter::from_fn(move || {
            loop {
                let token = tokens.next()?;
                let name = json.get(token.range).unwrap_or_default();
                if token.kind == Kind::Key && self.is_telling(&unquoted(name)) {
                    return tokens.value();
                }
            }
        })
    }
}

impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redactor").field("keys", &self.keys).finish_non_exhaustive()
    }
}
