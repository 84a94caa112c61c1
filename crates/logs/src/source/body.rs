//! Bodies of requests: read and unpacked within limits.

use std::io::Read;
use std::time::Duration;

use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::Incoming;
use pillion_model::logs::FullPolicy;
use tokio::time::timeout;

use super::intake::{Intake, NoRoom};
use crate::budget::Charge;

/// The largest body, packed and unpacked.
pub(super) const MOST: usize = 8 << 20;
/// How long a body may take.
const TIMEOUT: Duration = Duration::from_secs(30);
/// The most that unpacking zstd may look back, as a power of two: what RFC 9659 asks of all.
const ZSTD_WINDOW_LOG: u32 = 23;

/// Why a request is not accepted.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    /// There is no room now.
    #[error("there is no room now; send it again later")]
    Busy,
    /// It is too large.
    #[error("the body is larger than {MOST} bytes; send smaller ones")]
    TooLarge,
    /// It did not come in time.
    #[error("the body did not come within {} s", TIMEOUT.as_secs())]
    Slow,
    /// It is packed in a way that is not known.
    #[error("the encoding of the body is not known; use gzip, zstd or identity")]
    Encoding,
    /// It is of a type that is not known.
    #[error("the type of the body is not known; use application/x-protobuf or application/json")]
    MediaType,
    /// The path is not known.
    #[error("there is nothing here")]
    NotFound,
    /// The method is not known.
    #[error("use POST")]
    Method,
    /// It does not say what it should.
    #[error("{0}")]
    Bad(String),
}

impl From<NoRoom> for Refusal {
    fn from(_: NoRoom) -> Self {
        Self::Busy
    }
}

/// Reads and unpacks a body. It counts against the budget, as long as the charge is kept.
pub(super) async fn read(
    headers: &HeaderMap,
    body: Incoming,
    intake: &Intake,
) -> Result<(Vec<u8>, Charge), Refusal> {
    let _turn = intake.bodies.acquire().await;
    let budget = intake.budget();
    if intake.full() == FullPolicy::Block && budget.used() >= budget.limit() {
        return Err(Refusal::Busy);
    }
    let length = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    if length.is_some_and(|length: usize| length > MOST) {
        return Err(Refusal::TooLarge);
    }
    let collected = timeout(TIMEOUT, Limited::new(body, MOST).collect()).await;
    let packed = match collected.map_err(|_| Refusal::Slow)? {
        Ok(collected) => collected.to_bytes(),
        Err(error) if error.is::<LengthLimitError>() => return Err(Refusal::TooLarge),
        Err(error) => return Err(Refusal::Bad(format!("the body ends too early: {error}"))),
    };
    let encoding = headers
        .get(CONTENT_ENCODING)
        .map_or("identity", |value| value.to_str().unwrap_or("?").trim());
    let bytes = unpack(&packed, encoding)?;
    let charge = budget.take_anyway(bytes.len());
    Ok((bytes, charge))
}

/// Unpacks what was packed as `encoding` says.
pub(super) fn unpack(packed: &[u8], encoding: &str) -> Result<Vec<u8>, Refusal> {
    match encoding {
        "identity" | "" => Ok(packed.to_vec()),
        "gzip" | "x-gzip" => bounded(flate2::read::MultiGzDecoder::new(packed)),
        "zstd" => {
            let bad = |error| Refusal::Bad(format!("the body cannot be unpacked: {error}"));
            let mut decoder = zstd::Decoder::with_buffer(packed).map_err(bad)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG).map_err(bad)?;
            bounded(decoder)
        }
        _ => Err(Refusal::Encoding),
    }
}

fn bounded(reader: impl Read) -> Result<Vec<u8>, Refusal> {
    let mut bytes = Vec::new();
    let limit = u64::try_from(MOST).unwrap_or(u64::MAX);
    let read = reader.take(limit + 1).read_to_end(&mut bytes);
    read.map_err(|error| Refusal::Bad(format!("the body cannot be unpacked: {error}")))?;
    if bytes.len() > MOST { Err(Refusal::TooLarge) } else { Ok(bytes) }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn a_body_is_unpacked_up_to_its_limit_and_not_beyond() {
        for (length, fits) in [(10, true), (MOST, true), (MOST + 1, false)] {
            let bytes = vec![b'x'; length];
            let packed = [("gzip", gzip(&bytes)), ("zstd", zstd::encode_all(&*bytes, 1).unwrap())];
            for (encoding, packed) in packed {
                match unpack(&packed, encoding) {
                    Ok(unpacked) => assert!(fits && unpacked == bytes, "{encoding} {length}"),
                    Err(error) => assert!(!fits && matches!(error, Refusal::TooLarge), "{error}"),
                }
            }
        }
        assert!(matches!(unpack(b"no gzip", "gzip"), Err(Refusal::Bad(_))));
        assert!(matches!(unpack(b"", "br"), Err(Refusal::Encoding)));
    }
}
