//! Where a message body ends, RFC 9112 §6.

pub(crate) mod chunked;
pub(crate) mod trailers;

use std::fmt;
use std::ops::Range;

use crate::Chunked;

/// How a body is framed, and how far it has come. Feed it the bytes after the head, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Framing {
    /// No body.
    Empty,
    /// So many bytes are still to come.
    Length(u64),
    /// Chunks, RFC 9112 §7.1.
    Chunked(Chunked),
    /// Everything until the connection ends: responses only.
    UntilClose,
}

/// One step of [`Framing::decode`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decoded {
    /// Bytes of the input that are done with.
    pub consumed: usize,
    /// Where in the input the payload is; may be empty.
    pub payload: Range<usize>,
}

/// Why a body is refused. After it nothing on the connection can be trusted: close.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FramingError {
    /// It breaks a rule of chunked coding. Holds the rule, one phrase for logs.
    Malformed(&'static str),
    /// A bound of ours is exceeded. Holds which, one phrase for logs.
    TooLarge(&'static str),
}

impl fmt::Display for FramingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(rule) => write!(f, "malformed body: {rule}"),
            Self::TooLarge(bound) => write!(f, "body over a limit: {bound}"),
        }
    }
}

impl std::error::Error for FramingError {}

impl Framing {
    /// Whether every byte of the body was seen. Never for [`Framing::UntilClose`].
    pub fn is_complete(&self) -> bool {
        match self {
            Self::Empty | Self::Length(0) => true,
            Self::Chunked(chunked) => chunked.is_complete(),
            Self::Length(_) | Self::UntilClose => false,
        }
    }

    /// How many bytes of `data` belong to this message, chunk framing and trailers included: what
    /// is forwarded verbatim. Less than all of them only when the body is complete.
    ///
    /// # Errors
    /// Chunked coding that is broken or could be read in two ways. Nothing of `data` may be
    /// forwarded then.
    pub fn advance(&mut self, data: &[u8]) -> Result<usize, FramingError> {
        match self {
            Self::Empty => Ok(0),
            Self::Length(remaining) => Ok(take(remaining, data.len())),
            Self::Chunked(chunked) => chunked.advance(data),
            Self::UntilClose => Ok(data.len()),
        }
    }

    /// The next piece of payload in `data`, without chunk framing. Trailers are kept for
    /// [`Chunked::take_trailers`]. Call until everything is consumed or the body is complete; a
    /// call that is given bytes of an unfinished body consumes at least one.
    ///
    /// # Errors
    /// As [`advance`](Self::advance).
    pub fn decode(&mut self, data: &[u8]) -> Result<Decoded, FramingError> {
        let consumed = match self {
            Self::Chunked(chunked) => return chunked.decode(data),
            Self::Empty => 0,
            Self::Length(remaining) => take(remaining, data.len()),
            Self::UntilClose => data.len(),
        };
        Ok(Decoded { consumed, payload: 0..consumed })
    }

    /// How much payload is still to come, where that is known.
    pub fn payload_hint(&self) -> Option<u64> {
        match self {
            Self::Empty => Some(0),
            Self::Length(remaining) => Some(*remaining),
            Self::Chunked(_) | Self::UntilClose => None,
        }
    }
}

/// Takes up to `available` from `remaining`, and says how many it took.
fn take(remaining: &mut u64, available: usize) -> usize {
    let taken = usize::try_from(*remaining).map_or(available, |remaining| remaining.min(available));
    *remaining -= taken as u64;
    taken
}

#[cfg(test)]
mod tests;
