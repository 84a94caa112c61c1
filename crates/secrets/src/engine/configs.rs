//! The configuration sources that somebody wants now.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::{Rc, Weak};
use std::sync::Arc;

use pillion_model::secrets::{ConfigSource, Limits};
use tokio::sync::watch;
use tokio::task::spawn_local;

use super::House;
use super::config::{Shown, follow};
use crate::sources::Files;

/// Each source is followed once, for as long as somebody wants it.
pub(super) struct Configs {
    house: Rc<House>,
    sources: RefCell<BTreeMap<String, Weak<Shown>>>,
}

impl Configs {
    pub(super) fn new(house: Rc<House>) -> Self {
        Self { house, sources: RefCell::default() }
    }

    /// The files of a source, as they change.
    pub(super) fn get(
        &self,
        source: &Arc<ConfigSource>,
        limits: Limits,
    ) -> watch::Receiver<Option<Rc<Files>>> {
        let identity = format!("{source:?} {limits:?}");
        let mut sources = self.sources.borrow_mut();
        sources.retain(|_, shown| shown.strong_count() > 0);
        if let Some(shown) = sources.get(&identity).and_then(Weak::upgrade) {
            return shown.subscribe();
        }
        let (shown, receiver) = watch::channel(None);
        let shown = Rc::new(shown);
        sources.insert(identity, Rc::downgrade(&shown));
        spawn_local(follow(source.clone(), limits, self.house.clone(), shown));
        receiver
    }
}
