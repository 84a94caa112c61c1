//! What is done with each record between parsing and the sinks: drop, keep, sample, limit, change.

mod rate;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::time::Instant;

use pillion_model::logs::{Field, Step};
use pillion_traffic::Random;
use serde::Serialize;

use crate::condition::{Filter, field};
use crate::record::{Record, Value};
use rate::Limiter;

/// The steps of one source, in their order.
#[derive(Debug)]
pub struct Steps(Vec<Counted>);

#[derive(Debug)]
struct Counted {
    action: Action,
    acted: Cell<u64>,
}

#[derive(Debug)]
enum Action {
    Drop(Filter),
    Keep(Filter),
    Sample { when: Filter, ratio: f64 },
    Limit { when: Filter, limiter: RefCell<Limiter>, by: Option<Field> },
    Set(Vec<(String, String)>),
    Remove(Vec<String>),
    Rename(Vec<(String, String)>),
}

/// What a step has done so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct StepCount {
    /// Its word in the configuration.
    pub step: &'static str,
    /// Records that it dropped or changed.
    pub records: u64,
}

/// What became of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It goes on.
    Kept,
    /// It ends here, on purpose.
    Dropped,
}

/// What a step may depend on beside the record.
#[derive(Clone, Copy, Debug)]
pub struct Circumstances<'a> {
    /// The name of the source.
    pub source: &'a str,
    /// Now.
    pub now: Instant,
    /// Chance, for this record alone: 64 bits.
    pub chance: u64,
}

impl Steps {
    /// Compiles the steps of a source.
    ///
    /// # Errors
    /// An expression is none, or is too large.
    pub fn new(steps: &[Step]) -> Result<Self, regex::Error> {
        let counted = |step| Ok(Counted { action: Action::new(step)?, acted: Cell::new(0) });
        steps.iter().map(counted).collect::<Result<_, _>>().map(Self)
    }

    /// Takes a record through the steps.
    pub fn run<'a>(&'a self, record: &mut Record<'a>, circumstances: Circumstances<'_>) -> Outcome {
        for step in &self.0 {
            let (outcome, acted) = step.action.apply(record, circumstances);
            step.acted.set(step.acted.get() + u64::from(acted));
            if outcome == Outcome::Dropped {
                return outcome;
            }
        }
        Outcome::Kept
    }

    /// How many records each step has dropped or changed so far.
    pub fn counts(&self) -> impl Iterator<Item = StepCount> {
        let count =
            |step: &Counted| StepCount { step: step.action.word(), records: step.acted.get() };
        self.0.iter().map(count)
    }
}

impl Action {
    fn new(step: &Step) -> Result<Self, regex::Error> {
        Ok(match step {
            Step::Drop(when) => Self::Drop(Filter::new(when)?),
            Step::Keep(when) => Self::Keep(Filter::new(when)?),
            Step::Sample { when, ratio } => {
                Self::Sample { when: Filter::new(when)?, ratio: *ratio }
            }
            Step::RateLimit { when, per_second, burst, by } => Self::Limit {
                when: Filter::new(when)?,
                limiter: RefCell::new(Limiter::new(*per_second, *burst)),
                by: by.clone(),
            },
            Step::Set(values) => Self::Set(values.clone()),
            Step::Remove(names) => Self::Remove(names.clone()),
            Step::Rename(names) => Self::Rename(names.clone()),
        })
    }

    const fn word(&self) -> &'static str {
        match self {
            Self::Drop(_) => "drop",
            Self::Keep(_) => "keep",
            Self::Sample { .. } => "sample",
            Self::Limit { .. } => "rate_limit",
            Self::Set(_) => "set",
            Self::Remove(_) => "remove",
            Self::Rename(_) => "rename",
        }
    }

    /// What becomes of the record, and whether this step dropped or changed it.
    fn apply<'a>(
        &'a self,
        record: &mut Record<'a>,
        circumstances: Circumstances<'_>,
    ) -> (Outcome, bool) {
        let source = circumstances.source;
        let drops = match self {
            Self::Drop(when) => when.holds(record, source),
            Self::Keep(when) => !when.holds(record, source),
            Self::Sample { when, ratio } => {
                when.holds(record, source) && !is_sampled(record, *ratio, circumstances.chance)
            }
            Self::Limit { when, limiter, by } => {
                when.holds(record, source) && {
                    let key = by.as_ref().and_then(|by| field(by, record, source));
                    !limiter.borrow_mut().admits(key.as_deref().unwrap_or(""), circumstances.now)
                }
            }
            Self::Set(values) => return (Outcome::Kept, set(record, values)),
            Self::Remove(names) => return (Outcome::Kept, remove(record, names)),
            Self::Rename(names) => {
                let renamed = names.iter().filter(|(from, to)| rename(record, from, to)).count();
                return (Outcome::Kept, renamed > 0);
            }
        };
        (if drops { Outcome::Dropped } else { Outcome::Kept }, drops)
    }
}

/// Whether this one is kept: for all records of a trace the same answer, with every Pillion.
fn is_sampled(record: &Record<'_>, ratio: f64, chance: u64) -> bool {
    let number = match record.trace {
        // Both halves, and mixed: not every program fills its ids with chance.
        Some(trace) => {
            let [low, high] = [trace.trace, trace.trace >> 64].map(|half| half as u64);
            Random::new(low ^ high.rotate_left(32)).next()
        }
        None => chance,
    };
    // 53 bits are what a float holds without rounding.
    ((number >> 11) as f64) < ratio * (1_u64 << 53) as f64
}

fn set<'a>(record: &mut Record<'a>, values: &'a [(String, String)]) -> bool {
    for (name, value) in values {
        let value = Value::Text(Cow::Borrowed(value));
        match record.attributes.iter_mut().rev().find(|(known, _)| known == name) {
            Some((_, old)) => *old = value,
            None => record.attributes.push((Cow::Borrowed(name), value)),
        }
    }
    true
}

fn remove(record: &mut Record<'_>, names: &[String]) -> bool {
    let before = record.attributes.len();
    record.attributes.retain(|(known, _)| !names.iter().any(|name| known == name));
    record.attributes.len() < before
}

/// What had the new name goes.
fn rename<'a>(record: &mut Record<'a>, from: &str, to: &'a str) -> bool {
    if from == to || !record.attributes.iter().any(|(known, _)| known == from) {
        return false;
    }
    record.attributes.retain(|(known, _)| known != to);
    for (name, _) in record.attributes.iter_mut().filter(|(known, _)| known == from) {
        *name = Cow::Borrowed(to);
    }
    true
}
