//! Chance that a seed decides.

use std::time::Duration;

/// A sequence of numbers: SplitMix64.
#[derive(Clone, Debug)]
pub(super) struct Chance(u64);

impl Chance {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A sequence of its own for one of those that act at the same time.
    pub(super) fn of(&self, who: &str, number: u64) -> Self {
        let name = who.bytes().fold(self.0, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        let mut chance = Self(name ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        Self(chance.next())
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below this one.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// Half to one and a half of this time.
    pub(super) fn around(&mut self, time: Duration) -> Duration {
        time / 2 + time * u32::try_from(self.below(1000)).unwrap() / 1000
    }
}
