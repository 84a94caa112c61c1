use proptest::prelude::*;

use super::*;

/// As jiff, which knows the calendar, reads it.
fn at(rfc3339: &str) -> Option<UnixNanos> {
    let timestamp: jiff::Timestamp = rfc3339.parse().unwrap();
    i64::try_from(timestamp.as_nanosecond()).ok()
}

#[test]
fn times_near_to_rfc_3339_are_read() {
    let cases = [
        ("2026-11-21T10:00:00Z", "2026-11-21T10:00:00Z"),
        ("2026-11-21t10:00:00z", "2026-11-21T10:00:00Z"),
        ("2026-11-21T10:00:00.123456789Z", "2026-11-21T10:00:00.123456789Z"),
        ("2026-11-21T10:00:00.1234567891234Z", "2026-11-21T10:00:00.123456789Z"),
        ("2026-11-21T10:00:00.5+01:00", "2026-11-21T09:00:00.5Z"),
        ("2026-11-21T10:00:00-0730", "2026-11-21T17:30:00Z"),
        ("2026-11-21T10:00:00+02", "2026-11-21T08:00:00Z"),
        ("2026-11-21 10:00:00,123", "2026-11-21T10:00:00.123Z"),
        ("2026-11-21 10:00:00.123 UTC", "2026-11-21T10:00:00.123Z"),
        ("2026-11-21 10:00:00 +0100", "2026-11-21T09:00:00Z"),
        ("2026/11/21 10:00:00", "2026-11-21T10:00:00Z"),
        ("2024-02-29T23:59:60Z", "2024-03-01T00:00:00Z"),
        ("1969-12-31T23:59:59.5Z", "1969-12-31T23:59:59.5Z"),
        ("1700-01-01T00:00:00Z", "1700-01-01T00:00:00Z"),
    ];
    for (text, same) in cases {
        assert_eq!(timestamp(text), at(same), "{text}");
    }
}

#[test]
fn what_is_no_time_is_none() {
    for text in [
        "",
        "2026-11-21",
        "2026-11-21T10:00",
        "2026-13-01T00:00:00Z",
        "2026-02-29T00:00:00Z",
        "2026-00-10T00:00:00Z",
        "2026-11-21T24:00:00Z",
        "2026-11-21T10:60:00Z",
        "2026-11-21T10:00:61Z",
        "2026-11-21T10:00:00.Z",
        "2026-11-21T10:00:00X",
        "2026-11-21T10:00:00+1",
        "2026-11-21T10:00:00+24:00",
        "2026-11/21T10:00:00Z",
        "9999-01-01T00:00:00Z",
        "0000-01-01T00:00:00Z",
        "2026-11-21T10:00:0\u{e9}Z",
    ] {
        assert_eq!(timestamp(text), None, "{text}");
    }
}

#[test]
fn numbers_since_1970_tell_their_unit_by_their_size() {
    let moment = at("2026-11-21T10:00:00Z").unwrap();
    let cases = [
        ("1795255200", Some(moment)),
        ("1795255200000", Some(moment)),
        ("1795255200000000", Some(moment)),
        ("1795255200000000000", Some(moment)),
        ("1795255200.123456789", Some(moment + 123_456_789)),
        ("1795255200123.5", Some(moment + 123_500_000)),
        ("1.7952552e9", Some(moment)),
        ("99999999", None),
        ("42", None),
        ("-1795255200", None),
        ("99999999999999999999", None),
        ("9300000000000000000", None),
        ("1e400", None),
        ("1.7952552e", None),
        ("", None),
        ("+1795255200", None),
    ];
    for (text, expected) in cases {
        assert_eq!(epoch(text), expected, "{text}");
    }
}

#[test]
fn access_log_times_are_read() {
    assert_eq!(clf("10/Oct/2000:13:55:36 -0700"), at("2000-10-10T20:55:36Z"));
    for text in ["10/Okt/2000:13:55:36 -0700", "32/Oct/2000:13:55:36 -0700", "", "10/Oct/2000"] {
        assert_eq!(clf(text), None, "{text}");
    }
}

#[test]
fn now_decides_the_year_that_syslog_leaves_out() {
    let cases = [
        ("Oct 11 22:14:15", "2026-11-21T00:00:00Z", "2026-10-11T22:14:15Z"),
        ("Oct  1 22:14:15", "2026-11-21T00:00:00Z", "2026-10-01T22:14:15Z"),
        ("Dec 31 23:59:59", "2027-01-01T00:00:10Z", "2026-12-31T23:59:59Z"),
        ("Jan  1 00:00:01", "2026-12-31T23:59:59Z", "2027-01-01T00:00:01Z"),
        ("Jan  1 00:00:00", "2026-12-28T00:00:00Z", "2026-01-01T00:00:00Z"),
        ("Feb 29 12:00:00", "2026-11-21T00:00:00Z", "2024-02-29T12:00:00Z"),
    ];
    for (text, now, expected) in cases {
        let line = format!("{text} rest");
        let now = at(now).unwrap();
        assert_eq!(bsd(&line, now), at(expected).map(|nanos| (nanos, " rest")), "{text}");
        assert_eq!(by_format("%b %e %H:%M:%S", text, now), at(expected), "{text}");
    }
    for text in ["Oct 11 22:14", "Oct 32 22:14:15", "Foo 11 22:14:15", "Feb 30 00:00:00"] {
        assert_eq!(bsd(text, 0), None, "{text}");
    }
}

#[test]
fn formats_of_strptime_are_obeyed() {
    let cases = [
        ("%d.%m.%Y %H:%M:%S", "21.11.2026 10:00:00", at("2026-11-21T10:00:00Z")),
        ("%d.%m.%Y %H:%M:%S%.f", "21.11.2026 10:00:00.25", at("2026-11-21T10:00:00.25Z")),
        ("%d.%m.%Y %H:%M:%S %z", "21.11.2026 10:00:00 +0100", at("2026-11-21T09:00:00Z")),
        ("%Y-%m-%d", "2026-11-21", at("2026-11-21T00:00:00Z")),
        ("%s", "1795255200", at("2026-11-21T10:00:00Z")),
        ("%d.%m.%Y", "no", None),
    ];
    for (format, text, expected) in cases {
        assert_eq!(by_format(format, text, 0), expected, "{format} {text}");
    }
}

proptest! {
    #[test]
    fn every_moment_reads_back(nanos in -9_200_000_000_000_000_000i64..9_200_000_000_000_000_000) {
        let text = jiff::Timestamp::from_nanosecond(nanos.into()).unwrap().to_string();
        prop_assert_eq!(timestamp(&text), Some(nanos));
        prop_assert_eq!(year_of(nanos).to_string(), &text[..4]);
    }

    #[test]
    fn no_text_is_too_odd(text in "\\PC{0,40}|[0-9T:./, Z+-]{0,40}", now: i64) {
        let _ = (timestamp(&text), epoch(&text), clf(&text), bsd(&text, now));
    }
}
