//! Byte-pair encoding over one table: how many tokens a text is, without making them.
//!
//! A text is split into pieces by the encoding's pattern; within a piece the two neighbours that make the token of the
//! lowest rank merge first, the leftmost of equals, until none is left. With a heap of candidates that takes
//! n log n steps for a piece of n bytes, also for a megabyte of one letter. Every candidate is compared with the
//! table's bytes, so that no hash decides a count.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::hash::{BuildHasherDefault, Hasher};
use std::io::Read;

use regex_automata::meta::Regex;
use xxhash_rust::xxh3::xxh3_64;

/// A table and its pattern, ready to count.
pub(super) struct Tokenizer {
    /// The tokens one after another, in the order of their ranks.
    bytes: Vec<u8>,
    /// Where each begins, and where the last ends.
    starts: Vec<u32>,
    /// Ranks by hash.
    ranks: HashMap<u64, u32, BuildHasherDefault<Hashed>>,
    longest: usize,
    pieces: Regex,
}

/// The pattern that only white space matches that nothing else does, by its place in [`Tokenizer::new`].
const WHITE_SPACE: usize = 1;

impl Tokenizer {
    /// Reads a table: gzipped, each token as the length of its bytes and the bytes. `pattern` is the encoding's
    /// without its last two alternatives, `\s+(?!\S)|\s+`, which need no looking ahead here.
    pub(super) fn new(table: &[u8], pattern: &str) -> Self {
        let mut lengths_and_bytes = Vec::new();
        flate2::read::GzDecoder::new(table).read_to_end(&mut lengths_and_bytes).expect("a test reads every table");
        let mut tokenizer = Self {
            bytes: Vec::with_capacity(lengths_and_bytes.len()),
            starts: vec![0],
            ranks: HashMap::with_capacity_and_hasher(lengths_and_bytes.len() / 7, BuildHasherDefault::default()),
            longest: 0,
            pieces: Regex::new_many(&[pattern, r"\s+"]).expect("a test reads every pattern"),
        };
        let mut rest = lengths_and_bytes.as_slice();
        while let Some((&length, tail)) = rest.split_first() {
            let (token, tail) = tail.split_at(usize::from(length));
            let rank = u32::try_from(tokenizer.starts.len() - 1).unwrap_or(u32::MAX);
            tokenizer.ranks.insert(xxh3_64(token), rank);
            tokenizer.bytes.extend_from_slice(token);
            tokenizer.starts.push(u32::try_from(tokenizer.bytes.len()).unwrap_or(u32::MAX));
            tokenizer.longest = tokenizer.longest.max(token.len());
            rest = tail;
        }
        tokenizer
    }

    /// How many tokens `text` is.
    pub(super) fn count(&self, text: &str) -> u64 {
        let (mut at, mut tokens, mut scratch) = (0, 0, Scratch::default());
        while at < text.len() {
            let end = self.piece_end(text, at);
            tokens += self.count_piece(&text.as_bytes()[at..end], &mut scratch);
            at = end;
        }
        tokens
    }

    /// Where the piece that begins at `at` ends: white space leaves its last character to what follows it.
    fn piece_end(&self, text: &str, at: usize) -> usize {
        let Some(found) = self.pieces.find(regex_automata::Input::new(text).range(at..)) else { return text.len() };
        if found.start() > at {
            return found.start();
        }
        let blanks = &text[found.range()];
        let last = blanks.char_indices().next_back().map_or(0, |(last, _)| last);
        let leaves = found.pattern().as_usize() == WHITE_SPACE && found.end() < text.len() && last > 0;
        if leaves { at + last } else { found.end() }
    }

    fn rank(&self, token: &[u8]) -> Option<u32> {
        if token.len() > self.longest {
            return None;
        }
        let rank = *self.ranks.get(&xxh3_64(token))?;
        let (start, end) = (self.starts[rank as usize] as usize, self.starts[rank as usize + 1] as usize);
        (&self.bytes[start..end] == token).then_some(rank)
    }

    fn count_piece(&self, piece: &[u8], scratch: &mut Scratch) -> u64 {
        if piece.len() < 2 || self.rank(piece).is_some() {
            return 1;
        }
        scratch.begin(piece.len());
        for at in 0..piece.len() {
            self.offer(piece, at, scratch);
        }
        let mut tokens = piece.len();
        while let Some(Reverse((_, at, end))) = scratch.candidates.pop() {
            if scratch.pair_end(at as usize) != Some(end as usize) {
                continue;
            }
            scratch.merge(at as usize);
            tokens -= 1;
            self.offer(piece, at as usize, scratch);
            if at > 0 {
                self.offer(piece, scratch.before[at as usize] as usize, scratch);
            }
        }
        tokens as u64
    }

    /// Puts the pair that begins at `at` among the candidates, if it is a token.
    fn offer(&self, piece: &[u8], at: usize, scratch: &mut Scratch) {
        let Some(end) = scratch.pair_end(at) else { return };
        let Some(rank) = self.rank(&piece[at..end]) else { return };
        scratch.candidates.push(Reverse((rank, at as u32, end as u32)));
    }
}

/// The parts of one piece as a linked list over its bytes, and the pairs that may merge.
#[derive(Default)]
struct Scratch {
    /// Where the part that begins here ends, which is where the next begins; 0 where no part begins.
    after: Vec<u32>,
    /// Where the part before the one that begins here begins.
    before: Vec<u32>,
    /// Rank, start and end of pairs, lowest rank and leftmost first; some have been overtaken by other merges.
    candidates: BinaryHeap<Reverse<(u32, u32, u32)>>,
}

impl Scratch {
    /// One part a byte.
    fn begin(&mut self, length: usize) {
        self.after.clear();
        self.after.extend((0..length).map(|at| at as u32 + 1));
        self.before.clear();
        self.before.extend((0..length).map(|at| (at as u32).saturating_sub(1)));
        self.candidates.clear();
    }

    /// Where the part after the one that begins at `at` ends; `None` if either is missing.
    fn pair_end(&self, at: usize) -> Option<usize> {
        let middle = self.after[at] as usize;
        (middle > 0 && middle < self.after.len()).then(|| self.after[middle] as usize)
    }

    /// Makes the part that begins at `at` and the next one part.
    fn merge(&mut self, at: usize) {
        let middle = self.after[at] as usize;
        let end = self.after[middle];
        self.after[middle] = 0;
        self.after[at] = end;
        if let Some(before) = self.before.get_mut(end as usize) {
            *before = at as u32;
        }
    }
}

/// Keys are hashes already.
#[derive(Default)]
struct Hashed(u64);

impl Hasher for Hashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = xxh3_64(bytes);
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}
