//! A process that is killed at each step of a real transaction, and what the next one finds.

use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Command, ExitStatus};

use pillion_secrets::store::{Draft, Found, Step, Store};
use pillion_secrets::transaction::Outcome;
use tempfile::TempDir;

use crate::files::{draft, expected, seen, seen_through_current};
use crate::transaction::{Stage, run};

/// `STEP REFUSES DIRECTORY`: what the child is to do. Without it, its test is an empty one.
const ORDER: &str = "PILLION_TEST_CRASH";
const CHILD: &str = "crash::this_process_is_killed_at_the_step_that_it_is_told";

fn old() -> Draft {
    draft(&[("tls.crt", "old"), ("tls.key", "old"), ("gone", "old")])
}

fn new() -> Draft {
    draft(&[("tls.crt", "new"), ("tls.key", "new"), ("conf/added", "new")])
}

#[test]
fn this_process_is_killed_at_the_step_that_it_is_told() {
    let Ok(order) = std::env::var(ORDER) else { return };
    let [step, refuses, directory] = order.splitn(3, ' ').collect::<Vec<_>>().try_into().unwrap();
    let stage = Stage { refuses: refuses == "true", ..Stage::default() };
    let (mut store, _) = Store::open(directory).unwrap();
    let mut kill = |reached: Step| {
        if reached.label() == step {
            nix::sys::signal::raise(nix::sys::signal::Signal::SIGKILL).unwrap();
        }
    };
    run(&mut store, &stage, new(), &mut kill);
}

/// Lets a child run the transaction to this step.
fn child(directory: &Path, step: Step, refuses: bool) -> ExitStatus {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", CHILD, "--nocapture"])
        .env(ORDER, format!("{} {refuses} {}", step.label(), directory.display()))
        .output()
        .unwrap()
        .status
}

/// What is seen after the child was killed.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Version {
    Old,
    New,
}

#[test]
fn a_killed_process_leaves_one_whole_version_and_the_next_one_knows_how_far_it_came() {
    use Version::{New, Old};
    let table = [
        (Step::Begun, false, Old, Found::Dropped(2)),
        (Step::FolderMade, false, Old, Found::Dropped(2)),
        (Step::FileWritten, false, Old, Found::Dropped(2)),
        (Step::Staged, false, Old, Found::Dropped(2)),
        (Step::Checked, false, Old, Found::Dropped(2)),
        (Step::LinkMade, false, Old, Found::Dropped(2)),
        (Step::Swapped, false, New, Found::Unconfirmed(2)),
        (Step::Aligned, false, New, Found::Unconfirmed(2)),
        (Step::Told, false, New, Found::Unconfirmed(2)),
        (Step::Confirmed, false, New, Found::Unconfirmed(2)),
        (Step::Settled, false, New, Found::Settled),
        (Step::Pruned, false, New, Found::Settled),
        (Step::Returning, true, Old, Found::Returning(2)),
        (Step::Returned, true, Old, Found::Returning(2)),
        (Step::Dropped, true, Old, Found::Settled),
    ];
    assert_eq!(table.map(|row| row.0), Step::ALL, "every step has a row");
    for (step, refuses, version, found) in table {
        let dir = TempDir::new().unwrap();
        let (mut store, _) = Store::open(dir.path()).unwrap();
        let report = run(&mut store, &Stage::default(), old(), &mut |_| {});
        assert_eq!(report.outcome, Outcome::Settled(1));
        drop(store);

        let status = child(dir.path(), step, refuses);
        assert_eq!(status.signal(), Some(9), "{step:?}: {status}");
        let at_once = seen_through_current(dir.path());
        let [before, after] = [old(), new()].map(|draft| expected(&draft));
        assert!(at_once == before || at_once == after, "{step:?}, before recovery: {at_once:?}");

        let (mut store, recovery) = Store::open(dir.path()).unwrap();
        assert_eq!((recovery.found, recovery.journal_lost), (found, None), "{step:?}");
        let files = if version == Old { &before } else { &after };
        assert_eq!(&seen(dir.path()), files, "{step:?}");
        // What leases the lost version had is known in any case.
        assert!(
            store.notes().any(|(version, notes)| version == 2 && notes == b"noted"),
            "{step:?}"
        );

        let report = run(&mut store, &Stage::default(), new(), &mut |_| {});
        let settled = match (found, version) {
            (Found::Settled, New) => Outcome::Unchanged,
            (_, New) => Outcome::Settled(2),
            (_, Old) => Outcome::Settled(3),
        };
        assert_eq!(report.outcome, settled, "{step:?}: {report}");
        assert_eq!(seen(dir.path()), after, "{step:?}");
    }
}

#[test]
fn a_version_that_was_killed_before_its_confirmation_gives_way_to_the_old_one() {
    for step in [Step::Swapped, Step::Told] {
        let dir = TempDir::new().unwrap();
        let (mut store, _) = Store::open(dir.path()).unwrap();
        run(&mut store, &Stage::default(), old(), &mut |_| {});
        drop(store);
        child(dir.path(), step, false);
        let (mut store, _) = Store::open(dir.path()).unwrap();
        // The server has the old values again: nothing new is written for that.
        let report = run(&mut store, &Stage::default(), old(), &mut |_| {});
        assert_eq!(report.outcome, Outcome::Unchanged, "{report}");
        assert_eq!(seen(dir.path()), expected(&old()));
        assert_eq!((store.current(), store.trying()), (Some(1), None));
    }
}

#[test]
fn a_first_version_that_was_killed_leaves_nothing_or_the_whole() {
    for step in Step::ALL.into_iter().filter(|step| *step < Step::Returning) {
        let dir = TempDir::new().unwrap();
        let status = child(dir.path(), step, false);
        assert_eq!(status.signal(), Some(9), "{step:?}: {status}");
        let (store, _) = Store::open(dir.path()).unwrap();
        let files = if step < Step::Swapped { Draft::default() } else { new() };
        assert_eq!(seen(dir.path()), expected(&files), "{step:?}");
        assert_eq!(store.current().is_some(), step >= Step::Swapped);
    }
}
