//! One change of one set: staged, checked, swapped in, told, confirmed, settled; or taken back.

mod report;

use std::fmt::Display;
use std::time::{Instant, SystemTime};

use pillion_model::secrets::FileSet;
use pillion_runtime::board::{Delivered, Secret};

use crate::check::{self, Subject};
use crate::redaction::redacted;
use crate::store::{Difference, Draft, Observer, Step, Store, Version};
use crate::tell::{self, App, Scene};
pub use report::{Done, Outcome, Part, Report};

/// What does not change from one transaction of a set to the next.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// The set.
    pub set: &'a FileSet,
    /// How its app is reached.
    pub app: App<'a>,
    /// Where delivered secrets are named.
    pub delivered: &'a Delivered,
}

/// What a set is to become.
#[derive(Debug)]
pub struct Change {
    /// The files.
    pub draft: Draft,
    /// Every secret in them, and those of the old version for as long as it may be in use. They are
    /// on the board, under the name of the set, before the first of them is written.
    pub delivered: Vec<Secret>,
    /// What is to be found again after a crash: the leases of this version.
    pub notes: Vec<u8>,
    /// The time by which certificates are judged.
    pub now: SystemTime,
}

/// Runs one transaction. It borrows the store, so there is one at a time. Whatever happens, names
/// lead to a complete version; [`Report::outcome`] says to which. Not cancel-safe in what the app is
/// told: after a drop, the next transaction takes up what is under way, as after a crash.
pub async fn run(
    context: Context<'_>,
    store: &mut Store,
    change: Change,
    observe: &mut Observer<'_>,
) -> Report {
    let mut run = Run { context, store, observe, report: Report::default() };
    run.report.outcome = run.conclude(change).await;
    run.report
}

struct Run<'c, 'r, 'o> {
    context: Context<'c>,
    store: &'r mut Store,
    observe: &'r mut Observer<'o>,
    report: Report,
}

impl Run<'_, '_, '_> {
    async fn conclude(&mut self, change: Change) -> Outcome {
        let Change { draft, delivered, notes, now } = change;
        self.context.delivered.replace(&self.context.set.name, delivered);
        if let Some(stuck) = self.clear_the_way(&draft).await {
            return stuck;
        }
        let version = match self.part(Part::Compare, |store, _| store.difference(&draft)) {
            None => return Outcome::Refused,
            Some(Difference::None) => return Outcome::Unchanged,
            Some(Difference::Unconfirmed) => self.take_up(),
            Some(Difference::Files) => self.bring_in(&draft, notes, now).await,
        };
        let version = match version {
            Ok(version) => version,
            Err(outcome) => return outcome,
        };
        if !self.app_takes(version, Part::TELL).await {
            return self.go_back(version).await;
        }
        let keep = self.context.set.keep;
        let settled = self.part(Part::Settle, |store, observe| store.settle(keep, observe));
        match settled {
            None if self.store.confirmed() != Some(version) => Outcome::Unrecorded(version),
            Some(()) | None => Outcome::Settled(version),
        }
    }

    /// Takes back what an earlier transaction left under way, unless it is this change. Returns the
    /// outcome where that fails.
    async fn clear_the_way(&mut self, draft: &Draft) -> Option<Outcome> {
        let trying = self.store.trying().filter(|trying| trying.before.is_some())?;
        let is_other = || !matches!(self.store.difference(draft), Ok(Difference::Unconfirmed));
        if !trying.returning && !is_other() {
            return None;
        }
        match self.go_back(trying.version).await {
            stuck @ Outcome::Stuck(_) => Some(stuck),
            _ => None,
        }
    }

    /// Takes up the current version, which nobody has confirmed.
    fn take_up(&mut self) -> Result<Version, Outcome> {
        self.part(Part::Resume, |store, _| store.resume()).ok_or(Outcome::Refused)
    }

    /// Stages, checks, swaps.
    async fn bring_in(
        &mut self,
        draft: &Draft,
        notes: Vec<u8>,
        now: SystemTime,
    ) -> Result<Version, Outcome> {
        let stage =
            |store: &mut Store, observe: &mut Observer<'_>| store.stage(draft, notes, observe);
        let Some(version) = self.part(Part::Stage, stage) else { return Err(self.refuse()) };
        if !self.is_sound(version, draft, now).await {
            return Err(self.refuse());
        }
        match self.part(Part::Swap, |store, observe| store.swap(observe)) {
            Some(()) => Ok(version),
            // Some names lead to the old version, some to the new one.
            None if self.store.current() == Some(version) => Err(self.go_back(version).await),
            None => Err(self.refuse()),
        }
    }

    /// Removes what was staged and no name has led to.
    fn refuse(&mut self) -> Outcome {
        if self.store.trying().is_some() {
            self.part(Part::Drop, |store, observe| store.drop_tried(observe));
        }
        Outcome::Refused
    }

    /// Makes all checks of the version that is staged.
    async fn is_sound(&mut self, version: Version, draft: &Draft, now: SystemTime) -> bool {
        let folder = self.store.folder_of(version);
        let secrets = self.context.delivered.current();
        let limit = self.context.set.confirm_timeout;
        let subject = Subject { draft, folder: &folder, limit, secrets: &secrets, now };
        for (number, check) in self.context.set.checks.iter().enumerate() {
            let since = Instant::now();
            let checked = check::check(check, subject).await;
            match self.done(Part::Check(number), since, checked) {
                Some(warnings) => self.report.warnings.extend(warnings),
                None => return false,
            }
        }
        (self.observe)(Step::Checked);
        true
    }

    /// Tells the app of a version and waits until it confirms.
    async fn app_takes(&mut self, version: Version, [told, confirmed]: [Part; 2]) -> bool {
        let Context { set, app, .. } = self.context;
        let folder = self.store.folder_of(version);
        let secrets = self.context.delivered.current();
        let deadline = tokio::time::Instant::now() + set.confirm_timeout;
        let scene = Scene { folder: &folder, secrets: &secrets, deadline };
        let since = Instant::now();
        let result = tell::tell(&set.tell, app, scene).await;
        let Some(started) = self.done(told, since, result) else { return false };
        (self.observe)(Step::Told);
        let since = Instant::now();
        let result = tell::confirm(&set.confirm, app, scene, started).await;
        let is_confirmed = self.done(confirmed, since, result).is_some();
        if is_confirmed {
            (self.observe)(Step::Confirmed);
        }
        is_confirmed
    }

    /// Lets the names lead to the old version, tells the app, and removes what was tried.
    async fn go_back(&mut self, from: Version) -> Outcome {
        let to = match self.part(Part::Return, |store, observe| store.go_back(observe)) {
            None => return Outcome::Stuck(from),
            Some(None) => return Outcome::Standing(from),
            Some(Some(to)) => to,
        };
        // Whether the app goes along is in the report; there is nothing else to try.
        let _is_back = self.app_takes(to, Part::TELL_BACK).await;
        self.part(Part::Drop, |store, observe| store.drop_tried(observe));
        Outcome::Returned { from, to }
    }

    /// Does one part and puts it into the report. `None`: it failed.
    fn part<T, E: Display>(
        &mut self,
        part: Part,
        does: impl FnOnce(&mut Store, &mut Observer<'_>) -> Result<T, E>,
    ) -> Option<T> {
        let since = Instant::now();
        let result = does(self.store, self.observe);
        self.done(part, since, result)
    }

    fn done<T, E: Display>(
        &mut self,
        part: Part,
        since: Instant,
        result: Result<T, E>,
    ) -> Option<T> {
        let shown = |error: &E| redacted(&error.to_string(), &self.context.delivered.current());
        let fault = result.as_ref().err().map(shown);
        self.report.done.push(Done { part, took: since.elapsed(), fault });
        result.ok()
    }
}
