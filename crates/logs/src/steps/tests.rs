//! Steps drop, keep, thin out and change records.

use std::time::Duration;

use pillion_model::logs::{Check, Condition, Test};

use super::*;
use crate::record::{Trace, TraceOrigin};

fn body(check: Check) -> Condition {
    Condition { all: vec![Test { field: Field::Body, check, negated: false }] }
}

fn record(body: &str) -> Record<'_> {
    Record { body: Value::Text(Cow::Borrowed(body)), ..Record::default() }
}

fn with_attributes<'a>(pairs: &[(&'a str, &'a str)]) -> Record<'a> {
    let attribute = |(name, value): &(&'a str, &'a str)| {
        (Cow::Borrowed(*name), Value::Text(Cow::Borrowed(*value)))
    };
    Record { attributes: pairs.iter().map(attribute).collect(), ..Record::default() }
}

fn run<'a>(steps: &'a Steps, record: &mut Record<'a>) -> Outcome {
    steps.run(record, Circumstances { source: "app", now: Instant::now(), chance: 0 })
}

fn counts(steps: &Steps) -> Vec<(&'static str, u64)> {
    steps.counts().map(|count| (count.step, count.records)).collect()
}

#[test]
fn steps_follow_each_other_and_count_what_they_drop() {
    let steps = Steps::new(&[
        Step::Drop(body(Check::Contains("health".into()))),
        Step::Keep(body(Check::Prefix("GET".into()))),
    ])
    .unwrap();
    for (line, expected) in [
        ("GET /health", Outcome::Dropped),
        ("POST /", Outcome::Dropped),
        ("PUT /", Outcome::Dropped),
        ("GET /", Outcome::Kept),
    ] {
        assert_eq!(run(&steps, &mut record(line)), expected, "{line}");
    }
    assert_eq!(counts(&steps), [("drop", 1), ("keep", 2)]);
}

#[test]
fn a_trace_is_sampled_whole_and_other_records_by_chance() {
    let when = Condition::default();
    let steps = Steps::new(&[Step::Sample { when, ratio: 0.25 }]).unwrap();
    let kept = |trace: Option<u128>, chance| {
        let trace = trace.map(|trace| Trace { trace, span: 0, origin: TraceOrigin::Record });
        let mut record = Record { trace, ..Record::default() };
        let circumstances = Circumstances { source: "", now: Instant::now(), chance };
        steps.run(&mut record, circumstances) == Outcome::Kept
    };
    let kept_traces = (1..=4000_u128).filter(|trace| {
        let first = kept(Some(*trace), 0);
        assert_eq!(kept(Some(*trace), u64::MAX), first);
        first
    });
    let kept_traces = kept_traces.count();
    assert!((900..1100).contains(&kept_traces), "{kept_traces}");
    assert!(kept(None, (1 << 62) - 1));
    assert!(!kept(None, 1 << 62));
}

#[test]
fn records_are_limited_by_a_field() {
    let step = Step::RateLimit {
        when: body(Check::Prefix("x".into())),
        per_second: 1,
        burst: 1,
        by: Some(Field::Attribute("user".into())),
    };
    let steps = Steps::new(&[step]).unwrap();
    let now = Instant::now();
    let at = |line, user, seconds| {
        let mut record = Record { body: record(line).body, ..with_attributes(&[("user", user)]) };
        let now = now + Duration::from_secs(seconds);
        steps.run(&mut record, Circumstances { source: "", now, chance: 0 }) == Outcome::Kept
    };
    assert!(at("x", "a", 0));
    assert!(!at("x", "a", 0));
    assert!(at("x", "b", 0));
    assert!(at("y", "a", 0));
    assert!(at("x", "a", 1));
    assert_eq!(counts(&steps), [("rate_limit", 1)]);
}

#[test]
fn attributes_are_set_removed_and_renamed() {
    let pairs = |pairs: &[(&str, &str)]| {
        pairs.iter().map(|(one, other)| ((*one).into(), (*other).into())).collect()
    };
    let set = Step::Set(pairs(&[("env", "prod")]));
    let set_both = Step::Set(pairs(&[("env", "prod"), ("team", "shop")]));
    let remove = Step::Remove(vec!["a".into(), "b".into()]);
    let rename = Step::Rename(pairs(&[("msg", "text")]));
    let rename_both = Step::Rename(pairs(&[("msg", "text"), ("lvl", "level")]));
    for (step, before, after, count) in [
        (&set, vec![("x", "1")], vec![("x", "1"), ("env", "prod")], 1),
        (&set, vec![("env", "test"), ("x", "1")], vec![("env", "prod"), ("x", "1")], 1),
        (&set_both, vec![("team", "old")], vec![("team", "shop"), ("env", "prod")], 1),
        (&remove, vec![("a", "1"), ("x", "1"), ("a", "2")], vec![("x", "1")], 1),
        (&remove, vec![("x", "1")], vec![("x", "1")], 0),
        (&rename, vec![("text", "old"), ("msg", "new")], vec![("text", "new")], 1),
        (&rename, vec![("text", "old")], vec![("text", "old")], 0),
        (&rename_both, vec![("msg", "a"), ("lvl", "b")], vec![("text", "a"), ("level", "b")], 1),
        (&rename_both, vec![("lvl", "b")], vec![("level", "b")], 1),
    ] {
        let steps = Steps::new(std::slice::from_ref(step)).unwrap();
        let mut record = with_attributes(&before);
        assert_eq!(run(&steps, &mut record), Outcome::Kept);
        assert_eq!(record, with_attributes(&after));
        assert_eq!(counts(&steps).iter().map(|(_, acted)| acted).sum::<u64>(), count);
    }
}
