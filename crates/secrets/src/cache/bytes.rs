//! The contents of the cache as bytes: numbers of eight bytes, texts with their length before them.

use std::time::{Duration, SystemTime};

use pillion_runtime::board::Secret;
use zeroize::Zeroizing;

use super::{CachedSession, Contents};
use crate::fetched::{Datum, Fetched, Lease};
use crate::template::Request;

/// Bytes to be sealed, with room for the tag, in memory that is overwritten.
pub(super) fn written(contents: &Contents) -> Zeroizing<Vec<u8>> {
    let mut writer = Writer(Zeroizing::new(Vec::new()));
    writer.time(contents.at);
    writer.option(contents.session.as_ref(), |writer, session| {
        writer.bytes(session.token.reveal());
        writer.bytes(session.accessor.as_bytes());
        writer.option(session.expires, Writer::time);
        writer.number(u64::from(session.renewable));
    });
    writer.number(contents.answers.len() as u64);
    for (request, fetched) in &contents.answers {
        writer.request(request);
        writer.fetched(fetched);
    }
    writer.reserve(super::TAG);
    writer.0
}

/// `None` where the bytes are not what [`written`] makes.
pub(super) fn read(bytes: &[u8]) -> Option<Contents> {
    // What follows the tag's place is not ours.
    let mut reader = Reader(bytes);
    let at = reader.time()?;
    let session = reader.option(|reader| {
        Some(CachedSession {
            token: Secret::from(reader.bytes()?.to_vec()),
            accessor: reader.text()?,
            expires: reader.option(Reader::time)?,
            renewable: reader.number()? == 1,
        })
    })?;
    let answers = reader.list(|reader| Some((reader.request()?, reader.fetched()?)))?;
    reader.0.is_empty().then(|| Contents { answers: answers.into_iter().collect(), session, at })
}

struct Writer(Zeroizing<Vec<u8>>);

impl Writer {
    /// Growing in place would leave a copy behind.
    fn reserve(&mut self, more: usize) {
        if self.0.capacity() < self.0.len() + more {
            let mut larger = Zeroizing::new(Vec::with_capacity((self.0.len() + more) * 2));
            larger.extend_from_slice(&self.0);
            self.0 = larger;
        }
    }

    fn number(&mut self, number: u64) {
        self.reserve(8);
        self.0.extend_from_slice(&number.to_be_bytes());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.reserve(bytes.len());
        self.0.extend_from_slice(bytes);
    }

    fn duration(&mut self, duration: Duration) {
        self.number(duration.as_secs());
        self.number(u64::from(duration.subsec_nanos()));
    }

    fn time(&mut self, time: SystemTime) {
        self.duration(time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO));
    }

    fn option<T>(&mut self, value: Option<T>, write: impl FnOnce(&mut Self, T)) {
        self.number(u64::from(value.is_some()));
        if let Some(value) = value {
            write(self, value);
        }
    }

    fn request(&mut self, request: &Request) {
        self.bytes(request.path.as_bytes());
        self.number(request.data.len() as u64);
        for (key, value) in &request.data {
            self.bytes(key.as_bytes());
            self.bytes(value.as_bytes());
        }
        self.option(request.version, Self::number);
    }

    fn fetched(&mut self, fetched: &Fetched) {
        self.number(fetched.data.len() as u64);
        for (key, value) in &fetched.data {
            self.bytes(key.as_bytes());
            self.number(u64::from(matches!(value, Datum::Json(_))));
            self.bytes(value.secret().reveal());
        }
        self.option(fetched.lease.as_ref(), |writer, lease| {
            writer.bytes(lease.id.as_bytes());
            writer.duration(lease.duration);
            writer.number(u64::from(lease.renewable));
        });
        self.option(fetched.version, Self::number);
        self.time(fetched.at);
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn number(&mut self) -> Option<u64> {
        let (number, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u64::from_be_bytes(*number))
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.number()?).ok()?;
        let (bytes, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(bytes)
    }

    fn text(&mut self) -> Option<String> {
        String::from_utf8(self.bytes()?.to_vec()).ok()
    }

    fn duration(&mut self) -> Option<Duration> {
        let seconds = self.number()?;
        let nanos = u32::try_from(self.number()?).ok().filter(|nanos| *nanos < 1_000_000_000)?;
        Some(Duration::new(seconds, nanos))
    }

    fn time(&mut self) -> Option<SystemTime> {
        SystemTime::UNIX_EPOCH.checked_add(self.duration()?)
    }

    fn option<T>(&mut self, read: impl FnOnce(&mut Self) -> Option<T>) -> Option<Option<T>> {
        match self.number()? {
            0 => Some(None),
            1 => read(self).map(Some),
            _ => None,
        }
    }

    fn list<T>(&mut self, read: impl Fn(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        (0..self.number()?).map(|_| read(self)).collect()
    }

    fn request(&mut self) -> Option<Request> {
        Some(Request {
            path: self.text()?,
            data: self.list(|reader| Some((reader.text()?, reader.text()?)))?,
            version: self.option(Self::number)?,
        })
    }

    fn datum(&mut self) -> Option<Datum> {
        let kind = match self.number()? {
            0 => Datum::Text,
            1 => Datum::Json,
            _ => return None,
        };
        Some(kind(Secret::from(self.bytes()?.to_vec())))
    }

    fn fetched(&mut self) -> Option<Fetched> {
        let data = self.list(|reader| Some((reader.text()?, reader.datum()?)))?;
        Some(Fetched {
            data: data.into_iter().collect(),
            lease: self.option(|reader| {
                Some(Lease {
                    id: reader.text()?,
                    duration: reader.duration()?,
                    renewable: reader.number()? == 1,
                })
            })?,
            version: self.option(Self::number)?,
            at: self.time()?,
        })
    }
}
