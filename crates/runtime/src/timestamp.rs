//! Points in time as RFC 3339 text in UTC, without a calendar library.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::decimal::three_digits;

const SECONDS_PER_DAY: u64 = 86_400;
/// Days from 0000-03-01 to 1970-01-01. Years that begin in March have their leap day at the end.
const EPOCH_DAYS: u64 = 719_468;
const DAYS_PER_400_YEARS: u64 = 146_097;

/// Microseconds since 1970, now; 0 for a clock set before that.
pub(crate) fn now_unix_us() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as u64)
}

/// Writes points in time that mostly lie in one second: then only the milliseconds are new.
pub(crate) struct Stamp {
    second: u64,
    text: [u8; 24],
}

impl Default for Stamp {
    fn default() -> Self {
        Self { second: 0, text: rfc3339_ms(0) }
    }
}

impl Stamp {
    /// What [`rfc3339_ms`] gives.
    pub(crate) fn rfc3339_ms(&mut self, unix_us: u64) -> &[u8; 24] {
        let second = unix_us / 1_000_000;
        if second != self.second {
            *self = Self { second, text: rfc3339_ms(unix_us) };
        }
        let [.., hundreds, tens, ones, _z] = &mut self.text;
        [*hundreds, *tens, *ones] = three_digits(unix_us / 1000);
        &self.text
    }
}

/// `2006-01-02T15:04:05.678Z`. The year is taken modulo 10000.
#[must_use]
pub fn rfc3339_ms(unix_us: u64) -> [u8; 24] {
    let seconds = unix_us / 1_000_000;
    let (year, month, day) = civil(seconds / SECONDS_PER_DAY);
    let of_day = seconds % SECONDS_PER_DAY;
    let mut text = *b"0000-00-00T00:00:00.000Z";
    for (end, mut value) in [
        (4, year),
        (7, month),
        (10, day),
        (13, of_day / 3600),
        (16, of_day / 60 % 60),
        (19, of_day % 60),
        (23, unix_us / 1000 % 1000),
    ] {
        for byte in text.iter_mut().take(end).rev().take_while(|byte| byte.is_ascii_digit()) {
            *byte = b'0' + (value % 10) as u8;
            value /= 10;
        }
    }
    text
}

/// Year, month and day of a day since 1970-01-01 in the Gregorian calendar.
const fn civil(day: u64) -> (u64, u64, u64) {
    let day = day + EPOCH_DAYS;
    let of_era = day % DAYS_PER_400_YEARS;
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    // Months from March on have 31 and 30 days in a pattern that repeats every five: 153 days.
    let from_march = (5 * of_year + 2) / 153;
    let of_month = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = year_of_era + day / DAYS_PER_400_YEARS * 400 + (month <= 2) as u64;
    (year, month, of_month)
}

#[cfg(test)]
mod tests {
    use super::{Stamp, rfc3339_ms};

    #[test]
    fn known_points_in_time_are_written_right() {
        for (unix_us, expected) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_399_999_999, "2000-02-28T23:59:59.999Z"),
            (951_868_799_000_000, "2000-02-29T23:59:59.000Z"),
            (951_868_800_000_000, "2000-03-01T00:00:00.000Z"),
            (1_709_210_096_789_012, "2024-02-29T12:34:56.789Z"),
            (4_107_542_400_000_000, "2100-03-01T00:00:00.000Z"),
            (1_767_225_599_500_000, "2025-12-31T23:59:59.500Z"),
        ] {
            assert_eq!(std::str::from_utf8(&rfc3339_ms(unix_us)).unwrap(), expected);
        }
    }

    #[test]
    fn a_stamp_writes_every_time_as_if_it_were_the_first() {
        let mut stamp = Stamp::default();
        for unix_us in [
            7_000,
            0,
            1_709_210_096_789_012,
            1_709_210_096_999_999,
            1_709_210_097_000_000,
            1_709_210_096_001_000,
            u64::MAX,
        ] {
            assert_eq!(*stamp.rfc3339_ms(unix_us), rfc3339_ms(unix_us));
        }
    }

    #[test]
    fn days_follow_each_other_for_six_hundred_years() {
        let mut before = super::civil(0);
        for day in 1..220_000 {
            let (year, month, of_month) = super::civil(day);
            let expected_next = match before {
                (y, m, d) if (year, month) == (y, m) => of_month == d + 1,
                (y, m, _) if year == y => month == m + 1 && of_month == 1,
                (y, 12, 31) => (year, month, of_month) == (y + 1, 1, 1),
                _ => false,
            };
            assert!(expected_next, "{before:?} is followed by {:?}", (year, month, of_month));
            before = (year, month, of_month);
        }
    }
}
