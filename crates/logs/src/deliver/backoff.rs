//! How long to wait before a batch is tried again.

use std::time::Duration;

use pillion_model::logs::Retry;
use pillion_traffic::Random;

use crate::sink::Trouble;

/// The wait before try number `tries` + 1: anything up to a time that doubles with every try, so
/// that those who failed together do not come back together; at least what the sink asks for; and
/// never more than `retry.max`. What a person has to see to is tried slowly from the start.
pub(super) fn wait(retry: &Retry, tries: u32, trouble: &Trouble, random: &mut Random) -> Duration {
    let upto = |longest: Duration, random: &mut Random| {
        let nanos = u64::try_from(longest.as_nanos()).unwrap_or(u64::MAX);
        Duration::from_nanos(random.up_to(nanos))
    };
    let own = match trouble.cause.remedy() {
        Some(_) => retry.max / 2 + upto(retry.max / 2, random),
        None => {
            let doubled = 1_u32.checked_shl(tries.saturating_sub(1)).unwrap_or(u32::MAX);
            upto(retry.min.saturating_mul(doubled).min(retry.max), random)
        }
    };
    own.max(trouble.after.unwrap_or_default()).min(retry.max)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::Cause;

    const RETRY: Retry =
        Retry { min: Duration::from_millis(100), max: Duration::from_secs(10), give_up: None };

    /// The shortest and the longest of many waits.
    fn range(tries: u32, cause: Cause, after: Option<u64>) -> (Duration, Duration) {
        let mut random = Random::new(1);
        let after = after.map(Duration::from_secs);
        let trouble = Trouble { cause, text: String::new(), after };
        let waits: Vec<_> = (0..1000).map(|_| wait(&RETRY, tries, &trouble, &mut random)).collect();
        (*waits.iter().min().unwrap(), *waits.iter().max().unwrap())
    }

    #[test]
    fn waits_double_up_to_the_longest_and_are_jittered_over_the_whole_range() {
        for (tries, longest) in [(1, 100), (2, 200), (5, 1600), (8, 10_000), (40, 10_000)] {
            let (least, most) = range(tries, Cause::Server, None);
            let longest = Duration::from_millis(longest);
            assert!(least < longest / 50, "{tries}: {least:?}");
            assert!(most > longest * 49 / 50 && most <= longest, "{tries}: {most:?}");
        }
    }

    #[test]
    fn what_the_sink_asks_for_is_waited_for_up_to_the_longest() {
        let (least, most) = range(1, Cause::Busy, Some(3));
        assert_eq!((least, most), (Duration::from_secs(3), Duration::from_secs(3)));
        let (least, most) = range(1, Cause::Busy, Some(3600));
        assert_eq!((least, most), (RETRY.max, RETRY.max));
    }

    #[test]
    fn credentials_that_are_refused_are_tried_slowly_from_the_first_time() {
        let (least, most) = range(1, Cause::Credentials, None);
        assert!(least >= RETRY.max / 2 && most <= RETRY.max, "{least:?} {most:?}");
    }
}
