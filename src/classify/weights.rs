//! The trained weights in the binary, read where they lie.
//!
//! Little-endian: `FARTKND3`; how many kinds there are, rows of the requests' matrix and rows of the bullets' (u32); the
//! kinds' names (u16 length, UTF-8); the temperature of the requests' scores, the coefficients of what a bullet
//! covers, those of [`Match`], [`Weights::doubt`], [`Weights::examples`], [`Weights::examples_rest`] and
//! [`Weights::confidence`] (f32); the two heads. A head is, all f32 but the rows: a scale for each group of features, a
//! bias and a scale for each kind, twice [`DIMENSIONS`] weights a kind for the two directions; then a bit for each row,
//! the lowest first, whether it is there, and [`COLUMNS`] 8-bit columns for a row of zeros, which stands for all that are
//! not, and for each one that is. `models/train/kinds.py` writes it.

use std::sync::LazyLock;

use wide::i16x8;

use crate::vectors::{DIMENSIONS, Vector};

use super::features::{Features, Group};

/// Kinds that a row has room for.
pub(super) const COLUMNS: usize = 64;
/// A number for each kind; those beyond the kinds that there are stay 0.
pub(super) type Scores = [f32; COLUMNS];

/// The file, moved so that each row of the requests' matrix is one cache line.
#[repr(C, align(64))]
struct Placed {
    _shift: [u8; SHIFT],
    file: [u8; LENGTH],
}

const LENGTH: usize = include_bytes!("../../models/kinds.bin").len();
/// The requests' rows stand before the bullets' head, and all rows have 64 bytes.
const SHIFT: usize = {
    let kinds = include_bytes!("../../models/kinds.bin")[MAGIC.len()] as usize;
    let bullets_head = 4 * (BULLET_GROUPS + 2 * kinds + 2 * DIMENSIONS * kinds);
    (64 + bullets_head % 64 - LENGTH % 64) % 64
};
static PLACED: Placed = Placed { _shift: [0; SHIFT], file: *include_bytes!("../../models/kinds.bin") };
static BYTES: &[u8] = &PLACED.file;
/// Groups of features that a line of prose has: words and letters.
const BULLET_GROUPS: usize = 2;
const MAGIC: &[u8] = b"FARTKND3";
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
        let bullets = reader.head(BULLET_GROUPS, kinds, bullet_rows)?;
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
    /// For each row where it stands in `rows`.
    places: Box<[u16]>,
    rows: &'static [[u8; COLUMNS]],
}

impl Head {
    /// The score of each kind of what has no features.
    pub fn bias(&self) -> Scores {
        self.bias
    }

    /// The score of each kind.
    pub fn scores(&self, features: &Features) -> Scores {
        let mut scores = self.bias;
        for (group, rows) in Group::ALL.into_iter().zip(&features.rows).take(self.groups.len()) {
            self.add_rows(group, rows, &mut scores);
        }
        self.add_ask(&features.ask, &mut scores);
        self.add_system(&features.system, &mut scores);
        scores
    }

    /// Adds what the rows of a group tell.
    pub fn add_rows(&self, group: Group, rows: &[u32], scores: &mut Scores) {
        if rows.is_empty() {
            return;
        }
        #[expect(clippy::cast_precision_loss, reason = "a group has a few thousand rows at most")]
        let share = self.groups[group as usize] / (rows.len() as f32).sqrt();
        let sums = self.sums(rows);
        for ((score, sum), scale) in scores.iter_mut().zip(sums).zip(self.scales) {
            #[expect(clippy::cast_precision_loss, reason = "sums of a few thousand small numbers")]
            let sum = sum as f32;
            *score += share * scale * sum;
        }
    }

    /// Adds what the direction of the ask tells.
    pub fn add_ask(&self, direction: &Vector, scores: &mut Scores) {
        add_direction(direction, &self.dense[..DIMENSIONS], scores);
    }

    /// Adds what the direction of the system prompt tells.
    pub fn add_system(&self, direction: &Vector, scores: &mut Scores) {
        add_direction(direction, &self.dense[DIMENSIONS..], scores);
    }

    /// The weights of a row; zeros if it is not there.
    fn row(&self, row: u32) -> &[u8; COLUMNS] {
        &self.rows[usize::from(self.places[row as usize & (self.places.len() - 1)])]
    }

    fn sums(&self, rows: &[u32]) -> [i32; COLUMNS] {
        let mut total = [0_i32; COLUMNS];
        for some in rows.chunks(ROWS_A_SUM) {
            // Sixteen columns at a time: those of odd places, and those of even places moved there.
            let mut sums = [(i16x8::ZERO, i16x8::ZERO); COLUMNS / 16];
            for row in some {
                let (quarters, _) = self.row(*row).as_chunks::<16>();
                for ((odd, even), quarter) in sums.iter_mut().zip(quarters) {
                    let pairs = pairs(quarter);
                    *odd += pairs >> 8;
                    *even += (pairs << 8) >> 8;
                }
            }
            let (totals, _) = total.as_chunks_mut::<2>();
            let of_pairs = sums.iter().flat_map(|(odd, even)| even.to_array().into_iter().zip(odd.to_array()));
            for (total, (even, odd)) in totals.iter_mut().zip(of_pairs) {
                total[0] += i32::from(even);
                total[1] += i32::from(odd);
            }
        }
        total
    }
}

/// Bytes as numbers of 16 bits, the first byte lowest.
fn pairs(bytes: &[u8; 16]) -> i16x8 {
    let (pairs, _) = bytes.as_chunks::<2>();
    i16x8::new(std::array::from_fn(|at| i16::from_le_bytes(pairs[at])))
}

/// Columns that are summed together, so that their sums stay in registers.
const COLUMNS_A_PASS: usize = 16;

fn add_direction(direction: &Vector, dense: &[Scores], scores: &mut Scores) {
    for (scores, first) in scores.as_chunks_mut::<COLUMNS_A_PASS>().0.iter_mut().zip((0..).step_by(COLUMNS_A_PASS)) {
        let mut sums = [0.0; COLUMNS_A_PASS];
        for (value, weights) in direction.iter().zip(dense) {
            let weights = &weights[first..first + COLUMNS_A_PASS];
            for (sum, weight) in sums.iter_mut().zip(weights) {
                *sum += value * weight;
            }
        }
        scores.iter_mut().zip(sums).for_each(|(score, sum)| *score += sum);
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
        let places = places(self.take(rows / 8)?)?;
        let kept = usize::from(places.iter().copied().max()?);
        let rows = self.take((1 + kept) * COLUMNS)?.as_chunks().0;
        Some(Head { groups, bias, scales, dense, places, rows })
    }
}

/// Where each row stands: those that are there behind the row of zeros, one after the other.
fn places(there: &[u8]) -> Option<Box<[u16]>> {
    let mut last = 0_u16;
    let bits = there.iter().flat_map(|byte| (0..8).map(move |bit| byte >> bit & 1 == 1));
    bits.map(|is_there| {
        last = if is_there { last.checked_add(1)? } else { last };
        Some(if is_there { last } else { 0 })
    })
    .collect()
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
    fn a_row_is_one_cache_line() {
        assert_eq!(Weights::built_in().requests.rows.as_ptr().addr() % 64, 0);
    }

    #[test]
    fn rows_are_summed_column_by_column() {
        let head = &Weights::built_in().requests;
        let rows: Vec<u32> = (0..700).map(|n| n * 91 % 65_536).collect();
        let weight = |row: &u32, at: usize| i32::from(head.row(*row)[at].cast_signed());
        let expected: [i32; COLUMNS] = std::array::from_fn(|at| rows.iter().map(|row| weight(row, at)).sum());
        assert_eq!(head.sums(&rows), expected);
    }

    #[test]
    fn rows_that_are_not_there_are_zeros_and_the_others_stand_in_order() {
        assert_eq!(
            *places(&[0b0000_0101, 0b1000_0000]).expect("few rows"),
            [1, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3]
        );
        let head = &Weights::built_in().requests;
        let missing = (0..).find(|row| head.places[*row as usize] == 0).expect("some are not there");
        assert_eq!(*head.row(missing), [0; COLUMNS]);
    }

    #[test]
    fn a_file_that_was_cut_holds_no_weights() {
        for end in [0, 8, 19, 60, 900, BYTES.len() - 1] {
            assert!(Weights::read(&BYTES[..end]).is_none(), "{end}");
        }
    }
}
