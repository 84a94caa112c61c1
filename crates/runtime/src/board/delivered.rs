//! The secrets that the app was given.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use super::Secret;

/// The secrets that the app was given, by who gave them. Clones are the same list.
#[derive(Clone, Debug, Default)]
pub struct Delivered(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    owners: Mutex<BTreeMap<String, Vec<Secret>>>,
    all: watch::Sender<Arc<[Secret]>>,
}

impl Delivered {
    /// Replaces what `owner` has delivered. A rotated value belongs into `values` for as long as
    /// somebody may still use or print the old one. Call it before the app can see a new value.
    pub fn replace(&self, owner: &str, values: Vec<Secret>) {
        let mut owners = self.0.owners.lock().unwrap_or_else(PoisonError::into_inner);
        if values.is_empty() {
            owners.remove(owner);
        } else {
            owners.insert(owner.to_owned(), values);
        }
        let all: Arc<[Secret]> = owners.values().flatten().cloned().collect();
        self.0.all.send_replace(all);
    }

    /// Every secret there is now.
    #[must_use]
    pub fn current(&self) -> Arc<[Secret]> {
        self.0.all.borrow().clone()
    }

    /// Follows every change.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Arc<[Secret]>> {
        self.0.all.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_owners_deliver_adds_up_and_goes_with_them() {
        let delivered = Delivered::default();
        let mut changes = delivered.watch();
        delivered.replace("database", vec!["old".into(), "new".into()]);
        delivered.replace("key", vec!["k".into()]);
        assert!(changes.has_changed().unwrap());
        assert_eq!(changes.borrow_and_update().len(), 3);
        delivered.replace("database", vec!["new".into()]);
        delivered.replace("key", Vec::new());
        assert_eq!(delivered.current().as_ref(), [Secret::from("new")]);
    }

    #[test]
    fn a_secret_is_not_shown() {
        let delivered = Delivered::default();
        delivered.replace("owner", vec!["hunter2".into()]);
        assert!(!format!("{delivered:?} {:?}", delivered.current()).contains("hunter2"));
    }
}
