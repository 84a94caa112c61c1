//! Where syslog messages end in a stream: RFC 6587, by octet count or by line, told apart for each
//! message.

use super::Texts;

/// A longer count is none: it is the beginning of a line.
const MOST_DIGITS: u32 = 9;

/// Finds the messages of one stream. It never holds more than the longest that is kept.
#[derive(Debug)]
pub(super) struct SyslogFramer {
    limit: usize,
    state: State,
    rest: Vec<u8>,
    /// Bytes of the message that are not held.
    cut: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Between messages.
    Between,
    /// Within the count of a message.
    Count { digits: u32, number: usize },
    /// Within a message of which so many bytes are missing.
    Counted { left: usize },
    /// Within a message that ends with its line.
    Line,
}

impl SyslogFramer {
    /// Of messages longer than `limit` bytes the rest is skipped.
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, state: State::Between, rest: Vec::new(), cut: 0 }
    }

    /// Takes the bytes that follow, and adds the messages that end in them.
    pub(super) fn take(&mut self, mut block: &[u8], texts: &mut Texts) {
        while let Some((first, after)) = block.split_first() {
            block = match self.state {
                State::Between => self.begin(*first, block, after),
                State::Count { digits, number } => self.count(*first, block, digits, number),
                State::Counted { left } => {
                    let (part, after) = block.split_at(left.min(block.len()));
                    self.keep(part);
                    self.state = State::Counted { left: left - part.len() };
                    if part.len() == left {
                        self.complete(texts);
                    }
                    after
                }
                State::Line => {
                    let end = memchr::memchr(b'\n', block);
                    let (part, after) = block.split_at(end.map_or(block.len(), |end| end + 1));
                    self.keep(part);
                    if end.is_some() {
                        self.complete(texts);
                    }
                    after
                }
            };
        }
    }

    /// The stream has ended.
    pub(super) fn flush(&mut self, texts: &mut Texts) {
        if !self.rest.is_empty() {
            self.complete(texts);
        }
    }

    fn begin<'b>(&mut self, first: u8, block: &'b [u8], after: &'b [u8]) -> &'b [u8] {
        match first {
            // What some put after a counted message.
            b'\n' | b'\r' | 0 => after,
            b'1'..=b'9' => {
                self.state = State::Count { digits: 0, number: 0 };
                block
            }
            _ => {
                self.state = State::Line;
                block
            }
        }
    }

    fn count<'b>(&mut self, next: u8, block: &'b [u8], digits: u32, number: usize) -> &'b [u8] {
        let after = block.get(1..).unwrap_or_default();
        match next {
            b'0'..=b'9' if digits < MOST_DIGITS => {
                let number = number * 10 + usize::from(next - b'0');
                self.state = State::Count { digits: digits + 1, number };
                self.rest.push(next);
                after
            }
            b' ' => {
                self.rest.clear();
                self.state = State::Counted { left: number };
                after
            }
            // No count, but a line that begins with a number.
            _ => {
                self.state = State::Line;
                block
            }
        }
    }

    fn keep(&mut self, part: &[u8]) {
        // One more for the line end.
        let room = (self.limit + 1).saturating_sub(self.rest.len());
        let kept = part.get(..room).unwrap_or(part);
        self.rest.extend_from_slice(kept);
        self.cut += part.len() - kept.len();
    }

    fn complete(&mut self, texts: &mut Texts) {
        let cut = std::mem::take(&mut self.cut);
        if cut > 0 {
            let kept = self.rest.get(..self.limit).unwrap_or(&self.rest);
            texts.push_cut(kept, cut + self.rest.len() - kept.len());
        } else {
            texts.push(&self.rest, self.limit);
        }
        self.rest = Vec::new();
        self.state = State::Between;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn messages(input: &[u8], limit: usize, piece: usize) -> Vec<(String, bool)> {
        let (mut framer, mut texts) = (SyslogFramer::new(limit), Texts::default());
        input.chunks(piece).for_each(|piece| framer.take(piece, &mut texts));
        framer.flush(&mut texts);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        texts.iter().map(|found| (text(found.bytes), found.truncated)).collect()
    }

    #[test]
    fn messages_are_framed_by_count_or_by_line() {
        for (input, expected) in [
            ("6 <1>a\nb6 <1>two\n\n", vec![("<1>a\nb", false), ("<1>two", false)]),
            (
                "<1>one\n<1>two\r\n<1>rest",
                vec![("<1>one", false), ("<1>two", false), ("<1>rest", false)],
            ),
            (
                "6 <1>abc\n<1>line\n4 <1>x",
                vec![("<1>abc", false), ("<1>line", false), ("<1>x", false)],
            ),
            ("12:00 no count\n", vec![("12:00 no count", false)]),
            ("1234567890 x\n", vec![("1234567890 x", false)]),
            ("<1>0123456\n<1>01234567\n", vec![("<1>0123456", false), ("<1>0123456", true)]),
            ("11 <1>012345674 <1>x", vec![("<1>0123456", true), ("<1>x", false)]),
            ("", vec![]),
        ] {
            let limit = if input.contains("0123456") && !input.contains("789") { 10 } else { 100 };
            for piece in 1..=input.len().max(1) {
                let found = messages(input.as_bytes(), limit, piece);
                let found: Vec<_> = found.iter().map(|(text, cut)| (text.as_str(), *cut)).collect();
                assert_eq!(found, expected, "{input:?} by {piece}");
            }
        }
    }

    proptest! {
        #[test]
        fn whatever_the_reads_the_messages_are_the_same(input in "[<1>0-9 a\n]{0,60}", piece in 1_usize..60) {
            let whole = messages(input.as_bytes(), 8, input.len().max(1));
            prop_assert_eq!(messages(input.as_bytes(), 8, piece), whole);
        }
    }
}
