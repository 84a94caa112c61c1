//! Finding any of many secrets in a text.
//!
//! A text is not looked at byte by byte: of every [`stride`](Needles::stride) places one is, and
//! four bytes there (three, where a secret is short) are looked up among those with which a secret
//! may lie over such a place. The look-ups do not wait for each other, which makes it several times as fast as an automaton, and
//! leaves nothing behind that could not be overwritten.

use std::ops::Range;

use pillion_runtime::board::Secret;
use zeroize::{Zeroize as _, Zeroizing};

use super::forms::{self, Form, SHORTEST};

/// Bytes that are looked up together.
const WINDOW: usize = SHORTEST;
/// Where there is a shorter form than this, a byte less is looked up, so that the stride is one
/// more: for secrets of four bytes, 2.3 GB a second of one core in place of 1.2. Of longer ones it
/// would only find more in vain.
const SHORT: usize = 2 * WINDOW;
/// Longer steps than this gain little, and each costs one more entry for each secret.
const LONGEST_STRIDE: usize = 8;
/// Bits of the first look-up for each entry: one in so many look-ups goes on in vain.
const BITS_PER_ENTRY: usize = 64;
/// The fewest and the most bits of the first look-up; the most are 256 KiB.
const BITS: Range<usize> = 1 << 12..1 << 21;

/// All forms of all secrets, ready to be found. Overwritten when dropped.
#[derive(Default)]
pub(super) struct Needles {
    /// Sorted, none twice.
    forms: Vec<Form>,
    longest: usize,
    stride: usize,
    /// Which of four bytes are looked up.
    mask: u32,
    /// Whether such bytes with this hash may be in `entries`.
    bits: Zeroizing<Vec<u64>>,
    /// By how much a product is shifted to be a place in `bits`.
    shift: u32,
    /// Sorted by their bytes.
    entries: Vec<Entry>,
    /// Secrets that are too short to be looked for.
    pub(super) left: usize,
}

/// Bytes of a form that are looked up together.
#[derive(Clone, Copy)]
struct Entry {
    bytes: u32,
    form: usize,
    offset: usize,
}

impl Needles {
    pub(super) fn new(secrets: &[Secret]) -> Self {
        let mut all = Vec::new();
        let left = secrets.iter().filter(|secret| !forms::add(secret.reveal(), &mut all)).count();
        all.sort_unstable_by(|one, other| one.as_slice().cmp(other.as_slice()));
        all.dedup();
        let lengths = || all.iter().map(|form| form.len());
        let shortest = lengths().min().unwrap_or(WINDOW);
        let (window, mask) =
            if shortest < SHORT { (WINDOW - 1, u32::MAX >> 8) } else { (WINDOW, u32::MAX) };
        let stride = (shortest + 1).saturating_sub(window).clamp(1, LONGEST_STRIDE);
        let mut entries: Vec<Entry> = Vec::with_capacity(all.len() * stride);
        for (form, bytes) in all.iter().enumerate() {
            let windows = bytes.windows(window).take(stride).enumerate();
            let entry = |(offset, window)| Entry { bytes: number(window), form, offset };
            entries.extend(windows.map(entry));
        }
        entries.sort_unstable_by_key(|entry| entry.bytes);
        let wanted = (entries.len() * BITS_PER_ENTRY).next_power_of_two();
        let count = wanted.clamp(BITS.start, BITS.end);
        let shift = u32::BITS - count.ilog2();
        let mut bits = Zeroizing::new(vec![0_u64; count / 64]);
        for entry in &entries {
            let (word, bit) = place(entry.bytes, shift);
            if let Some(word) = bits.get_mut(word) {
                *word |= 1 << bit;
            }
        }
        let longest = lengths().max().unwrap_or(0);
        Self { longest, stride, mask, bits, shift, entries, left, forms: all }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.forms.is_empty()
    }

    /// Appends where they stand, in no order; some may overlap.
    pub(super) fn find(&self, text: &[u8], found: &mut Vec<Range<usize>>) {
        if self.is_empty() {
            return;
        }
        let mut at = 0;
        while let Some(window) = text.get(at..).and_then(|rest| rest.first_chunk::<WINDOW>()) {
            self.look_up(u32::from_le_bytes(*window) & self.mask, at, text, found);
            at += self.stride;
        }
        // One byte more than these would have been seen by the loop.
        if let Some(end) = text.get(at..).filter(|end| end.len() == WINDOW - 1) {
            self.look_up(number(end), at, text, found);
        }
    }

    #[inline]
    fn look_up(&self, bytes: u32, at: usize, text: &[u8], found: &mut Vec<Range<usize>>) {
        let (word, bit) = place(bytes, self.shift);
        if self.bits.get(word).is_some_and(|word| word >> bit & 1 != 0) {
            self.compare(bytes, at, text, found);
        }
    }

    /// Whether a secret may begin at the start of `text` and go on after its end.
    pub(super) fn may_begin(&self, text: &[u8]) -> bool {
        let first = self.forms.partition_point(|form| form.as_slice() < text);
        // Those that begin with `text` follow it in the order; `text` itself is found as a whole.
        let mut following = self.forms.iter().skip(first).take(2);
        following.any(|form| form.len() > text.len() && form.starts_with(text))
    }

    /// Bytes of the longest form.
    pub(super) fn longest(&self) -> usize {
        self.longest
    }

    #[cold]
    fn compare(&self, bytes: u32, at: usize, text: &[u8], found: &mut Vec<Range<usize>>) {
        let first = self.entries.partition_point(|entry| entry.bytes < bytes);
        let entries = self.entries.iter().skip(first);
        for entry in entries.take_while(|entry| entry.bytes == bytes) {
            let Some(form) = self.forms.get(entry.form) else { continue };
            let Some(start) = at.checked_sub(entry.offset) else { continue };
            let range = start..start + form.len();
            if text.get(range.clone()) == Some(form.as_slice()) {
                found.push(range);
            }
        }
    }
}

impl Drop for Needles {
    fn drop(&mut self) {
        self.entries.iter_mut().for_each(|entry| entry.bytes.zeroize());
    }
}

/// Up to four bytes as a number, as if zeros followed.
fn number(bytes: &[u8]) -> u32 {
    bytes.iter().rev().fold(0, |number, byte| number << 8 | u32::from(*byte))
}

/// Word and bit of these bytes.
fn place(bytes: u32, shift: u32) -> (usize, u32) {
    // The odd number next to 2^32 over the golden ratio: it spreads what differs in few bits.
    let hash = bytes.wrapping_mul(0x9e37_79b1) >> shift;
    // At most 2^21: it fits everywhere.
    ((hash / u64::BITS) as usize, hash % u64::BITS)
}
