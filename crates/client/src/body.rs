//! What a request carries, in parts that are never put together.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Frame, SizeHint};

/// The body of a request: bytes in parts, which are sent one after another as they are. Its length
/// is known, and is what `content-length` says.
#[derive(Clone, Debug, Default)]
pub struct Body(VecDeque<Bytes>);

impl From<Bytes> for Body {
    fn from(whole: Bytes) -> Self {
        std::iter::once(whole).collect()
    }
}

impl FromIterator<Bytes> for Body {
    fn from_iter<I: IntoIterator<Item = Bytes>>(parts: I) -> Self {
        Self(parts.into_iter().filter(|part| !part.is_empty()).collect())
    }
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.pop_front().map(|part| Ok(Frame::data(part))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        let lengths = self.0.iter().map(|part| u64::try_from(part.len()).unwrap_or(u64::MAX));
        SizeHint::with_exact(lengths.fold(0, u64::saturating_add))
    }
}
