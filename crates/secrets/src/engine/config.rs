//! One configuration source: its newest files, for every set that wants them.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use pillion_model::secrets::{ConfigSource, Limits};
use pillion_runtime::say;
use tokio::sync::watch;
use tokio::time::sleep;

use super::House;
use crate::chance::{chance, wait};
use crate::sources::{Files, Source, SourceError};

/// Waits after a source that cannot be set up: the first, and the longest.
const BACKOFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// What a source is shown by.
pub(super) type Shown = watch::Sender<Option<Rc<Files>>>;

/// Follows a source until nobody wants it any more.
pub(super) async fn follow(
    source: Arc<ConfigSource>,
    limits: Limits,
    house: Rc<House>,
    shown: Rc<Shown>,
) {
    // Somebody may come between the last one's leave and our notice of it.
    while shown.receiver_count() > 0 {
        tokio::select! {
            () = shown.closed() => {}
            () = give(&source, limits, &house, &shown) => {}
        }
    }
    house.status.change(|state| drop(state.configs.remove(&source.name)));
}

async fn give(source: &ConfigSource, limits: Limits, house: &House, shown: &Shown) {
    let mut failures = 0;
    let mut made = loop {
        match Source::new(&source.from, limits, Box::new(chance)) {
            Ok(made) => break made,
            Err(error) => {
                failures += 1;
                failed(source, house, &error);
                sleep(wait(failures, BACKOFF, chance())).await;
            }
        }
    };
    let mut proven = made.proven();
    // Neither is dropped while it waits: a source that is asked anew does not wait.
    let giving = async {
        loop {
            match made.next().await {
                Ok(files) => changed(source, house, shown, files),
                Err(error) => failed(source, house, &error),
            }
        }
    };
    let proving = async {
        while proven.changed().await.is_ok() {
            fine(source, house);
        }
    };
    tokio::join!(giving, proving);
}

fn changed(source: &ConfigSource, house: &House, shown: &Shown, files: Files) {
    let (name, version) = (&source.name, files.version.clone());
    say!(
        Info,
        "a configuration source has other files",
        config = name,
        version = version,
        files = files.files.len()
    );
    fine(source, house);
    house.status.config(name, |config| {
        config.version = Some(version);
        config.changed = Some(SystemTime::now());
    });
    shown.send_replace(Some(Rc::new(files)));
    house.news();
}

fn fine(source: &ConfigSource, house: &House) {
    let mut was_failing = false;
    house.status.config(&source.name, |config| {
        was_failing = config.failing_since.take().is_some();
        config.error = None;
    });
    if was_failing {
        say!(Info, "a configuration source can be read again", config = source.name);
    }
}

fn failed(source: &ConfigSource, house: &House, error: &SourceError) {
    house.status.hit(error.limit());
    let error = error.to_string();
    let mut is_new = false;
    house.status.config(&source.name, |config| {
        is_new = config.error.as_ref() != Some(&error);
        config.failing_since.get_or_insert_with(SystemTime::now);
        config.error = Some(error.clone());
    });
    if is_new {
        say!(
            Warn,
            "a configuration source cannot be read; what was delivered stays",
            config = source.name,
            error = error
        );
    }
}
