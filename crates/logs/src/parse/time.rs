//! The times that log lines carry, as nanoseconds since 1970. What names no zone is UTC.

use jiff::civil::DateTime;
use jiff::fmt::strtime::BrokenDownTime;
use jiff::tz::TimeZone;

use crate::record::UnixNanos;

const SECOND: i64 = 1_000_000_000;
const DAY_SECONDS: i64 = 86_400;
const MONTHS: [&[u8; 3]; 12] = [
    b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec",
];

/// A day and a time of it.
#[derive(Clone, Copy, Debug)]
struct Civil {
    year: i64,
    /// 1 to 12.
    month: i64,
    day: i64,
    hour: i64,
    minute: i64,
    /// Up to 60, in a leap second.
    second: i64,
    nanos: i64,
}

/// RFC 3339, and what is near to it: a space, `T` or `_` between date and time, `/` within the date,
/// `.` or `,` in front of the fraction, a zone of `Z`, `UTC`, `+01:00`, `+0100` or `+01`, after a
/// space or not, or no zone.
#[must_use]
pub fn timestamp(text: &str) -> Option<UnixNanos> {
    let bytes = text.as_bytes();
    let (mut civil, rest) = date_and_time(bytes)?;
    let rest = fraction(rest, &mut civil)?;
    civil.nanos_since_1970(zone(rest)?)
}

/// A number of seconds, milliseconds, microseconds or nanoseconds since 1970; its size tells which.
/// From 1973 on: a smaller number means something else.
#[must_use]
pub fn epoch(number: &str) -> Option<UnixNanos> {
    if number.contains(['e', 'E']) {
        return exponential(number);
    }
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if !whole.bytes().chain(fraction.bytes()).all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let unit = unit(whole.parse().ok()?)?;
    let mut nanos = whole.parse::<i64>().ok()?.checked_mul(unit)?;
    let mut scale = unit;
    for digit in fraction.bytes() {
        scale /= 10;
        nanos = nanos.checked_add(i64::from(digit - b'0') * scale)?;
    }
    Some(nanos)
}

/// `10/Oct/2000:13:55:36 -0700`, as Apache and nginx write it.
#[must_use]
pub fn clf(text: &str) -> Option<UnixNanos> {
    let bytes: &[u8; 26] = text.as_bytes().try_into().ok()?;
    let [d1, d2, b'/', m1, m2, m3, b'/', y1, y2, y3, y4, b':', time @ .., b' ', z0, z1, z2, z3, z4] =
        bytes
    else {
        return None;
    };
    let year = digits(&[*y1, *y2])? * 100 + digits(&[*y3, *y4])?;
    let civil = clock(time)?.on(year, month([*m1, *m2, *m3])?, digits(&[*d1, *d2])?);
    civil.nanos_since_1970(zone(&[*z0, *z1, *z2, *z3, *z4])?)
}

/// `Oct 11 22:14:15` of RFC 3164 in front of a text, and what follows it. The year is the one that
/// brings it nearest to `now` without being more than two days later.
#[must_use]
pub fn bsd(text: &str, now: UnixNanos) -> Option<(UnixNanos, &str)> {
    let head = text.as_bytes().first_chunk::<15>()?;
    let [m1, m2, m3, b' ', d1, d2, b' ', time @ ..] = head else { return None };
    let day = if *d1 == b' ' { digits(&[b'0', *d2]) } else { digits(&[*d1, *d2]) }?;
    let civil = clock(time)?;
    let month = month([*m1, *m2, *m3])?;
    let nanos = nearest_year(now, |year| civil.on(year, month, day).nanos_since_1970(0))?;
    Some((nanos, text.get(15..)?))
}

/// A time in a format of strptime; a missing year is found as in [`bsd`].
#[must_use]
pub fn by_format(format: &str, text: &str, now: UnixNanos) -> Option<UnixNanos> {
    let mut parts = BrokenDownTime::parse(format, text).ok()?;
    if parts.year().is_some() || parts.timestamp().is_some() {
        return moment(&parts);
    }
    nearest_year(now, |year| {
        parts.set_year(i16::try_from(year).ok()).ok()?;
        moment(&parts)
    })
}

fn moment(parts: &BrokenDownTime) -> Option<UnixNanos> {
    let timestamp = parts.to_timestamp().or_else(|_| {
        let midnight = parts.to_date().map(|date| date.to_datetime(jiff::civil::Time::midnight()));
        let civil: DateTime = parts.to_datetime().or(midnight)?;
        TimeZone::UTC.to_timestamp(civil)
    });
    i64::try_from(timestamp.ok()?.as_nanosecond()).ok()
}

fn nearest_year(now: UnixNanos, mut at: impl FnMut(i64) -> Option<UnixNanos>) -> Option<UnixNanos> {
    let this_year = year_of(now);
    let latest = now.saturating_add(2 * DAY_SECONDS * SECOND);
    // A leap day is at most eight years back.
    (this_year - 8..=this_year + 1).rev().filter_map(&mut at).find(|nanos| *nanos <= latest)
}

fn year_of(now: UnixNanos) -> i64 {
    let days = now.div_euclid(DAY_SECONDS * SECOND);
    let guess = 1970 + days.div_euclid(365);
    (guess - 2..=guess + 1).rev().find(|year| days_since_1970(*year, 1, 1) <= days).unwrap_or(guess)
}

/// What a whole number since 1970 counts, in nanoseconds.
fn unit(whole: u64) -> Option<i64> {
    match whole {
        0..100_000_000 => None,
        100_000_000..100_000_000_000 => Some(SECOND),
        100_000_000_000..100_000_000_000_000 => Some(1_000_000),
        100_000_000_000_000..100_000_000_000_000_000 => Some(1_000),
        100_000_000_000_000_000.. => Some(1),
    }
}

/// `1.6999e9`: what it says is exact to about a microsecond only.
fn exponential(number: &str) -> Option<UnixNanos> {
    let value: f64 = number.parse().ok()?;
    let range = 0.0..9.2e18;
    if !range.contains(&value) {
        return None;
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "in range")]
    let unit = unit(value as u64)?;
    #[expect(clippy::cast_precision_loss, reason = "a power of ten up to 10^9")]
    let nanos = value * unit as f64;
    #[expect(clippy::cast_possible_truncation, reason = "in range")]
    range.contains(&nanos).then_some(nanos as i64)
}

/// `YYYY-MM-DDTHH:MM:SS` in front.
fn date_and_time(bytes: &[u8]) -> Option<(Civil, &[u8])> {
    let (head, rest) = bytes.split_first_chunk::<19>()?;
    let [y1, y2, y3, y4, s1, m1, m2, s2, d1, d2, between, time @ ..] = head;
    if !matches!((s1, s2), (b'-', b'-') | (b'/', b'/'))
        || !matches!(between, b'T' | b't' | b' ' | b'_')
    {
        return None;
    }
    let year = digits(&[*y1, *y2])? * 100 + digits(&[*y3, *y4])?;
    let civil = clock(time)?.on(year, digits(&[*m1, *m2])?, digits(&[*d1, *d2])?);
    Some((civil, rest))
}

/// `HH:MM:SS`, of the first day of the year 0.
fn clock(bytes: &[u8; 8]) -> Option<Civil> {
    let [h1, h2, b':', m1, m2, b':', s1, s2] = bytes else { return None };
    let [hour, minute, second] = [digits(&[*h1, *h2])?, digits(&[*m1, *m2])?, digits(&[*s1, *s2])?];
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    Some(Civil { year: 0, month: 1, day: 1, hour, minute, second, nanos: 0 })
}

/// `.123` or `,123` in front; what is finer than a nanosecond does not count.
fn fraction<'a>(rest: &'a [u8], civil: &mut Civil) -> Option<&'a [u8]> {
    let [b'.' | b',', digits @ ..] = rest else { return Some(rest) };
    let mut scale = SECOND;
    let mut length = 0;
    for digit in digits.iter().take_while(|byte| byte.is_ascii_digit()) {
        scale /= 10;
        civil.nanos += i64::from(digit - b'0') * scale;
        length += 1;
    }
    (length > 0).then(|| digits.get(length..))?
}

/// The seconds that a zone is east of UTC.
fn zone(text: &[u8]) -> Option<i64> {
    let text = text.strip_prefix(b" ").unwrap_or(text);
    let (sign, hours, minutes) = match text {
        [] | b"Z" | b"z" | b"UTC" | b"GMT" => return Some(0),
        [sign, h1, h2] => (sign, [*h1, *h2], *b"00"),
        [sign, h1, h2, m1, m2] | [sign, h1, h2, b':', m1, m2] => (sign, [*h1, *h2], [*m1, *m2]),
        _ => return None,
    };
    let (hours, minutes) = (digits(&hours)?, digits(&minutes)?);
    let seconds = (hours <= 23 && minutes <= 59).then_some(hours * 3600 + minutes * 60)?;
    match sign {
        b'+' => Some(seconds),
        b'-' => Some(-seconds),
        _ => None,
    }
}

fn digits(bytes: &[u8; 2]) -> Option<i64> {
    let [tens, ones] = bytes.map(|byte| byte.wrapping_sub(b'0'));
    (tens <= 9 && ones <= 9).then(|| i64::from(tens) * 10 + i64::from(ones))
}

fn month(name: [u8; 3]) -> Option<i64> {
    let at = MONTHS.iter().position(|month| **month == name)?;
    i64::try_from(at + 1).ok()
}

impl Civil {
    fn on(self, year: i64, month: i64, day: i64) -> Self {
        Self { year, month, day, ..self }
    }

    fn nanos_since_1970(self, east: i64) -> Option<UnixNanos> {
        if !(1..=12).contains(&self.month)
            || !(1..=month_days(self.year, self.month)).contains(&self.day)
        {
            return None;
        }
        let days = days_since_1970(self.year, self.month, self.day);
        let seconds = days * DAY_SECONDS + self.hour * 3600 + self.minute * 60 + self.second - east;
        seconds.checked_mul(SECOND)?.checked_add(self.nanos)
    }
}

fn month_days(year: i64, month: i64) -> i64 {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days of the Gregorian calendar. Years are counted from March, so that a leap day is the last day
/// of its year.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    year * 365 + leap_days + (month * 153 + 2) / 5 + day - 1 - 719_468
}

#[cfg(test)]
mod tests;
