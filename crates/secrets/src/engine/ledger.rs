//! How many leases belong to each session: a token that another has replaced is ended when its last
//! lease is gone, and not before.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use tokio::sync::Notify;

use crate::session::{SessionId, Tokens};

/// The leases of all sessions, counted.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    leases: RefCell<BTreeMap<SessionId, usize>>,
    changed: Notify,
}

/// One lease of a session, for as long as it is kept.
#[derive(Debug)]
pub(super) struct Use {
    id: SessionId,
    ledger: Rc<Ledger>,
}

impl Ledger {
    /// Counts one more lease of this session.
    pub(super) fn enter(self: &Rc<Self>, id: SessionId) -> Use {
        *self.leases.borrow_mut().entry(id).or_default() += 1;
        Use { id, ledger: self.clone() }
    }

    /// Ends sessions as soon as they are old and have no lease.
    pub(super) async fn run(self: Rc<Self>, tokens: Tokens) {
        let mut sessions = tokens.watch();
        loop {
            let old: Vec<_> = sessions.borrow_and_update().old.iter().map(|it| it.id).collect();
            for id in old {
                if !self.leases.borrow().contains_key(&id) {
                    tokens.release(id).await;
                }
            }
            tokio::select! {
                changed = sessions.changed() => if changed.is_err() { return },
                () = self.changed.notified() => {}
            }
        }
    }
}

impl Use {
    pub(super) fn id(&self) -> SessionId {
        self.id
    }
}

impl Drop for Use {
    fn drop(&mut self) {
        let mut leases = self.ledger.leases.borrow_mut();
        if let Some(count) = leases.get_mut(&self.id) {
            *count -= 1;
            if *count == 0 {
                leases.remove(&self.id);
                self.ledger.changed.notify_one();
            }
        }
    }
}
