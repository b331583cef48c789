//! The prompt cache of Messages: a prefix is kept where the client put a marker, and nowhere else.
//!
//! A prompt is a row of blocks (tools, system, messages). Each marker keeps everything up to its block for five
//! minutes or an hour. A later prompt reads the longest kept prefix that ends at one of its own markers, or at one
//! of the twenty blocks before it, and writes what lies between that and its last marker.
//! <https://platform.claude.com/docs/en/build-with-claude/prompt-caching>

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::{Duration, Instant};

use super::super::tokenizer::tokens;

/// Blocks before a marker at which a kept prefix is looked for, its own block included.
const LOOK_BACK_BLOCKS: usize = 20;
/// Most prefixes that are remembered; beyond it the ones that end soonest go first.
const PREFIXES_MAX: usize = 100_000;

/// How long a marker keeps its prefix.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Stay {
    FiveMinutes,
    Hour,
}

/// How a prompt met the cache, in tokens.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Met {
    pub(super) read: u64,
    pub(super) written_5m: u64,
    pub(super) written_1h: u64,
}

/// A prompt, block by block.
#[derive(Debug)]
pub(super) struct MarkedPrompt {
    hasher: DefaultHasher,
    tokens: u64,
    blocks: Vec<Place>,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    hash: u64,
    tokens: u64,
    marker: Option<Stay>,
}

impl MarkedPrompt {
    /// An empty prompt for `model`; prompts of different models share nothing.
    pub(super) fn of(model: &str) -> Self {
        let mut hasher = DefaultHasher::new();
        model.hash(&mut hasher);
        Self { hasher, tokens: 0, blocks: Vec::new() }
    }

    /// Appends a block of `text`, in words that are counted, with `frame` tokens around it.
    pub(super) fn push(&mut self, kind: &str, text: &str, frame: u64, marker: Option<Stay>) {
        (kind, text).hash(&mut self.hasher);
        self.tokens += frame + tokens(text).map(|_| 1).sum::<u64>();
        self.blocks.push(Place { hash: self.hasher.finish(), tokens: self.tokens, marker });
    }

    /// Changes every prefix from here on without a token.
    pub(super) fn turn(&mut self, setting: &str) {
        setting.hash(&mut self.hasher);
    }

    /// Marks the newest block, unless it has a marker.
    pub(super) fn mark_last(&mut self, stay: Stay) {
        if let Some(last) = self.blocks.last_mut() {
            last.marker.get_or_insert(stay);
        }
    }

    /// How many tokens there are.
    pub(super) fn count(&self) -> u64 {
        self.tokens
    }
}

/// Prefixes that were kept, each with its end and its stay.
#[derive(Debug)]
pub(in crate::simulator) struct MarkedCache {
    five_minutes: Duration,
    kept: HashMap<u64, (Instant, Stay)>,
}

impl MarkedCache {
    /// An empty cache whose five minutes last for `five_minutes`, and an hour twelve times as long; zero turns it off.
    pub(in crate::simulator) fn new(five_minutes: Duration) -> Self {
        Self { five_minutes, kept: HashMap::new() }
    }

    /// Finds the longest kept prefix of `prompt` that its markers reach, and keeps the ones that they ask for.
    pub(super) fn read_and_write(&mut self, prompt: &MarkedPrompt, tokens_min: u64, now: Instant) -> Met {
        if self.five_minutes.is_zero() {
            return Met::default();
        }
        let long_enough = |at: &usize| prompt.blocks[*at].marker.is_some() && prompt.blocks[*at].tokens >= tokens_min;
        let markers: Vec<usize> = (0..prompt.blocks.len()).filter(long_enough).collect();
        let reach = |marker: &usize| marker.saturating_sub(LOOK_BACK_BLOCKS - 1)..=*marker;
        let live = |at: &usize| self.kept.get(&prompt.blocks[*at].hash).is_some_and(|(end, _)| now < *end);
        let hit = markers.iter().rev().find_map(|marker| reach(marker).rev().find(live));
        let read = hit.map_or(0, |at| prompt.blocks[at].tokens);
        if let Some((end, stay)) = hit.and_then(|at| self.kept.get_mut(&prompt.blocks[at].hash)) {
            *end = now + time(self.five_minutes, *stay);
        }
        let ends_at = |wanted: Option<Stay>| {
            let here = markers.iter().rev().find(|at| wanted.is_none() || prompt.blocks[**at].marker == wanted);
            here.map_or(0, |at| prompt.blocks[*at].tokens)
        };
        let hour = ends_at(Some(Stay::Hour)).max(read);
        let last = ends_at(None).max(hour);
        for at in &markers {
            let Place { hash, marker, .. } = prompt.blocks[*at];
            let stay = marker.unwrap_or(Stay::FiveMinutes);
            let end = now + time(self.five_minutes, stay);
            let entry = self.kept.entry(hash).or_insert((end, stay));
            *entry = (entry.0.max(end), entry.1.max(stay));
        }
        self.forget(now);
        Met { read, written_5m: last - hour, written_1h: hour - read }
    }

    fn forget(&mut self, now: Instant) {
        if self.kept.len() <= PREFIXES_MAX {
            return;
        }
        self.kept.retain(|_, (end, _)| now < *end);
        let mut ends: Vec<Instant> = self.kept.values().map(|(end, _)| *end).collect();
        ends.sort_unstable();
        if let Some(bound) = ends.len().checked_sub(PREFIXES_MAX).and_then(|over| ends.get(over).copied()) {
            self.kept.retain(|_, (end, _)| *end >= bound);
        }
    }
}

fn time(five_minutes: Duration, stay: Stay) -> Duration {
    match stay {
        Stay::FiveMinutes => five_minutes,
        Stay::Hour => five_minutes * 12,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    /// Blocks of 1,000 tokens, each a letter; the marked ones are capitals, for an hour where `'` follows.
    fn prompt(blocks: &str) -> MarkedPrompt {
        let mut prompt = MarkedPrompt::of("m");
        for block in blocks.chars() {
            match block {
                '\'' => prompt.blocks.last_mut().expect("a block").marker = Some(Stay::Hour),
                letter => {
                    let marker = letter.is_uppercase().then_some(Stay::FiveMinutes);
                    prompt.push("text", &letter.to_lowercase().to_string(), 999, marker);
                }
            }
        }
        prompt
    }

    #[track_caller]
    fn check(first: &str, after: Duration, second: &str, expected: (u64, u64, u64)) {
        let mut cache = MarkedCache::new(MINUTE * 5);
        let now = Instant::now();
        cache.read_and_write(&prompt(first), 1024, now);
        let met = cache.read_and_write(&prompt(second), 1024, now + after);
        assert_eq!((met.read, met.written_5m, met.written_1h), expected, "{first}, then {second}");
    }

    #[test]
    fn only_what_was_marked_is_read_again() {
        check("abCd", MINUTE, "abCd", (3000, 0, 0));
        check("abcd", MINUTE, "abCd", (0, 3000, 0));
        check("abCd", MINUTE, "abcd", (0, 0, 0));
        check("abCd", MINUTE, "abcdeF", (3000, 3000, 0));
        check("abCd", MINUTE, "xbCd", (0, 3000, 0));
    }

    #[test]
    fn a_marker_looks_twenty_blocks_back() {
        let reached = format!("abC{}D", "x".repeat(18));
        check("abC", MINUTE, &reached, (3000, 19_000, 0));
        let beyond = format!("abc{}D", "x".repeat(19));
        check("abC", MINUTE, &beyond, (0, 23_000, 0));
    }

    #[test]
    fn an_hour_is_written_apart_and_stays_longer() {
        check("ab", MINUTE, "aB'cD", (0, 2000, 2000));
        check("aB'cD", MINUTE * 6, "aB'cD", (2000, 2000, 0));
        check("aB'cD", MINUTE * 61, "aB'cD", (0, 2000, 2000));
    }

    #[test]
    fn a_short_prefix_is_not_kept() {
        check("A", MINUTE, "A", (0, 0, 0));
    }
}
