//! Pillion's own messages: one line each on standard error, with a level that can be changed while
//! running, and a bound on what one place in the code may say.
//!
//! On a terminal: `pillion: warn: cannot do this key=value`. Otherwise one JSON object a line. A
//! message never waits: when nobody reads standard error, it is lost.

use std::fmt::{self, Display, Write as _};
use std::io::{self, IsTerminal as _};
use std::os::fd::AsFd as _;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::escape::escape;
use crate::timestamp::{now_unix_us, rfc3339_ms};

/// Messages of one place in the code within [`WINDOW`]; what exceeds them is counted.
const BURST: u32 = 10;
const WINDOW: Duration = Duration::from_secs(1);
/// What a pipe takes without mixing it with other writers' bytes (`PIPE_BUF`).
const LONGEST: usize = 4096;
/// Of these, kept for names of fields and the end of the line.
const RESERVE: usize = 512;
/// Bytes that one byte may become, as `\u001b` does.
const LONGEST_ESCAPE: usize = 6;

static LEVEL: AtomicU8 = AtomicU8::new(Level::Info as u8);

/// How much a message matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Something does not work, and somebody has to act.
    Error,
    /// Something is not as it should be; Pillion copes.
    Warn,
    /// What an operator wants to know in ordinary times.
    Info,
    /// What helps to find a fault.
    Debug,
}

impl Level {
    /// Every level, the most important first.
    pub const ALL: [Self; 4] = [Self::Error, Self::Warn, Self::Info, Self::Debug];

    /// The word in messages and on the command line.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
        }
    }

    /// The level with this label; `warning` and `trace` are understood too.
    pub fn from_label(label: &str) -> Option<Self> {
        match label {
            "warning" => Some(Self::Warn),
            "trace" => Some(Self::Debug),
            _ => Self::ALL.into_iter().find(|level| level.label() == label),
        }
    }
}

/// The least important level that is said.
pub fn level() -> Level {
    // Relaxed: a message more or less around a change does no harm.
    let level = LEVEL.load(Ordering::Relaxed);
    Level::ALL.into_iter().find(|known| *known as u8 == level).unwrap_or(Level::Info)
}

/// Changes the least important level that is said.
pub fn set_level(level: Level) {
    // Relaxed: as in `level`.
    LEVEL.store(level as u8, Ordering::Relaxed);
}

/// Says one thing: `say!(Warn, "cannot open {name}", error = error)`. Values are shown by their
/// `Display`.
#[macro_export]
macro_rules! say {
    ($level:ident, $message:literal $(, $key:ident = $value:expr)* $(,)?) => {{
        static SITE: $crate::say::Site = $crate::say::Site::new();
        if $crate::say::Level::$level <= $crate::say::level() {
            SITE.say(
                $crate::say::Level::$level,
                ::core::format_args!($message),
                &[$((::core::stringify!($key), &$value as &dyn ::core::fmt::Display)),*],
            );
        }
    }};
}
pub use say;

/// A place in the code that says something; [`say!`] makes one for each use.
pub struct Site(Mutex<Burst>);

impl Site {
    /// A place that has said nothing yet.
    #[expect(clippy::new_without_default, reason = "only ever a static of the macro")]
    pub const fn new() -> Self {
        Self(Mutex::new(Burst { since: None, said: 0, held_back: 0 }))
    }

    /// Writes the message, unless this place said too much within the last second.
    pub fn say(&self, level: Level, message: fmt::Arguments<'_>, fields: &[(&str, &dyn Display)]) {
        let admitted = self.0.lock().unwrap_or_else(PoisonError::into_inner).admit(Instant::now());
        let Some(held_back) = admitted else { return };
        let form = if io::stderr().is_terminal() { Form::Text } else { Form::Json(now_unix_us()) };
        write(&form.line(level, message, fields, held_back));
    }
}

/// How much a place said lately.
struct Burst {
    since: Option<Instant>,
    said: u32,
    held_back: u64,
}

impl Burst {
    /// Whether a message may be said now; if so, how many were held back before it.
    fn admit(&mut self, now: Instant) -> Option<u64> {
        if self.since.is_none_or(|since| now.saturating_duration_since(since) >= WINDOW) {
            (self.since, self.said) = (Some(now), 0);
        }
        if self.said == BURST {
            self.held_back += 1;
            return None;
        }
        self.said += 1;
        Some(std::mem::take(&mut self.held_back))
    }
}

/// How a message is written.
enum Form {
    /// For people.
    Text,
    /// For programs, with the time in microseconds since 1970.
    Json(u64),
}

impl Form {
    fn line(
        &self,
        level: Level,
        message: fmt::Arguments<'_>,
        fields: &[(&str, &dyn Display)],
        held_back: u64,
    ) -> Vec<u8> {
        let mut line = Vec::with_capacity(256);
        let label = level.label();
        match self {
            Self::Text => {
                line.extend_from_slice(format!("pillion: {label}: ").as_bytes());
                push(&message, &mut line);
                for (key, value) in fields {
                    line.extend_from_slice(format!(" {key}=").as_bytes());
                    push(value, &mut line);
                }
                if held_back > 0 {
                    push(&format_args!(" (… repeated {held_back} times)"), &mut line);
                }
            }
            Self::Json(unix_us) => {
                line.extend_from_slice(b"{\"time\":\"");
                line.extend_from_slice(&rfc3339_ms(*unix_us));
                line.extend_from_slice(
                    format!("\",\"level\":\"{label}\",\"message\":\"").as_bytes(),
                );
                push(&message, &mut line);
                for (key, value) in fields {
                    line.extend_from_slice(format!("\",\"{key}\":\"").as_bytes());
                    push(value, &mut line);
                }
                line.push(b'"');
                if held_back > 0 {
                    line.extend_from_slice(format!(",\"repeated\":{held_back}").as_bytes());
                }
                line.push(b'}');
            }
        }
        line.push(b'\n');
        line
    }
}

/// Appends a value without control characters, cut where the line would become too long.
fn push(value: &dyn Display, line: &mut Vec<u8>) {
    let mut text = String::new();
    // A Display that fails leaves what it wrote so far.
    let _partial = write!(text, "{value}");
    let start = line.len();
    let room = (LONGEST - RESERVE).saturating_sub(start);
    escape(text.as_bytes(), line);
    if line.len() - start > room {
        line.truncate(start);
        let cut = text.floor_char_boundary(room / LONGEST_ESCAPE);
        escape(text.get(..cut).unwrap_or_default().as_bytes(), line);
    }
}

/// Writes the line if standard error takes it now.
fn write(line: &[u8]) {
    let stderr = io::stderr();
    let mut ready = [PollFd::new(stderr.as_fd(), PollFlags::POLLOUT)];
    let takes_it = poll(&mut ready, PollTimeout::ZERO).is_ok_and(|count| count > 0);
    if takes_it {
        // There is nowhere left to say that this failed.
        let _lost = nix::unistd::write(stderr.as_fd(), line);
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Display;
    use std::time::{Duration, Instant};

    use super::{BURST, Burst, Form, LONGEST, Level};

    #[test]
    fn a_place_that_says_too_much_is_held_back_and_says_how_often() {
        let mut burst = Burst { since: None, said: 0, held_back: 0 };
        let start = Instant::now();
        for _ in 0..BURST {
            assert_eq!(burst.admit(start), Some(0));
        }
        for _ in 0..7 {
            assert_eq!(burst.admit(start + Duration::from_millis(999)), None);
        }
        assert_eq!(burst.admit(start + Duration::from_secs(1)), Some(7));
        assert_eq!(burst.admit(start + Duration::from_secs(1)), Some(0));
    }

    fn line(form: &Form, held_back: u64) -> String {
        let fields: [(&str, &dyn Display); 2] = [("path", &"/tmp/a\nb"), ("errno", &28)];
        let line = form.line(Level::Warn, format_args!("cannot \"write\""), &fields, held_back);
        String::from_utf8(line).unwrap()
    }

    #[test]
    fn a_message_is_one_line_for_people_or_for_programs() {
        for (form, held_back, expected) in [
            (Form::Text, 0, "pillion: warn: cannot \\\"write\\\" path=/tmp/a\\nb errno=28\n"),
            (
                Form::Text,
                3,
                "pillion: warn: cannot \\\"write\\\" path=/tmp/a\\nb errno=28 (… repeated 3 times)\n",
            ),
            (
                Form::Json(0),
                3,
                concat!(
                    r#"{"time":"1970-01-01T00:00:00.000Z","level":"warn","#,
                    r#""message":"cannot \"write\"","path":"/tmp/a\nb","errno":"28","repeated":3}"#,
                    "\n"
                ),
            ),
        ] {
            assert_eq!(line(&form, held_back), expected);
        }
    }

    #[test]
    fn a_line_is_never_longer_than_a_pipe_takes_at_once() {
        let (plain, odd) = ("x".repeat(10_000), "\u{1b}".repeat(10_000));
        for form in [Form::Text, Form::Json(0)] {
            for text in [&plain, &odd] {
                let fields: [(&str, &dyn Display); 3] = [("a", &odd), ("b", text), ("c", text)];
                let line = form.line(Level::Info, format_args!("{text}"), &fields, 1);
                assert!((1000..=LONGEST).contains(&line.len()), "{}", line.len());
                if let Form::Json(_) = form {
                    serde_json::from_slice::<serde_json::Value>(&line).unwrap();
                }
            }
        }
    }

    #[test]
    fn levels_are_ordered_and_known_by_their_labels() {
        assert!(Level::ALL.is_sorted());
        for level in Level::ALL {
            assert_eq!(Level::from_label(level.label()), Some(level));
        }
        assert_eq!(Level::from_label("loud"), None);
    }
}
