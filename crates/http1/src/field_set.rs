//! A set of field positions in one head, small enough to copy.

use std::ops::Range;

/// Positions of fields in a head, each below [`FIELDS_MAX`](crate::FIELDS_MAX).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FieldSet(u128);

impl FieldSet {
    /// The set of nothing.
    pub const EMPTY: Self = Self(0);

    /// Adds `position`. A position that no head can have (128 and above) is left out.
    pub fn insert(&mut self, position: usize) {
        self.0 |= bit(position);
    }

    /// Whether `position` is in the set.
    pub fn contains(self, position: usize) -> bool {
        self.0 & bit(position) != 0
    }

    /// Whether nothing is in the set.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// What is in either set.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// What is in this set and not in `other`.
    #[must_use]
    pub fn difference(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// The next run of positions in `from..len` that are *not* in the set: what is kept when the
    /// set is what is dropped. `None` when nothing is left.
    pub fn next_kept(self, from: usize, len: usize) -> Option<Range<usize>> {
        let start = first_at_or_after(!self.0, from).min(len);
        let end = first_at_or_after(self.0, start).min(len);
        (start < end).then_some(start..end)
    }
}

fn bit(position: usize) -> u128 {
    u32::try_from(position).ok().and_then(|shift| 1u128.checked_shl(shift)).unwrap_or(0)
}

/// The first position from `from` on whose bit is set, 128 when there is none.
fn first_at_or_after(bits: u128, from: usize) -> usize {
    let below = bit(from).wrapping_sub(1);
    (bits & !below).trailing_zeros() as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(positions: &[usize]) -> FieldSet {
        let mut set = FieldSet::EMPTY;
        positions.iter().for_each(|&position| set.insert(position));
        set
    }

    /// The kept runs, written as `0..1 2..3`.
    fn kept(dropped: FieldSet, len: usize) -> String {
        let mut from = 0;
        let mut runs = Vec::new();
        while let Some(run) = dropped.next_kept(from, len) {
            from = run.end;
            runs.push(format!("{run:?}"));
        }
        runs.join(" ")
    }

    #[test]
    fn kept_runs_are_what_lies_between_dropped_positions() {
        let cases: [(&[usize], usize, &str); 8] = [
            (&[], 0, ""),
            (&[], 3, "0..3"),
            (&[0], 3, "1..3"),
            (&[1], 3, "0..1 2..3"),
            (&[2], 3, "0..2"),
            (&[0, 1, 2], 3, ""),
            (&[0, 126], 128, "1..126 127..128"),
            (&[127], 128, "0..127"),
        ];
        for (dropped, len, expected) in cases {
            assert_eq!(kept(set(dropped), len), expected, "{dropped:?} of {len}");
        }
    }

    #[test]
    fn positions_beyond_any_head_are_never_in_a_set() {
        let mut beyond = set(&[127]);
        beyond.insert(128);
        beyond.insert(usize::MAX);
        assert_eq!(beyond, set(&[127]));
        assert!(!beyond.contains(128));
        assert!(FieldSet::EMPTY.is_empty() && !beyond.is_empty());
    }

    #[test]
    fn union_and_difference_are_those_of_sets() {
        assert_eq!(set(&[1, 2]).union(set(&[2, 3])), set(&[1, 2, 3]));
        assert_eq!(set(&[1, 2]).difference(set(&[2, 3])), set(&[1]));
    }
}
