//! The byte budget of the role: charged when bytes are read, given back when they are delivered.

use std::cell::Cell;
use std::rc::Rc;

use tokio::sync::Notify;

/// How many bytes of log data may be held in memory. Clones are the same budget.
#[derive(Clone, Debug)]
pub struct Budget(Rc<Inner>);

#[derive(Debug)]
struct Inner {
    limit: usize,
    used: Cell<usize>,
    freed: Notify,
}

/// Bytes that are held; given back on drop.
#[derive(Debug)]
pub struct Charge {
    budget: Rc<Inner>,
    bytes: usize,
}

impl Budget {
    /// A budget of `limit` bytes.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self(Rc::new(Inner { limit, used: Cell::new(0), freed: Notify::new() }))
    }

    /// Takes bytes if there is room. A charge that is larger than the whole budget is given when
    /// nothing else is held, so that one large record cannot wait for ever.
    #[must_use]
    pub fn try_take(&self, bytes: usize) -> Option<Charge> {
        let used = self.0.used.get();
        let fits = used == 0 || used.saturating_add(bytes) <= self.0.limit;
        fits.then(|| self.take_anyway(bytes))
    }

    /// Waits until there is room.
    pub async fn take(&self, bytes: usize) -> Charge {
        loop {
            let freed = self.0.freed.notified();
            if let Some(charge) = self.try_take(bytes) {
                return charge;
            }
            freed.await;
        }
    }

    /// Waits until there is room for at least a byte.
    pub async fn room(&self) {
        drop(self.take(1).await);
    }

    /// Takes bytes that are there already, such as what an encoding adds. The budget may be
    /// exceeded by that; nothing new is let in until it is not.
    #[must_use]
    pub fn take_anyway(&self, bytes: usize) -> Charge {
        self.0.used.set(self.0.used.get().saturating_add(bytes));
        Charge { budget: self.0.clone(), bytes }
    }

    /// Bytes that are held.
    #[must_use]
    pub fn used(&self) -> usize {
        self.0.used.get()
    }

    /// The most bytes that may be held.
    #[must_use]
    pub fn limit(&self) -> usize {
        self.0.limit
    }
}

impl Charge {
    /// How many bytes it is.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Makes it so many bytes, more or fewer.
    pub fn set(&mut self, bytes: usize) {
        let used = self.budget.used.get().saturating_sub(self.bytes).saturating_add(bytes);
        self.budget.used.set(used);
        if bytes < self.bytes {
            self.budget.freed.notify_waiters();
        }
        self.bytes = bytes;
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.set(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_held_to_the_byte() {
        let budget = Budget::new(10);
        let first = budget.try_take(6).unwrap();
        assert!(budget.try_take(5).is_none());
        let second = budget.try_take(4).unwrap();
        assert_eq!(budget.used(), 10);
        drop(first);
        assert_eq!(budget.used(), 4);
        drop(second);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn what_is_larger_than_the_budget_goes_alone() {
        let budget = Budget::new(10);
        let alone = budget.try_take(11).unwrap();
        assert!(budget.try_take(1).is_none());
        drop(alone);
        assert!(budget.try_take(10).is_some());
    }

    #[tokio::test]
    async fn who_waits_goes_on_when_room_is_made() {
        let budget = Budget::new(10);
        let mut held = budget.try_take(10).unwrap();
        let waiting = budget.take(3);
        let making_room = async {
            tokio::task::yield_now().await;
            held.set(7);
        };
        let (charge, ()) = tokio::join!(waiting, making_room);
        assert_eq!((charge.bytes(), budget.used()), (3, 10));
    }
}
