//! Chance that is the same in every run: a small generator that a number starts.
//!
//! SplitMix64 (Steele, Lea, Flood 2014): good enough to vary log lines, and it will never change under
//! us as a library's might, so that a demo's figures can be quoted.

/// A row of numbers that looks random and is not.
#[derive(Clone, Debug)]
pub(super) struct Chance(u64);

impl Chance {
    /// The row that belongs to `number`.
    pub(super) fn of(number: u64) -> Self {
        Self(number.wrapping_mul(0xa076_1d64_78bd_642f) ^ 0x5851_f42d_4c95_7f2d)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number from `low` to `high`, both included.
    pub(super) fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.next() % (high.saturating_sub(low) + 1)
    }

    /// Whether something happens that happens once in `times`.
    pub(super) fn once_in(&mut self, times: u64) -> bool {
        self.next().is_multiple_of(times.max(1))
    }

    /// One of `items`, which must not be empty.
    pub(super) fn pick<T: Copy>(&mut self, items: &[T]) -> T {
        items[usize::try_from(self.next() % items.len() as u64).unwrap_or(0)]
    }

    /// Lower-case hex digits.
    pub(super) fn hex(&mut self, digits: usize) -> String {
        let mut text = String::new();
        while text.len() < digits {
            text.push_str(&format!("{:016x}", self.next()));
        }
        text.truncate(digits);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_number_gives_the_same_row() {
        let row = |number| {
            let mut chance = Chance::of(number);
            (chance.between(3, 9), chance.pick(&["a", "b", "c"]), chance.hex(7))
        };
        assert_eq!(row(1), row(1));
        assert_ne!(row(1), row(2));
        assert!((3..=9).contains(&row(5).0));
    }
}
