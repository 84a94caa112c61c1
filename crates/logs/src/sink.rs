//! Where records go: each sink turns records into requests, and the answers into what became of
//! each record.

mod compress;
mod file;
mod forward;
mod http;
mod loki;
mod opensearch;
mod otlp;
mod plain;
mod splunk;
mod stdout;
mod syslog;
mod writer;

use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use pillion_model::logs::Output;

use crate::batch::Batch;
use crate::queue::Order;

/// Records of one partition that travel in one request.
#[derive(Clone, Copy, Debug)]
pub struct Load<'a> {
    /// What they share: see [`Batch::partition`].
    pub partition: &'a str,
    bytes: &'a Bytes,
    /// Where the first of them begins.
    start: u32,
    ends: &'a [u32],
}

impl<'a> Load<'a> {
    /// Records one after another in `bytes`; `ends` says where each ends.
    #[must_use]
    pub fn new(partition: &'a str, bytes: &'a Bytes, ends: &'a [u32]) -> Self {
        Self { partition, bytes, start: 0, ends }
    }

    /// Some records of a batch that follow each other.
    #[must_use]
    pub fn of(batch: &'a Batch, records: Range<usize>) -> Self {
        let before = records.start.checked_sub(1).and_then(|last| batch.ends.get(last));
        Self {
            partition: &batch.partition,
            bytes: &batch.bytes,
            start: before.copied().unwrap_or(0),
            ends: batch.ends.get(records).unwrap_or_default(),
        }
    }

    /// How many records there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// All of them, one after another.
    #[must_use]
    pub fn bytes(&self) -> &'a [u8] {
        let end = self.ends.last().copied().unwrap_or(self.start);
        slice(self.bytes, self.start, end)
    }

    /// The same, to be kept: nothing is copied.
    #[must_use]
    pub fn shared(&self) -> Bytes {
        self.bytes.slice_ref(self.bytes())
    }

    /// One by one.
    pub fn records(&self) -> impl ExactSizeIterator<Item = &'a [u8]> + use<'a> {
        let bytes = self.bytes;
        let mut start = self.start;
        self.ends.iter().map(move |end| slice(bytes, std::mem::replace(&mut start, *end), *end))
    }
}

fn slice(bytes: &[u8], start: u32, end: u32) -> &[u8] {
    let at = |place: u32| usize::try_from(place).unwrap_or(usize::MAX);
    bytes.get(at(start)..at(end)).unwrap_or_default()
}

/// What became of a load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// All of it arrived.
    Delivered,
    /// It is not known to have arrived; all of it is to be sent again.
    Retry(Trouble),
    /// It cannot be taken as it is: to be sent in halves, and a single record not at all.
    Halve(String),
    /// It was refused for good.
    Refused(String),
    /// Each record has a fate of its own; those that are not named arrived.
    Mixed(Mixed),
    /// It was taken but for so many records; which ones nobody says.
    Short(u64, String),
    /// Nobody will ever take anything here again.
    Closed(String),
}

/// The records of a load that did not arrive, by their number in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mixed {
    /// To be sent again, and why.
    pub retry: Vec<usize>,
    /// What is wrong with those.
    pub trouble: Option<Trouble>,
    /// Refused for good, with the reason.
    pub refused: Vec<(usize, String)>,
}

/// Why something has to be sent again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// What kind of trouble.
    pub cause: Cause,
    /// What is shown to people.
    pub text: String,
    /// How long the sink asks us to wait.
    pub after: Option<Duration>,
}

impl Trouble {
    /// Trouble without a wish of the sink.
    pub fn new(cause: Cause, text: impl Into<String>) -> Self {
        Self { cause, text: text.into(), after: None }
    }
}

/// What kind of trouble a sink has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// No connection.
    Connect,
    /// No answer in time.
    Timeout,
    /// The exchange broke off.
    Broken,
    /// It has too much to do (429, 503).
    Busy,
    /// It failed (other 5xx).
    Server,
    /// It does not accept our credentials (401, 403), or these cannot be read.
    Credentials,
    /// Nothing there takes records: a redirect, 404 and the like.
    Address,
    /// The answer makes no sense.
    Garbled,
    /// Something on this machine: a full disk, a certificate that cannot be read.
    Local,
}

impl Cause {
    /// Every cause.
    pub const ALL: [Self; 9] = [
        Self::Connect,
        Self::Timeout,
        Self::Broken,
        Self::Busy,
        Self::Server,
        Self::Credentials,
        Self::Address,
        Self::Garbled,
        Self::Local,
    ];

    /// The word in metrics and status.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Timeout => "timeout",
            Self::Broken => "broken",
            Self::Busy => "busy",
            Self::Server => "server",
            Self::Credentials => "credentials",
            Self::Address => "address",
            Self::Garbled => "garbled",
            Self::Local => "local",
        }
    }

    /// What a person has to do before trying again is of use; `None`: it may go by itself.
    #[must_use]
    pub const fn remedy(self) -> Option<&'static str> {
        match self {
            Self::Credentials => Some("correct the credentials of the sink"),
            Self::Address => Some("correct the address of the sink: nothing there takes logs"),
            Self::Connect
            | Self::Timeout
            | Self::Broken
            | Self::Busy
            | Self::Server
            | Self::Garbled
            | Self::Local => None,
        }
    }
}

/// A sink that is ready to take records.
#[derive(Debug)]
pub struct Sink {
    kind: Kind,
    /// Batches on their way at the same time, at most.
    pub concurrency: usize,
    /// Which of them; the queue sees to it.
    pub order: Order,
}

#[derive(Debug)]
enum Kind {
    Null,
    Plain(plain::Plain),
    OpenSearch(opensearch::OpenSearch),
    Loki(loki::Loki),
    Otlp(otlp::Otlp),
    Splunk(splunk::Splunk),
    Syslog(syslog::Syslog),
    Forward(forward::Forward),
    Writer(writer::Writer),
}

/// Why a sink cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// Its address is none.
    #[error(transparent)]
    Target(#[from] pillion_client::TargetError),
    /// A header cannot be sent.
    #[error("{name} is not the name of a header")]
    Header {
        /// Its name.
        name: String,
    },
    /// Its thread cannot be started, or standard output cannot be had.
    #[error("cannot write to {place}: {reason}")]
    Writer {
        /// Where to.
        place: String,
        /// What the system says.
        reason: std::io::Error,
    },
    /// No memory or wrong settings for a compressor.
    #[error("cannot compress: {0}")]
    Compress(std::io::Error),
}

impl Sink {
    /// A sink for this output. Connects to nothing yet.
    ///
    /// # Errors
    /// What the configuration says cannot be.
    pub fn new(output: &Output) -> Result<Self, SinkError> {
        let one_by_one = |kind| Self { kind, concurrency: 1, order: Order::Free };
        let several = |kind, concurrency| Self { kind, concurrency, order: Order::Free };
        Ok(match output {
            Output::Null => one_by_one(Kind::Null),
            Output::Stdout(_) => one_by_one(Kind::Writer(stdout::writer()?)),
            Output::File(path, _) => one_by_one(Kind::Writer(file::writer(path)?)),
            Output::Syslog(output) => {
                one_by_one(Kind::Syslog(syslog::Syslog::new(&output.transport)))
            }
            Output::Forward(output) => Self {
                kind: Kind::Forward(forward::Forward::new(output)?),
                concurrency: output.concurrency,
                order: Order::Partition,
            },
            Output::Http(http) => several(Kind::Plain(plain::Plain::new(http)?), http.concurrency),
            Output::OpenSearch(output) => {
                let kind = Kind::OpenSearch(opensearch::OpenSearch::new(&output.http)?);
                several(kind, output.http.concurrency)
            }
            Output::Loki(output) => Self {
                kind: Kind::Loki(loki::Loki::new(output)?),
                concurrency: output.http.concurrency,
                order: Order::Partition,
            },
            Output::Otlp(http) => several(Kind::Otlp(otlp::Otlp::new(http)?), http.concurrency),
            Output::Splunk(http) => {
                several(Kind::Splunk(splunk::Splunk::new(http)?), http.concurrency)
            }
        })
    }

    /// Sends records, and says what became of them.
    pub async fn send(&self, load: Load<'_>) -> Verdict {
        match &self.kind {
            Kind::Null => Verdict::Delivered,
            Kind::Plain(sink) => sink.send(load).await,
            Kind::OpenSearch(sink) => sink.send(load).await,
            Kind::Loki(sink) => sink.send(load).await,
            Kind::Otlp(sink) => sink.send(load).await,
            Kind::Splunk(sink) => sink.send(load).await,
            Kind::Syslog(sink) => sink.send(load).await,
            Kind::Forward(sink) => sink.send(load).await,
            Kind::Writer(sink) => sink.send(load).await,
        }
    }
}

/// What a server says, short enough for a line of ours, and on one line.
fn excerpt(text: &[u8]) -> String {
    const LONGEST: usize = 300;
    let text = String::from_utf8_lossy(text);
    let mut text = text.split_ascii_whitespace().collect::<Vec<_>>().join(" ");
    if text.len() > LONGEST {
        text.truncate(text.floor_char_boundary(LONGEST));
        text.push('…');
    }
    text
}

#[cfg(test)]
pub(crate) mod tests {
    use std::time::Duration;

    use pillion_model::logs::{Compression, HttpOutput, Schema};

    use super::*;

    pub(crate) fn http_output(url: &str) -> HttpOutput {
        HttpOutput {
            url: url.into(),
            headers: Vec::new(),
            ca: None,
            identity: None,
            compress: Compression::None,
            timeout: Duration::from_secs(20),
            concurrency: 4,
            schema: Schema::Otel,
        }
    }

    #[test]
    fn a_load_is_any_run_of_records() {
        let (bytes, ends) = (Bytes::from_static(b"abbccc"), vec![1, 3, 6]);
        let charge = None;
        let receipts = Vec::new();
        let batch = Batch { partition: "p".into(), bytes, ends, oldest: 0, receipts, charge };
        for (range, expected) in
            [(0..3, &["a", "bb", "ccc"][..]), (1..3, &["bb", "ccc"]), (0..1, &["a"]), (2..2, &[])]
        {
            let load = Load::of(&batch, range.clone());
            let records: Vec<_> = load.records().map(|r| str::from_utf8(r).unwrap()).collect();
            assert_eq!(records, expected, "{range:?}");
            assert_eq!(load.bytes(), expected.concat().as_bytes());
            assert_eq!(load.shared(), expected.concat());
            assert_eq!((load.len(), load.is_empty()), (expected.len(), expected.is_empty()));
        }
    }

    #[test]
    fn what_a_server_says_is_one_line_that_is_cut_at_a_character() {
        assert_eq!(excerpt(b" short\n"), "short");
        assert_eq!(excerpt(b"<html>\n    <p>No\r\n</html>\n"), "<html> <p>No </html>");
        let long = excerpt("é".repeat(400).as_bytes());
        assert!(long.len() < 310 && long.ends_with("é…"), "{long}");
    }
}
