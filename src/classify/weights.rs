//! The trained weights in the binary, read where they lie.
//!
//! Little-endian: `FARTKND2`; how many kinds there are, rows of the requests' matrix and rows of the bullets' (u32); the
//! kinds' names (u16 length, UTF-8); the temperature of the requests' scores, the coefficients of what a bullet
//! covers, those of [`Match`], [`Weights::doubt`], [`Weights::examples`], [`Weights::examples_rest`] and
//! [`Weights::confidence`] (f32); the two heads. A head is, all f32 but the rows: a scale for each group of features, a
//! bias and a scale for each kind, [`COLUMNS`] 8-bit columns for each row, in front of which stand twice [`DIMENSIONS`]
//! weights a kind for the two directions. `models/train/kinds.py` writes it.

use std::sync::LazyLock;

use crate::vectors::{DIMENSIONS, Vector};

use super::features::{Features, Group};

/// Kinds that a row has room for.
pub(super) const COLUMNS: usize = 64;
/// A number for each kind; those beyond the kinds that there are stay 0.
pub(super) type Scores = [f32; COLUMNS];

static BYTES: &[u8] = include_bytes!("../../models/kinds.bin");
const MAGIC: &[u8] = b"FARTKND2";
/// Rows whose 8-bit weights may be summed in 16 bits.
const ROWS_A_SUM: usize = 256;

/// Everything that was trained.
pub(super) struct Weights {
    /// Names of the kinds.
    pub kinds: Vec<&'static str>,
    /// Scores of requests are multiplied by this before they become shares.
    pub temperature: f32,
    /// How a bullet's scores become what it covers.
    pub cover: [f32; 7],
    /// How a request is matched with bullets.
    pub matching: Match,
    /// The part of each share that belongs to all bullets, and none, alike: any request may surprise.
    pub doubt: f32,
    /// How much a policy's own examples count against its prose.
    pub examples: f32,
    /// How much of what they give the best bullet they give to none.
    pub examples_rest: f32,
    /// From which share on work may leave the default tier, where a policy does not say.
    pub confidence: f32,
    /// What kind of work a request is.
    pub requests: Head,
    /// What kinds a bullet's prose means.
    pub bullets: Head,
}

/// Parameters of matching; `models/train/kinds.py` fits them on policies.
#[derive(Clone, Copy, Debug)]
pub(super) struct Match {
    pub sharpness: f32,
    pub softness: f32,
    pub topic: f32,
    pub none: f32,
    pub overlap: f32,
}

impl Weights {
    /// Those that come with the program.
    pub fn built_in() -> &'static Self {
        static WEIGHTS: LazyLock<Weights> =
            LazyLock::new(|| Weights::read(BYTES).expect("the file was made for this program"));
        &WEIGHTS
    }

    fn read(bytes: &'static [u8]) -> Option<Self> {
        let mut reader = Reader(bytes.strip_prefix(MAGIC)?);
        let [kinds, rows, bullet_rows] = [reader.number()?, reader.number()?, reader.number()?];
        if kinds > COLUMNS || !rows.is_power_of_two() || !bullet_rows.is_power_of_two() {
            return None;
        }
        let names = (0..kinds).map(|_| reader.name()).collect::<Option<Vec<_>>>()?;
        let temperature = reader.float()?;
        let cover = reader.floats::<7>()?;
        let [sharpness, softness, topic, none, overlap] = reader.floats()?;
        let matching = Match { sharpness, softness, topic, none, overlap };
        let [doubt, examples, examples_rest, confidence] = reader.floats()?;
        let requests = reader.head(Group::ALL.len(), kinds, rows)?;
        let bullets = reader.head(2, kinds, bullet_rows)?;
        reader.0.is_empty().then_some(Self {
            kinds: names,
            temperature,
            cover,
            matching,
            doubt,
            examples,
            examples_rest,
            confidence,
            requests,
            bullets,
        })
    }
}

/// A linear model: features in, a score for each kind out.
pub(super) struct Head {
    /// A scale for each group of features.
    pub groups: Vec<f32>,
    bias: Scores,
    scales: Scores,
    /// For each dimension of both directions, a weight for each kind.
    dense: Vec<Scores>,
    rows: &'static [u8],
    mask: u32,
}

impl Head {
    /// The score of each kind.
    pub fn scores(&self, features: &Features) -> Scores {
        let mut scores = self.bias;
        for (rows, scale) in features.rows.iter().zip(&self.groups).filter(|(rows, _)| !rows.is_empty()) {
            #[expect(clippy::cast_precision_loss, reason = "a group has a few thousand rows at most")]
            let share = scale / (rows.len() as f32).sqrt();
            let sums = self.sums(rows);
            for ((score, sum), scale) in scores.iter_mut().zip(sums).zip(self.scales) {
                #[expect(clippy::cast_precision_loss, reason = "sums of a few thousand small numbers")]
                let sum = sum as f32;
                *score += share * scale * sum;
            }
        }
        self.add_direction(&features.ask, 0, &mut scores);
        self.add_direction(&features.system, DIMENSIONS, &mut scores);
        scores
    }

    fn sums(&self, rows: &[u32]) -> [i32; COLUMNS] {
        let mut total = [0_i32; COLUMNS];
        for some in rows.chunks(ROWS_A_SUM) {
            let mut sums = [0_i16; COLUMNS];
            for row in some {
                let at = (row & self.mask) as usize * COLUMNS;
                for (sum, weight) in sums.iter_mut().zip(&self.rows[at..at + COLUMNS]) {
                    *sum += i16::from(weight.cast_signed());
                }
            }
            for (total, sum) in total.iter_mut().zip(sums) {
                *total += i32::from(sum);
            }
        }
        total
    }

    fn add_direction(&self, direction: &Vector, first: usize, scores: &mut Scores) {
        for (value, weights) in direction.iter().zip(&self.dense[first..first + DIMENSIONS]) {
            for (score, weight) in scores.iter_mut().zip(weights) {
                *score += value * weight;
            }
        }
    }
}

struct Reader(&'static [u8]);

impl Reader {
    fn take(&mut self, bytes: usize) -> Option<&'static [u8]> {
        let (taken, rest) = self.0.split_at_checked(bytes)?;
        self.0 = rest;
        Some(taken)
    }

    fn number(&mut self) -> Option<usize> {
        let bytes = self.take(4)?.try_into().ok()?;
        usize::try_from(u32::from_le_bytes(bytes)).ok()
    }

    fn name(&mut self) -> Option<&'static str> {
        let length = u16::from_le_bytes(self.take(2)?.try_into().ok()?);
        std::str::from_utf8(self.take(usize::from(length))?).ok()
    }

    fn float(&mut self) -> Option<f32> {
        Some(f32::from_le_bytes(self.take(4)?.try_into().ok()?))
    }

    fn floats<const N: usize>(&mut self) -> Option<[f32; N]> {
        let mut floats = [0.0; N];
        for float in &mut floats {
            *float = self.float()?;
        }
        Some(floats)
    }

    fn scores(&mut self, kinds: usize) -> Option<Scores> {
        let mut scores = [0.0; COLUMNS];
        for score in &mut scores[..kinds] {
            *score = self.float()?;
        }
        Some(scores)
    }

    fn head(&mut self, groups: usize, kinds: usize, rows: usize) -> Option<Head> {
        let groups = (0..groups).map(|_| self.float()).collect::<Option<_>>()?;
        let (bias, scales) = (self.scores(kinds)?, self.scores(kinds)?);
        let dense = (0..2 * DIMENSIONS).map(|_| self.scores(kinds)).collect::<Option<_>>()?;
        let mask = u32::try_from(rows - 1).ok()?;
        Some(Head { groups, bias, scales, dense, rows: self.take(rows * COLUMNS)?, mask })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_in_the_binary_can_be_read() {
        let weights = Weights::built_in();
        assert!(weights.kinds.len() >= 40 && weights.kinds.contains(&"root_cause"), "{:?}", weights.kinds);
    }

    #[test]
    fn a_file_that_was_cut_holds_no_weights() {
        for end in [0, 8, 19, 60, 900, BYTES.len() - 1] {
            assert!(Weights::read(&BYTES[..end]).is_none(), "{end}");
        }
    }
}
