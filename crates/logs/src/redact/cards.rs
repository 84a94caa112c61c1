//! Finding numbers of payment cards.
//!
//! ISO/IEC 7812 numbers: 12 to 19 digits with a check digit (Luhn). The first digit is 2 to 6, as
//! payment networks have it: a time stamp in milliseconds begins with 1, and every tenth of them has
//! the right check digit by chance. Between groups of at least three digits may stand one space or
//! one dash each, the same throughout.

use std::ops::Range;

const FEWEST: usize = 12;
const MOST: usize = 19;
const SMALLEST_GROUP: usize = 3;

/// Appends where such numbers stand, in order.
pub(super) fn find(text: &[u8], found: &mut Vec<Range<usize>>) {
    // Twelve digits lie over every twelfth place, whatever is between them: the others are not
    // looked at.
    let mut at = FEWEST - 1;
    while let Some(byte) = text.get(at) {
        if !is_part(*byte) {
            at += FEWEST;
            continue;
        }
        let before = text.get(..at).unwrap_or_default();
        let start = before.iter().rposition(|byte| !is_part(*byte)).map_or(0, |place| place + 1);
        let rest = text.get(at..).unwrap_or_default();
        let end = rest.iter().position(|byte| !is_part(*byte)).map_or(text.len(), |n| at + n);
        if end - start >= FEWEST {
            find_in_run(text, start..end, found);
        }
        at = end + FEWEST;
    }
}

/// Looks at a run of digits, spaces and dashes.
fn find_in_run(text: &[u8], run: Range<usize>, found: &mut Vec<Range<usize>>) {
    let mut start = run.start;
    while start < run.end {
        let group = group_at(text, start);
        let card = (!group.is_empty()).then(|| card_at(text, group.clone())).flatten();
        start = match card {
            Some(card) => {
                found.push(card.clone());
                card.end
            }
            None => group.end.max(start + 1),
        };
    }
}

/// The longest number that begins with this group.
fn card_at(text: &[u8], first: Range<usize>) -> Option<Range<usize>> {
    if !matches!(text.get(first.start), Some(b'2'..=b'6')) {
        return None;
    }
    let separator = text.get(first.end).copied();
    let (mut last, mut digits, mut best) = (first.clone(), first.len(), None);
    let grouped = first.len() >= SMALLEST_GROUP;
    while digits <= MOST {
        let whole = first.start..last.end;
        if digits >= FEWEST && luhn(text.get(whole.clone()).unwrap_or_default()) {
            best = Some(whole);
        }
        if !grouped || text.get(last.end).copied() != separator {
            break;
        }
        let next = group_at(text, last.end + 1);
        if next.len() < SMALLEST_GROUP {
            break;
        }
        digits += next.len();
        last = next;
    }
    best
}

/// The digits from here on, all of them.
fn group_at(text: &[u8], start: usize) -> Range<usize> {
    let rest = text.get(start..).unwrap_or_default();
    let length = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    start..start + length
}

const fn is_part(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b' ' | b'-')
}

/// Whether the last digit is the check digit of those before.
fn luhn(text: &[u8]) -> bool {
    let digits = text.iter().rev().filter(|byte| byte.is_ascii_digit());
    let sum: u32 = digits
        .enumerate()
        .map(|(place, byte)| {
            let digit = u32::from(byte - b'0') * if place % 2 == 0 { 1 } else { 2 };
            if digit > 9 { digit - 9 } else { digit }
        })
        .sum();
    sum.is_multiple_of(10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cards_are_found_and_numbers_that_are_none_are_left() {
        for (text, expected) in [
            ("card 4111111111111111 ok", vec!["4111111111111111"]),
            ("4111 1111 1111 1111", vec!["4111 1111 1111 1111"]),
            ("x=4111-1111-1111-1111,y", vec!["4111-1111-1111-1111"]),
            ("amex 3782 822463 10005.", vec!["3782 822463 10005"]),
            ("12 4111111111111111 99", vec!["4111111111111111"]),
            ("5019717010103742 4111111111111111", vec!["5019717010103742", "4111111111111111"]),
            ("19 digits 6304000000000000000", vec!["6304000000000000000"]),
            ("12 digits 501800000009", vec!["501800000009"]),
            // Not the right check digit; too few; part of more; other separators; a time stamp.
            ("4111111111111112", vec![]),
            ("50180000000", vec![]),
            ("94111111111111111", vec![]),
            ("41111111111111111111", vec![]),
            ("4111 1111-1111 1111", vec![]),
            ("4111  1111 1111 1111", vec![]),
            ("4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1", vec![]),
            ("1763721600126", vec![]),
            ("", vec![]),
        ] {
            for before in ["", "a", "some words before "] {
                let text = format!("{before}{text}");
                let mut found = Vec::new();
                find(text.as_bytes(), &mut found);
                let found: Vec<_> = found.into_iter().map(|range| &text[range]).collect();
                assert_eq!(found, expected, "{text}");
            }
        }
    }
}
