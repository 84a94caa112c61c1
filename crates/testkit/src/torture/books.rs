//! What one sink has taken, line by line.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// A line: its writer, and its number among the lines of that.
pub(super) type Line = (u64, u64);

/// How long what was taken is remembered one by one.
const RECENT: Duration = Duration::from_secs(10);
/// What stands before the name of a writer in whatever form a record takes, and the text's length.
const TEXT: usize = "w00 00000000 ".len();

/// What one sink has taken.
#[derive(Debug)]
pub(super) struct Books {
    writers: Vec<Taken>,
    /// Lines that were taken, repeated ones included.
    pub(super) lines: u64,
    /// Lines in requests that were taken and then answered as if they had not been: each of these
    /// comes again, and has to.
    pub(super) denied: u64,
    /// Bytes of all requests that came whole, and the lines in them.
    received: (u64, u64),
    /// What was confirmed a short time ago.
    confirmed: VecDeque<(Instant, u64)>,
}

/// What was taken of one writer.
#[derive(Clone, Debug)]
struct Taken {
    seen: Vec<bool>,
    distinct: u64,
    /// One more than the greatest number so far.
    next: u64,
    /// Lines that came for the first time after one that follows them.
    disordered: u64,
    /// The first of these, and what had come before it.
    late: Option<(u64, u64)>,
}

impl Books {
    pub(super) fn new(writers: u64, lines: u64) -> Self {
        let seen = vec![false; usize::try_from(lines).unwrap()];
        let taken = Taken { seen, distinct: 0, next: 0, disordered: 0, late: None };
        Self {
            writers: vec![taken; usize::try_from(writers).unwrap()],
            lines: 0,
            denied: 0,
            received: (0, 0),
            confirmed: VecDeque::new(),
        }
    }

    /// Notes what a request brought that came whole, whether or not it is taken.
    pub(super) fn receive(&mut self, body: &[u8], lines: &[Line]) {
        self.received.0 += widen(body.len());
        self.received.1 += widen(lines.len());
    }

    /// Takes lines; `is_confirmed`: whoever sent them will know.
    pub(super) fn take(&mut self, lines: &[Line], is_confirmed: bool) {
        for (writer, number) in lines {
            self.writers[usize::try_from(*writer).unwrap()].take(*number);
        }
        self.lines += widen(lines.len());
        if is_confirmed {
            let now = Instant::now();
            self.confirmed.push_back((now, widen(lines.len())));
            while self.confirmed.front().is_some_and(|(time, _)| now - *time > RECENT) {
                self.confirmed.pop_front();
            }
        } else {
            self.denied += widen(lines.len());
        }
    }

    /// Lines that were confirmed in this time before now.
    pub(super) fn confirmed_within(&self, time: Duration) -> u64 {
        let recent = self.confirmed.iter().filter(|(at, _)| at.elapsed() <= time);
        recent.map(|(_, lines)| lines).sum()
    }

    /// Bytes that a line takes on its way.
    pub(super) fn bytes_of_line(&self) -> u64 {
        self.received.0.checked_div(self.received.1).unwrap_or(0)
    }

    pub(super) fn distinct(&self) -> u64 {
        self.writers.iter().map(|writer| writer.distinct).sum()
    }

    pub(super) fn disordered(&self) -> u64 {
        self.writers.iter().map(|writer| writer.disordered).sum()
    }

    /// The first line of each writer that came too late: writer, number, and the number before which it
    /// should have come.
    pub(super) fn late(&self) -> Vec<(u64, u64, u64)> {
        let late = (0_u64..).zip(&self.writers);
        late.filter_map(|(writer, taken)| taken.late.map(|(number, after)| (writer, number, after)))
            .collect()
    }

    /// The first few lines that never came.
    pub(super) fn missing(&self) -> Vec<Line> {
        let numbers = |(writer, taken): (u64, &Taken)| {
            let missing = (0_u64..).zip(&taken.seen).filter(|(_, seen)| !**seen);
            missing.map(|(number, _)| (writer, number)).take(3).collect::<Vec<_>>()
        };
        (0_u64..).zip(&self.writers).flat_map(numbers).take(10).collect()
    }
}

impl Taken {
    fn take(&mut self, number: u64) {
        let seen = &mut self.seen[usize::try_from(number).unwrap()];
        if *seen {
            return;
        }
        *seen = true;
        self.distinct += 1;
        if number < self.next {
            self.disordered += 1;
            self.late.get_or_insert((number, self.next - 1));
        }
        self.next = self.next.max(number + 1);
    }
}

/// The text that a line begins with.
pub(super) fn text((writer, number): Line) -> String {
    format!("w{writer:02} {number:08} ")
}

/// The lines in a body, in order: each is the beginning of a JSON string, whatever stands around it.
pub(super) fn lines(body: &[u8]) -> Vec<Line> {
    let mut lines = Vec::new();
    let mut rest = body;
    while let Some(at) = rest.iter().position(|byte| *byte == b'"') {
        rest = &rest[at + 1..];
        if let Some(line) = rest.get(..TEXT).and_then(line) {
            lines.push(line);
            rest = &rest[TEXT..];
        }
    }
    lines
}

fn line(text: &[u8]) -> Option<Line> {
    let text = str::from_utf8(text).ok()?.strip_prefix('w')?.strip_suffix(' ')?;
    let (writer, number) = text.split_once(' ')?;
    (writer.len() == 2).then_some((writer.parse().ok()?, number.parse().ok()?))
}

fn widen(number: usize) -> u64 {
    u64::try_from(number).unwrap()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_found_in_any_json_around_them() {
        let body = format!(
            r#"{{"file":"w03","body":"{}abc"}},[["1","{}x",{{"file":"w03"}}]]"#,
            text((3, 7)),
            text((12, 99_999_999))
        );
        assert_eq!(lines(body.as_bytes()), [(3, 7), (12, 99_999_999)]);
    }

    #[test]
    fn what_is_lost_repeated_or_out_of_order_is_told_apart() {
        let mut books = Books::new(2, 3);
        books.take(&[(0, 0), (0, 2), (0, 1), (0, 2), (1, 0)], true);
        books.take(&[(1, 0), (1, 1)], false);
        assert_eq!((books.lines, books.distinct(), books.disordered()), (7, 5, 1));
        assert_eq!(books.late(), [(0, 1, 2)]);
        assert_eq!((books.denied, books.missing()), (2, vec![(1, 2)]));
        assert_eq!(books.confirmed_within(RECENT), 5);
    }
}
