//! Times and sizes: a number with its unit, never a bare number.

use std::fmt;
use std::time::Duration;

use super::{Fault, Text, was_off};

const DURATION_UNITS: &[(&str, u64)] =
    &[("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];
/// Longer than any wait that makes sense, short enough that adding it to a clock never overflows.
const LONGEST: u64 = 7 * 86_400_000;

const SIZE_UNITS: &[(&str, u64)] = &[
    ("B", 1),
    ("KB", 1_000),
    ("KiB", 1 << 10),
    ("MB", 1_000_000),
    ("MiB", 1 << 20),
    ("GB", 1_000_000_000),
    ("GiB", 1 << 30),
];
const LARGEST: u64 = 1 << 40;

/// A duration from one millisecond to seven days.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Period(Duration);

impl Period {
    /// So many milliseconds, brought into the limits.
    pub const fn from_millis(millis: u64) -> Self {
        let millis = if millis > LONGEST { LONGEST } else { millis };
        Self(Duration::from_millis(if millis == 0 { 1 } else { millis }))
    }

    /// So many seconds, brought into the limits.
    pub const fn from_secs(seconds: u64) -> Self {
        Self::from_millis(seconds.saturating_mul(1_000))
    }

    /// The duration.
    pub const fn get(self) -> Duration {
        self.0
    }

    fn millis(self) -> u64 {
        u64::try_from(self.0.as_millis()).unwrap_or(LONGEST)
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_amount(f, self.millis(), DURATION_UNITS)
    }
}

impl Text for Period {
    const KIND: &'static str = "duration";
    const EXAMPLE: &'static str = "30s";
    const PATTERN: &'static str = r"^[0-9]+(\.[0-9]+)?(ms|s|m|h|d)$";

    fn read(text: &str) -> Result<Self, Fault> {
        match read_amount(text, DURATION_UNITS) {
            Ok(0) => Err(Fault::new(format!("{text} is no time at all: at least 1ms"))),
            Ok(millis) if millis <= LONGEST => Ok(Self::from_millis(millis)),
            Ok(_) => Err(Fault::new(format!("{text} is longer than the longest duration, 7d"))),
            Err(why) => Err(why.fault(text, "duration", "ms, s, m, h or d", "30s")),
        }
    }

    fn amount(&self) -> Option<u64> {
        Some(self.millis())
    }
}

/// A duration that can be switched off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timeout {
    /// No end.
    Off,
    /// It ends after this long.
    After(Period),
}

impl Timeout {
    /// The duration, if there is an end.
    pub fn get(self) -> Option<Duration> {
        match self {
            Self::Off => None,
            Self::After(period) => Some(period.get()),
        }
    }
}

impl fmt::Display for Timeout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("off"),
            Self::After(period) => period.fmt(f),
        }
    }
}

impl Text for Timeout {
    const KIND: &'static str = "duration or off";
    const EXAMPLE: &'static str = "30s";
    const PATTERN: &'static str = r"^(off|[0-9]+(\.[0-9]+)?(ms|s|m|h|d))$";

    fn read(text: &str) -> Result<Self, Fault> {
        was_off(text, Self::KIND)?;
        match text {
            "off" => Ok(Self::Off),
            _ => Period::read(text).map(Self::After).map_err(|fault| match fault.hint {
                None => fault.hint("off switches it off"),
                Some(_) => fault,
            }),
        }
    }
}

/// A number of bytes, up to 1 TiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(u64);

impl Size {
    /// So many bytes, brought into the limits.
    pub const fn from_bytes(bytes: u64) -> Self {
        Self(if bytes > LARGEST { LARGEST } else { bytes })
    }

    /// The number of bytes.
    pub fn bytes(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_amount(f, self.0, SIZE_UNITS)
    }
}

impl Text for Size {
    const KIND: &'static str = "size";
    const EXAMPLE: &'static str = "64KiB";
    const PATTERN: &'static str = r"^[0-9]+(\.[0-9]+)?(B|KB|KiB|MB|MiB|GB|GiB)$";

    fn read(text: &str) -> Result<Self, Fault> {
        match read_amount(text, SIZE_UNITS) {
            Ok(bytes) if bytes <= LARGEST => Ok(Self(bytes)),
            Ok(_) => Err(Fault::new(format!("{text} is more than the largest size, 1024GiB"))),
            Err(why) => Err(why.fault(text, "size", "B, KB, KiB, MB, MiB, GB or GiB", "64KiB")),
        }
    }

    fn amount(&self) -> Option<u64> {
        Some(self.0)
    }
}

enum Unreadable {
    NoUnit,
    UnknownUnit,
    NoNumber,
    TooLarge,
    TooFine(&'static str),
}

impl Unreadable {
    fn fault(self, text: &str, kind: &str, units: &str, example: &str) -> Fault {
        match self {
            Self::NoUnit => Fault::new(format!("{text} has no unit"))
                .hint(format!("a {kind} is a number with {units}, such as {example}")),
            Self::UnknownUnit => Fault::new(format!("{text:?} does not end in a unit we know"))
                .hint(format!("a {kind} is one number with {units}, such as {example}")),
            Self::NoNumber => Fault::new(format!("{text:?} is not a {kind}"))
                .hint(format!("a {kind} is a number with {units}, such as {example}")),
            Self::TooLarge => Fault::new(format!("{text} is too large a {kind}")),
            Self::TooFine(unit) => Fault::new(format!("{text} is finer than 1{unit}")),
        }
    }
}

/// Reads `1.5s` as 1500 of the smallest unit, exactly.
fn read_amount(text: &str, units: &[(&'static str, u64)]) -> Result<u64, Unreadable> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    if whole.is_empty() || fraction.is_empty() || fraction.contains('.') {
        return Err(Unreadable::NoNumber);
    }
    if unit.is_empty() {
        return Err(Unreadable::NoUnit);
    }
    let Some((_, factor)) = units.iter().find(|(name, _)| *name == unit) else {
        return Err(Unreadable::UnknownUnit);
    };
    let fraction = fraction.trim_end_matches('0');
    // Twelve digits are finer than any unit here, and keep the arithmetic within u128.
    if fraction.len() > 12 {
        return Err(Unreadable::TooFine(units.first().map_or("", |(name, _)| name)));
    }
    let scale = 10u128.pow(u32::try_from(fraction.len()).unwrap_or(0));
    let whole: u64 = whole.parse().map_err(|_| Unreadable::TooLarge)?;
    let part: u128 = if fraction.is_empty() { 0 } else { fraction.parse().unwrap_or(0) };
    let scaled = (u128::from(whole) * scale + part) * u128::from(*factor);
    if !scaled.is_multiple_of(scale) {
        return Err(Unreadable::TooFine(units.first().map_or("", |(name, _)| name)));
    }
    u64::try_from(scaled / scale).map_err(|_| Unreadable::TooLarge)
}

/// Writes an amount in the largest unit that divides it.
fn write_amount(f: &mut fmt::Formatter<'_>, amount: u64, units: &[(&str, u64)]) -> fmt::Result {
    let fits = |(_, factor): &&(&str, u64)| amount >= *factor && amount.is_multiple_of(*factor);
    match units.iter().rev().find(fits).or(units.first()) {
        Some((unit, factor)) => write!(f, "{}{unit}", amount / factor),
        None => Ok(()),
    }
}
