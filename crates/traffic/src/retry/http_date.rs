//! The date form of HTTP (IMF-fixdate, RFC 9110 §5.6.7): `Sun, 06 Nov 1994 08:49:37 GMT`.

use std::time::{Duration, SystemTime};

const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
pub(super) const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// The moment that `text` names; `None` where it is not exactly of this form, no real date, or
/// before 1970. Whether the name of the day fits the date is not looked at.
pub(super) fn parse(text: &str) -> Option<SystemTime> {
    let (day_name, rest) = text.split_once(", ")?;
    DAYS.contains(&day_name).then_some(())?;
    let mut parts = rest.split(' ');
    let mut next = || parts.next();
    let (day, month, year, time, zone) = (next()?, next()?, next()?, next()?, next()?);
    if next().is_some() || zone != "GMT" {
        return None;
    }
    let month = MONTHS.iter().position(|name| *name == month)? as u64 + 1;
    let days = days_since_1970(number(year, 4)?, month, number(day, 2)?)?;
    let moment = Duration::from_secs(days * 86_400 + seconds_of_day(time)?);
    SystemTime::UNIX_EPOCH.checked_add(moment)
}

/// Exactly `digits` decimal digits.
fn number(text: &str, digits: usize) -> Option<u64> {
    let fits = text.len() == digits && text.bytes().all(|byte| byte.is_ascii_digit());
    fits.then(|| text.parse().ok())?
}

fn seconds_of_day(time: &str) -> Option<u64> {
    let mut parts = time.split(':');
    let mut next = || parts.next();
    let (hour, minute, second) = (next()?, next()?, next()?);
    let (hour, minute, second) = (number(hour, 2)?, number(minute, 2)?, number(second, 2)?);
    // 60 is a leap second.
    let fits = next().is_none() && hour < 24 && minute < 60 && second <= 60;
    fits.then_some(hour * 3_600 + minute * 60 + second)
}

fn days_since_1970(year: u64, month: u64, day: u64) -> Option<u64> {
    let leap = |year: u64| {
        year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
    };
    let length = match month {
        2 => 28 + u64::from(leap(year)),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    if year < 1970 || !(1..=length).contains(&day) {
        return None;
    }
    // Leap days up to the end of a year, counted from year 0.
    let leap_days = |year: u64| year / 4 - year / 100 + year / 400;
    let before_year = (year - 1970) * 365 + leap_days(year - 1) - leap_days(1969);
    // The shape of the months: 153 days in every five from March on.
    let before_month = match month {
        1 => 0,
        2 => 31,
        _ => 59 + u64::from(leap(year)) + (153 * (month - 3) + 2) / 5,
    };
    Some(before_year + before_month + day - 1)
}
