//! Texts one after another in one piece of memory.

use crate::lines::LeftOut;

/// Whole texts, in the encoding of their source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Texts {
    bytes: Vec<u8>,
    ends: Vec<End>,
    left_out: LeftOut,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct End {
    at: usize,
    truncated: bool,
}

/// One of them. It may have line ends in it, where the sender says where it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Text<'a> {
    /// What it says.
    pub bytes: &'a [u8],
    /// It was longer than the limit, and cut.
    pub truncated: bool,
}

impl Texts {
    /// Each of them, in their order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Text<'_>> {
        let mut start = 0;
        self.ends.iter().map(move |end| {
            let bytes = self.bytes.get(start..end.at).unwrap_or_default();
            start = end.at;
            Text { bytes, truncated: end.truncated }
        })
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Bytes that they take in memory.
    pub(super) fn held(&self) -> usize {
        self.bytes.len() + self.ends.len() * size_of::<End>()
    }

    /// Bytes that they say.
    pub(super) fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// What was left out of them, or in front of them.
    #[must_use]
    pub fn left_out(&self) -> LeftOut {
        self.left_out
    }

    /// Takes note of what was left out.
    pub(super) fn leave_out(&mut self, left_out: LeftOut) {
        self.left_out += left_out;
    }

    /// Adds one, without the line end that it may end with, and cut where it is longer than `limit`.
    pub(super) fn push(&mut self, text: &[u8], limit: usize) {
        let text = text.strip_suffix(b"\n").unwrap_or(text);
        let text = text.strip_suffix(b"\r").unwrap_or(text);
        let kept = text.get(..limit).unwrap_or(text);
        self.push_cut(kept, text.len() - kept.len());
    }

    /// Adds one of which so many bytes were cut.
    pub(super) fn push_cut(&mut self, text: &[u8], cut: usize) {
        self.leave_out(LeftOut { cut: u64::try_from(cut).unwrap_or(u64::MAX), hole: 0 });
        self.push_kept(text, cut > 0);
    }

    /// Adds one that has been cut already where that was needed.
    pub(super) fn push_kept(&mut self, text: &[u8], truncated: bool) {
        self.bytes.extend_from_slice(text);
        self.ends.push(End { at: self.bytes.len(), truncated });
    }
}
