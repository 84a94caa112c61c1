//! Lines that belong together become one record.

use std::time::{Duration, Instant};

use pillion_model::logs::{Multiline, MultilineRule, TraceLanguage};
use regex::Regex;

use self::traces::Traces;
use crate::assemble::{Assembled, Pending};

mod traces;

/// How the lines of a source are joined.
#[derive(Debug)]
pub(crate) struct Joining {
    rule: Rule,
    timeout: Duration,
    max_bytes: usize,
    max_lines: usize,
}

#[derive(Debug)]
enum Rule {
    Start(Regex),
    Continue(Regex),
    Traces(Vec<TraceLanguage>),
}

/// What a line is to the record before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Relation {
    /// It begins a record.
    Begins,
    /// It belongs to the record before it, if there is one.
    Continues,
    /// It is a record, and nothing can follow.
    Alone,
}

/// Joins the lines of one output of one stream.
#[derive(Debug)]
pub(crate) struct Joiner<T> {
    pending: Pending<T>,
    /// Where in a stack trace the pending record is.
    trace: Traces,
}

impl Joining {
    pub(crate) fn new(multiline: &Multiline) -> Result<Self, regex::Error> {
        let rule = match &multiline.rule {
            MultilineRule::Start(pattern) => Rule::Start(Regex::new(pattern)?),
            MultilineRule::Continue(pattern) => Rule::Continue(Regex::new(pattern)?),
            MultilineRule::Traces(languages) => Rule::Traces(languages.clone()),
        };
        let Multiline { timeout, max_bytes, max_lines, .. } = *multiline;
        Ok(Self { rule, timeout, max_bytes, max_lines })
    }

    fn relation(&self, line: &str, trace: &mut Traces) -> Relation {
        match &self.rule {
            Rule::Start(regex) if regex.is_match(line) => Relation::Begins,
            Rule::Continue(regex) if !regex.is_match(line) => Relation::Begins,
            Rule::Start(_) | Rule::Continue(_) => Relation::Continues,
            Rule::Traces(languages) => {
                *trace = traces::next(trace, line);
                if !trace.is_empty() {
                    return Relation::Continues;
                }
                *trace = traces::heads(languages, line);
                if trace.is_empty() { Relation::Alone } else { Relation::Begins }
            }
        }
    }

    fn has_room<T>(&self, pending: &Pending<T>, line: &str) -> bool {
        pending.lines < self.max_lines && pending.len() + 1 + line.len() <= self.max_bytes
    }
}

impl<T> Joiner<T> {
    pub(crate) fn new() -> Self {
        Self { pending: Pending::new(), trace: Traces::new() }
    }

    /// Takes the next line, and gives the records that are complete by it. A record that is full is
    /// complete; what follows of it is a record of its own.
    pub(crate) fn join(
        &mut self,
        joining: Option<&Joining>,
        line: Assembled<'_, T>,
        now: Instant,
        each: &mut impl FnMut(Assembled<'_, T>),
    ) {
        let Some(joining) = joining else { return each(line) };
        let relation = joining.relation(line.text, &mut self.trace);
        if relation != Relation::Continues || !joining.has_room(&self.pending, line.text) {
            self.pending.give(&mut *each);
        }
        if relation == Relation::Alone {
            return each(line);
        }
        self.pending.add("\n", line, usize::MAX);
        self.pending.deadline = Some(now + joining.timeout);
    }

    /// Nothing more belongs to the pending record.
    pub(crate) fn flush(&mut self, each: &mut impl FnMut(Assembled<'_, T>)) {
        self.trace.clear();
        self.pending.give(each);
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.pending.deadline
    }

    pub(crate) fn held(&self) -> usize {
        self.pending.len()
    }
}

#[cfg(test)]
mod tests;
