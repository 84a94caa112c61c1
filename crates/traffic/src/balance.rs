//! Which endpoint of an upstream takes the next request.

use std::ops::Deref;

use pillion_model::snapshot::Balance;

use crate::random::Random;

/// What a choice needs to know about an endpoint.
pub trait Load {
    /// Requests that it works on now, as far as the chooser sees.
    fn in_flight(&self) -> u32;
    /// Whether it may be chosen at all.
    fn is_usable(&self) -> bool;
}

impl<P: Deref<Target: Load>> Load for P {
    fn in_flight(&self) -> u32 {
        (**self).in_flight()
    }

    fn is_usable(&self) -> bool {
        (**self).is_usable()
    }
}

/// The position of the endpoint that takes the next request; `None` when none is usable.
///
/// `cursor` is the state of round robin: start it anywhere, at random where several workers each
/// keep one, and keep it between calls; it stays valid when `endpoints` changes. `avoid` is the
/// endpoint of the try that failed: it is taken only when no other is usable.
pub fn pick<L: Load>(
    balance: Balance,
    endpoints: &[L],
    cursor: &mut usize,
    random: &mut Random,
    avoid: Option<usize>,
) -> Option<usize> {
    if let [only] = endpoints {
        return only.is_usable().then_some(0);
    }
    let open = |at: usize| Some(at) != avoid && endpoints.get(at).is_some_and(Load::is_usable);
    let choice = match balance {
        Balance::LeastRequest => least_request(endpoints, random, open),
        Balance::RoundRobin => round_robin(endpoints.len(), cursor, open),
    };
    choice.or_else(|| avoid.filter(|&at| endpoints.get(at).is_some_and(Load::is_usable)))
}

/// The first open position from the cursor on.
fn round_robin(len: usize, cursor: &mut usize, open: impl Fn(usize) -> bool) -> Option<usize> {
    let start = cursor.checked_rem(len)?;
    let at = (start..len).chain(0..start).find(|&at| open(at))?;
    *cursor = at + 1;
    Some(at)
}

/// The less loaded of two different open positions, taken at random; the first drawn on a tie.
///
/// Almost always every endpoint is open and the first draw decides, whatever their number. A draw
/// that hits one that is not is thrown away, and two are drawn among the open ones alone: either
/// way each pair of open endpoints is as likely as any other.
fn least_request<L: Load>(
    endpoints: &[L],
    random: &mut Random,
    open: impl Fn(usize) -> bool,
) -> Option<usize> {
    let (first, second) = two_below(endpoints.len(), random);
    if open(first) && open(second) {
        return Some(less_loaded(endpoints, first, second));
    }
    let open_positions = || (0..endpoints.len()).filter(|&at| open(at));
    let (first, second) = two_below(open_positions().count(), random);
    let first = open_positions().nth(first)?;
    let second = open_positions().nth(second).unwrap_or(first);
    Some(less_loaded(endpoints, first, second))
}

fn less_loaded<L: Load>(endpoints: &[L], first: usize, second: usize) -> usize {
    let load = |at: usize| endpoints.get(at).map_or(u32::MAX, Load::in_flight);
    if load(second) < load(first) { second } else { first }
}

/// Two different numbers below `n`, in random order; (0, 0) where `n` is at most 1.
fn two_below(n: usize, random: &mut Random) -> (usize, usize) {
    let n = u32::try_from(n).unwrap_or(u32::MAX);
    let first = random.below(n);
    let second = random.below(n.saturating_sub(1));
    // Stepping over the first keeps the two apart without drawing again.
    let second = if second >= first && n > 1 { second + 1 } else { second };
    (first as usize, second as usize)
}

#[cfg(test)]
mod tests;
