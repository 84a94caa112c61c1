//! Points in time as RFC 3339 text with nanoseconds, and as strftime writes them.

use jiff::civil::DateTime;
use jiff::tz::Offset;

use crate::record::UnixNanos;

const NANOS: i64 = 1_000_000_000;
/// As long as `2006-01-02T15:04:05.`
const SECOND_LENGTH: usize = 20;

/// Writes points in time that mostly lie in the same second: then only the fraction is new.
#[derive(Debug)]
pub(super) struct Stamp {
    second: i64,
    text: [u8; SECOND_LENGTH],
}

impl Default for Stamp {
    fn default() -> Self {
        Self { second: 0, text: *b"1970-01-01T00:00:00." }
    }
}

impl Stamp {
    /// Appends `2006-01-02T15:04:05.123456789Z`.
    pub(super) fn nanoseconds(&mut self, at: UnixNanos, out: &mut Vec<u8>) {
        let fraction = self.turn(at);
        out.extend_from_slice(&self.text);
        out.extend_from_slice(&digits::<9>(fraction));
        out.push(b'Z');
    }

    /// Appends `2006-01-02T15:04:05.123456Z`.
    pub(super) fn microseconds(&mut self, at: UnixNanos, out: &mut Vec<u8>) {
        let fraction = self.turn(at);
        out.extend_from_slice(&self.text);
        out.extend_from_slice(&digits::<6>(fraction / 1000));
        out.push(b'Z');
    }

    /// Makes `text` that of the second; returns the nanoseconds after it.
    fn turn(&mut self, at: UnixNanos) -> u32 {
        let (second, fraction) = (at.div_euclid(NANOS), at.rem_euclid(NANOS));
        if second != self.second {
            let civil = civil(at);
            for (range, value) in [
                (0..4, i64::from(civil.year())),
                (5..7, i64::from(civil.month())),
                (8..10, i64::from(civil.day())),
                (11..13, i64::from(civil.hour())),
                (14..16, i64::from(civil.minute())),
                (17..19, i64::from(civil.second())),
            ] {
                let mut value = u32::try_from(value).unwrap_or(0);
                for byte in self.text.get_mut(range).unwrap_or_default().iter_mut().rev() {
                    *byte = digit(value);
                    value /= 10;
                }
            }
            self.second = second;
        }
        u32::try_from(fraction).unwrap_or(0)
    }
}

/// Appends seconds since 1970 with three digits behind the point.
pub(super) fn epoch_seconds(at: UnixNanos, out: &mut Vec<u8>) {
    // No log is from before 1970; a clock that is reads as its first moment.
    let at = at.max(0);
    super::text::number(at / NANOS, out);
    out.push(b'.');
    out.extend_from_slice(&digits::<3>(u32::try_from(at % NANOS / 1_000_000).unwrap_or(0)));
}

/// What strftime makes of a format; `None` where the format is not valid.
pub(super) fn strftime(format: &str, at: UnixNanos) -> Option<String> {
    jiff::fmt::strtime::format(format, civil(at)).ok()
}

/// Every point in time of the type is in a year with four digits.
fn civil(at: UnixNanos) -> DateTime {
    let timestamp = jiff::Timestamp::from_nanosecond(i128::from(at)).unwrap_or_default();
    Offset::UTC.to_datetime(timestamp)
}

fn digits<const N: usize>(mut value: u32) -> [u8; N] {
    let mut text = [b'0'; N];
    for byte in text.iter_mut().rev() {
        *byte = digit(value);
        value /= 10;
    }
    text
}

const fn digit(value: u32) -> u8 {
    b'0' + (value % 10) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nanoseconds(stamp: &mut Stamp, at: UnixNanos) -> String {
        let mut out = Vec::new();
        stamp.nanoseconds(at, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn known_points_in_time_are_written_right() {
        let mut stamp = Stamp::default();
        for (at, expected) in [
            (0, "1970-01-01T00:00:00.000000000Z"),
            (999_999_999, "1970-01-01T00:00:00.999999999Z"),
            (1_709_210_096_789_012_345, "2024-02-29T12:34:56.789012345Z"),
            (1_709_210_096_000_000_001, "2024-02-29T12:34:56.000000001Z"),
            (-1, "1969-12-31T23:59:59.999999999Z"),
            (i64::MIN, "1677-09-21T00:12:43.145224192Z"),
            (i64::MAX, "2262-04-11T23:47:16.854775807Z"),
            (0, "1970-01-01T00:00:00.000000000Z"),
        ] {
            assert_eq!(nanoseconds(&mut stamp, at), expected);
        }
    }

    #[test]
    fn shorter_forms_cut_and_never_round_up() {
        let mut out = Vec::new();
        Stamp::default().microseconds(1_709_210_096_999_999_999, &mut out);
        out.push(b' ');
        epoch_seconds(1_709_210_096_999_999_999, &mut out);
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text, "2024-02-29T12:34:56.999999Z 1709210096.999");
    }

    #[test]
    fn strftime_is_of_utc_and_says_when_a_format_is_not_valid() {
        let at = 1_709_210_096_000_000_000;
        assert_eq!(strftime("logs-%Y.%m.%d-%H", at).as_deref(), Some("logs-2024.02.29-12"));
        assert_eq!(strftime("%", at), None);
    }
}
