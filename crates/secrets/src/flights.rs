//! One request for all who ask for the same at the same time.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

/// Requests that are under way, by what they ask for. There are as many as there are callers.
#[derive(Debug)]
pub(crate) struct Flights<T>(Mutex<BTreeMap<String, watch::Receiver<Option<T>>>>);

impl<T> Default for Flights<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T: Clone> Flights<T> {
    /// Runs `request`, or waits for another one with the same `identity` that runs already. If that
    /// is given up before it has an answer, the next in line runs its own.
    pub(crate) async fn join<F: Future<Output = T>>(
        &self,
        identity: &str,
        request: impl FnOnce() -> F,
    ) -> T {
        loop {
            let mut others = match self.board(identity) {
                Ok(flight) => {
                    let answer = request().await;
                    flight.land(answer.clone());
                    return answer;
                }
                Err(others) => others,
            };
            if let Ok(answer) = others.wait_for(Option::is_some).await
                && let Some(answer) = answer.clone()
            {
                return answer;
            }
        }
    }

    /// A flight of one's own, or the answer that is awaited already.
    fn board(&self, identity: &str) -> Result<Flight<'_, T>, watch::Receiver<Option<T>>> {
        let mut flights = self.lock();
        match flights.get(identity) {
            Some(others) => Err(others.clone()),
            None => {
                let (sender, receiver) = watch::channel(None);
                flights.insert(identity.to_owned(), receiver);
                Ok(Flight { flights: self, identity: identity.to_owned(), sender })
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, watch::Receiver<Option<T>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request that runs. It leaves the list when it ends, however it ends.
struct Flight<'a, T: Clone> {
    flights: &'a Flights<T>,
    identity: String,
    sender: watch::Sender<Option<T>>,
}

impl<T: Clone> Flight<'_, T> {
    fn land(self, answer: T) {
        self.sender.send_replace(Some(answer));
    }
}

impl<T: Clone> Drop for Flight<'_, T> {
    fn drop(&mut self) {
        self.flights.lock().remove(&self.identity);
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::future::pending;

    use tokio::sync::Notify;

    use super::*;

    #[tokio::test]
    async fn all_who_ask_at_the_same_time_get_one_answer() {
        let (flights, asked, go) = (Flights::default(), Cell::new(0), Notify::new());
        let request = || async {
            asked.set(asked.get() + 1);
            go.notified().await;
            asked.get()
        };
        let all = async { tokio::join!(flights.join("a", request), flights.join("a", request)) };
        let ((one, two), ()) = tokio::join!(all, async { go.notify_one() });
        assert_eq!((one, two, asked.get()), (1, 1, 1));
        go.notify_one();
        assert_eq!(flights.join("a", request).await, 2, "later it is asked anew");
        assert!(flights.lock().is_empty());
    }

    #[tokio::test]
    async fn a_request_that_is_given_up_is_taken_on_by_who_waits_for_it() {
        let flights: Flights<u32> = Flights::default();
        let mut first = Box::pin(flights.join("a", pending));
        let mut second = Box::pin(flights.join("a", || async { 7 }));
        tokio::select! {
            biased;
            _ = &mut first => unreachable!(),
            _ = &mut second => unreachable!("the first is asking"),
            () = std::future::ready(()) => {}
        }
        drop(first);
        assert_eq!(second.await, 7);
    }

    #[tokio::test]
    async fn who_asks_for_something_else_does_not_wait() {
        let flights: Flights<u32> = Flights::default();
        let first = Box::pin(flights.join("a", pending));
        tokio::select! {
            biased;
            _ = first => unreachable!(),
            other = flights.join("b", || async { 1 }) => assert_eq!(other, 1),
        }
    }
}
