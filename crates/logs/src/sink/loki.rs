//! The push interface of Loki. It refuses entries that are too old or too new for a stream; those
//! are moved to the nearest time that it takes, and keep their own beside it.

use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::header::HeaderName;
use pillion_model::logs::{Compression, HttpOutput, LokiOutput};

use super::http::{Message, Server, judge};
use super::{Cause, Load, SinkError, Trouble, Verdict};
use crate::record::UnixNanos;

const PATH: &str = "/loki/api/v1/push";
const TENANT: HeaderName = HeaderName::from_static("x-scope-orgid");
/// What Loki writes before the oldest time that it takes, and of entries that are too new.
const OLDEST: &str = "oldest acceptable timestamp is: ";
const TOO_NEW: &str = "timestamp too new";
/// What it writes where its configuration takes no metadata: no entry will ever be taken.
const NO_METADATA: &str = "includes structured metadata, but this feature is disallowed";
/// How far inside the limit a time is moved: the limit moves on while we send.
const MARGIN: UnixNanos = 60_000_000_000;

/// How often a load is moved.
const WINDOWS: usize = 3;

/// A Loki. An entry that it has already (stream, time, line) is not stored again.
#[derive(Debug)]
pub(super) struct Loki {
    server: Server,
    tenant: Option<String>,
}

/// The times that a Loki takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Window {
    oldest: UnixNanos,
    newest: UnixNanos,
}

impl Window {
    fn and(self, other: Self) -> Self {
        let newest = self.newest.min(other.newest);
        Self { oldest: self.oldest.max(other.oldest).min(newest), newest }
    }
}

impl Loki {
    pub(super) fn new(output: &LokiOutput) -> Result<Self, SinkError> {
        let compress = match output.http.compress {
            // It does not read zstd.
            Compression::Zstd | Compression::Gzip => Compression::Gzip,
            Compression::None => Compression::None,
        };
        let http = HttpOutput { compress, ..output.http.clone() };
        Ok(Self { server: Server::new(&http, &http.url)?, tenant: output.tenant.clone() })
    }

    pub(super) async fn send(&self, load: Load<'_>) -> Verdict {
        let mut verdict = self.push(load.partition, load.shared()).await;
        let mut taken = Window { oldest: 0, newest: UnixNanos::MAX };
        // There is a limit for all streams, and one for each, which is said once the first is kept.
        // What was taken of a load the first time is not stored a second time.
        for _ in 0..WINDOWS {
            let Verdict::Halve(said) = &verdict else { break };
            let Some(window) = window(said, now()) else { break };
            taken = taken.and(window);
            verdict = self.push(load.partition, moved(load, taken).into()).await;
        }
        verdict
    }

    async fn push(&self, labels: &str, mut entries: Bytes) -> Verdict {
        if entries.ends_with(b",") {
            entries.truncate(entries.len() - 1);
        }
        let before = format!("{{\"streams\":[{{\"stream\":{labels},\"values\":[");
        let body = [before.into(), entries, Bytes::from_static(b"]}]}")];
        let message = Message {
            path: PATH,
            content_type: "application/json",
            body: &body,
            header: self.tenant.as_deref().map(|tenant| (TENANT, tenant)),
        };
        match self.server.post(&message).await {
            Ok(answer) => judge(&answer, unfit).unwrap_or(Verdict::Delivered),
            Err(trouble) => Verdict::Retry(trouble),
        }
    }
}

/// What becomes of a load that Loki does not like. It says how many entries it refused, not which;
/// halves find them.
fn unfit(said: String) -> Verdict {
    match said.contains(NO_METADATA) {
        true => Verdict::Retry(Trouble::new(Cause::Address, said)),
        false => Verdict::Halve(said),
    }
}

fn now() -> UnixNanos {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixNanos::try_from(since.as_nanos()).unwrap_or(UnixNanos::MAX)
}

/// The times that are taken, where an answer says that some were not.
fn window(said: &str, now: UnixNanos) -> Option<Window> {
    let limits = said.split(OLDEST).skip(1).filter_map(|rest| {
        let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || "-:.+".contains(c)));
        let time: jiff::Timestamp = rest.get(..end.unwrap_or(rest.len()))?.parse().ok()?;
        UnixNanos::try_from(time.as_nanosecond()).ok()
    });
    let oldest = limits.max().map(|oldest| oldest.saturating_add(MARGIN));
    let is_known = oldest.is_some() || said.contains(TOO_NEW);
    is_known.then(|| Window { oldest: oldest.unwrap_or(0).min(now), newest: now })
}

/// The entries with every time inside the window. Those that are moved keep their order.
fn moved(load: Load<'_>, window: Window) -> Vec<u8> {
    let mut out = Vec::with_capacity(load.bytes().len());
    let mut before = 0;
    for entry in load.records() {
        match parts(entry) {
            Some((time, rest)) if time < window.oldest || time > window.newest => {
                let new = time.clamp(window.oldest, window.newest).saturating_add(before);
                before += 1;
                out.extend_from_slice(format!("[\"{new}").as_bytes());
                out.extend_from_slice(rest);
                let end = format!(",\"original_time\":\"{time}\"}}],");
                out.extend_from_slice(end.as_bytes());
            }
            _ => out.extend_from_slice(entry),
        }
    }
    out
}

/// The time of an entry, and what stands between it and the end of the metadata.
fn parts(entry: &[u8]) -> Option<(UnixNanos, &[u8])> {
    let entry = entry.strip_prefix(b"[\"")?.strip_suffix(b"}],")?;
    let (time, rest) = entry.split_at_checked(memchr::memchr(b'"', entry)?)?;
    Some((str::from_utf8(time).ok()?.parse().ok()?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: UnixNanos = 60_000_000_000;

    #[test]
    fn the_window_is_read_from_what_loki_says() {
        let now = 1_795_262_400_000_000_000; // 2026-11-21T12:00:00Z
        let behind = "entry with timestamp 2026-11-21 08:00:00 +0000 UTC ignored, reason: 'entry too \
                      far behind, entry timestamp is: 2026-11-21T08:00:00Z, oldest acceptable \
                      timestamp is: 2026-11-21T11:00:00Z',\nuser 'fake', total ignored: 1 out of 2";
        let old = "entry for stream '{a=\"b\"}' has timestamp too old: 2020-01-01T00:00:00Z, oldest \
                   acceptable timestamp is: 2026-11-14T12:00:00Z";
        for (said, expected) in [
            (behind, Some(now - 59 * MINUTE)),
            (old, Some(now - 7 * 24 * 60 * MINUTE + MINUTE)),
            ("entry for stream '{}' has timestamp too new: 2030-01-01T00:00:00Z", Some(0)),
            ("oldest acceptable timestamp is: nonsense", None),
            ("Max entry size '262144' bytes exceeded", None),
        ] {
            let expected = expected.map(|oldest| Window { oldest, newest: now });
            assert_eq!(window(said, now), expected, "{said}");
        }
    }

    #[test]
    fn a_loki_that_takes_no_metadata_is_for_a_person_to_see_to_and_costs_no_record() {
        let said = "answered 400 Bad Request: stream '{a=\"b\"}' includes structured metadata, but \
                    this feature is disallowed. Please see `limits_config.structured_metadata`";
        let Verdict::Retry(trouble) = unfit(said.to_owned()) else { panic!() };
        assert!(trouble.cause.remedy().is_some());
        assert!(matches!(unfit("Max entry size exceeded".to_owned()), Verdict::Halve(_)));
    }

    #[test]
    fn entries_outside_the_window_are_moved_in_order_and_keep_their_time() {
        let entry = |time: i64| format!("[\"{time}\",\"line\",{{\"id\":\"{time}\"}}],");
        let entries = [entry(100), entry(5), entry(4), entry(300)];
        let ends: Vec<u32> = (1..=entries.len())
            .map(|count| u32::try_from(entries[..count].concat().len()).unwrap())
            .collect();
        let bytes = entries.concat().into_bytes();
        let moved = moved(Load::new("", &bytes.into(), &ends), Window { oldest: 50, newest: 200 });
        let expected = concat!(
            r#"["100","line",{"id":"100"}],"#,
            r#"["50","line",{"id":"5","original_time":"5"}],"#,
            r#"["51","line",{"id":"4","original_time":"4"}],"#,
            r#"["202","line",{"id":"300","original_time":"300"}],"#,
        );
        assert_eq!(str::from_utf8(&moved).unwrap(), expected);
    }
}
