//! Chance as a value: a small generator that its owner seeds, so that a run can be repeated.

/// A SplitMix64 generator with a stream of its own per seed.
///
/// Quick and well spread, not secret: whoever sees two numbers can compute the rest. It is for
/// choices, jitter and trace ids, never for keys.
#[derive(Clone, Debug)]
pub struct Random {
    state: u64,
    /// Odd. It differs from seed to seed, so that two generators of a large fleet that pass through
    /// the same state still part again, and two trace ids do not become alike one after another.
    step: u64,
}

impl Random {
    /// A generator that always gives the same numbers for the same seed.
    pub const fn new(seed: u64) -> Self {
        Self { state: seed, step: mix(!seed) | 1 }
    }

    /// The next 64 bits.
    pub const fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(self.step);
        mix(self.state)
    }

    /// A number from 0 to `n - 1`, each as likely as the next but for one part in 2³²; 0 where `n`
    /// is 0.
    pub const fn below(&mut self, n: u32) -> u32 {
        (((self.next() >> 32) * n as u64) >> 32) as u32
    }

    /// A number from 0 to `max`, both included.
    pub const fn up_to(&mut self, max: u64) -> u64 {
        ((self.next() as u128 * (max as u128 + 1)) >> 64) as u64
    }
}

/// The finaliser of SplitMix64: every bit of the input moves about half of the bits of the output.
const fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::Random;

    #[test]
    fn the_same_seed_gives_the_same_numbers() {
        let draw = |seed| {
            let mut random = Random::new(seed);
            [random.next(), random.next(), random.next()]
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
    }

    #[test]
    fn numbers_below_n_are_spread_evenly() {
        for n in [1_u32, 2, 3, 7, 100] {
            let mut random = Random::new(u64::from(n));
            let mut seen = vec![0_u32; n as usize];
            for _ in 0..n * 2_000 {
                seen[random.below(n) as usize] += 1;
            }
            assert!(seen.iter().all(|&count| (1_700..2_300).contains(&count)), "n={n}: {seen:?}");
        }
    }

    #[test]
    fn the_edges_of_a_range_are_reached_and_kept() {
        let mut random = Random::new(1);
        assert_eq!(random.below(0), 0);
        assert_eq!(random.up_to(0), 0);
        let seen: Vec<u64> = (0..200).map(|_| random.up_to(3)).collect();
        assert_eq!((seen.iter().min(), seen.iter().max()), (Some(&0), Some(&3)));
        assert!((0..64).map(|_| random.up_to(u64::MAX)).any(|n| n > u64::MAX / 2));
    }

    #[test]
    fn neighbouring_seeds_share_no_stretch_of_numbers() {
        let numbers = |seed| {
            let mut random = Random::new(seed);
            (0..1_000).map(|_| random.next()).collect::<std::collections::HashSet<_>>()
        };
        assert!(numbers(1).is_disjoint(&numbers(2)));
    }
}
