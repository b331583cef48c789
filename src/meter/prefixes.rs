//! Which prompts went by lately: what a model that all of them had gone to would have in its provider's cache.
//!
//! A counterfactual must not take its cached share from the calls that were made: a conversation that moves between
//! models pays for cold prefixes that it would have found warm, had it stayed. So the ends of prompts are remembered as
//! hashes, each with its tokens as its provider reported them and with the model that answered. The next step of a
//! conversation finds the one that it extends, a first step what conversations of one agent share. Memory is bounded: two
//! generations of small entries, of which the older is dropped whole.

pub mod watched;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::call::CallFacts;
use crate::hashed::ByHash;
use crate::limits::{CONVERSATION_IDLE, PREFIXES_MAX, WARM_PREFIX};
use crate::plan::ModelRef;
use crate::prompt::marks::{Sides, half};
use crate::prompt::outline::Chain;
use crate::reply::usage::Usage;
use crate::route::warm::{CACHED_PREFIX_TOKENS_MIN, CACHED_PREFIX_TOKENS_STEP};

/// Maps that are locked apart.
const SHARDS: usize = 16;
/// Tokens at the end of a prompt that only ask for the answer: no longer prompt has them in this place.
const ASKING_TOKENS: u64 = 3;

/// Prompts that went by, of all conversations.
pub struct Prefixes {
    shards: [Mutex<Generations>; SHARDS],
    /// What moments are counted from.
    began: Instant,
}

#[derive(Default)]
struct Generations {
    young: ByHash<Entry>,
    old: ByHash<Entry>,
    /// When the young ones began to be.
    since: Option<Moment>,
}

/// Tenths of seconds since prompts began to be remembered.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Moment(u32);

/// The end of a prompt, or of what stands before its first user turn. Halves of hashes: there are many entries, and what
/// they are compared with has been found by a whole one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Entry {
    at: Moment,
    /// A hash of the model that answered last; 0: none has yet.
    by: u32,
    /// How many tokens end here; 0: nobody said.
    tokens: u32,
    /// How many of them that model's provider has in its cache, as far as it says.
    kept: u32,
    /// The tools and the format that stood before, and what else stands before the first user turn.
    head: u32,
    opening: u32,
}

/// What a prompt has in common with earlier ones.
#[derive(Clone, Copy, Debug, Default)]
pub struct Met {
    /// Where the prompt itself is remembered, what stands before its first user turn, and the conversation by that turn; 0:
    /// nowhere.
    whole: u64,
    opening: u64,
    asked: u64,
    /// The tools and the format that stand before, and what else stands before the first user turn.
    head: u64,
    begins: u64,
    /// The client names the run or session.
    is_named: bool,
    found: Option<Found>,
    /// The prompt that it extends, else the one before it in its conversation, and what parts them.
    before: Option<(Entry, Parted)>,
}

/// How a prompt comes into its provider's cache.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Caching {
    /// By itself: what was read is in it.
    ByItself,
    /// It is charged for, so that the usage says what was written: where that is nothing, nothing is in it.
    Charged,
}

/// What stands between a prompt and the one before it in its conversation, besides who answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Parted {
    Nothing,
    /// More time than a provider keeps a prefix.
    Time,
    /// Another beginning: tools, the format of the answer, or what else stands before the first user turn.
    Beginning,
    /// Turns that were rewritten.
    History,
}

/// A broken prefix.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Lost {
    /// What broke it, as far as the hashes of a beginning tell.
    pub culprit: &'static str,
    /// The tokens as they would have been with it intact.
    pub intact: Usage,
    /// How many tokens of the prompt stand before the break; `None`: nobody knows.
    pub at_tokens: Option<u64>,
}

#[derive(Clone, Copy, Debug)]
struct Found {
    entry: Entry,
    /// It is the prompt that this one extends; else what conversations of one agent share.
    extends: bool,
}

impl Default for Prefixes {
    fn default() -> Self {
        Self { shards: Default::default(), began: Instant::now() }
    }
}

impl Prefixes {
    /// What a prompt that would have gone to `baseline` has in common with those that were answered. Nothing is remembered of
    /// it yet: it may never leave, or be sent again.
    pub fn meet(&self, call: &CallFacts, baseline: &ModelRef, now: Instant) -> Met {
        let chain = &call.view.outline.chain;
        if call.view.messages == 0 {
            return Met::default();
        }
        let (scope, head, now) = (hash_of(baseline), chain.head.hash, self.moment(now));
        let key = |link: u64| xxh3_64_with_seed(&link.to_le_bytes(), scope);
        let opening =
            if chain.opening == 0 { 0 } else { xxh3_64_with_seed(&chain.opening.to_le_bytes(), scope ^ head) };
        let asked = if chain.asked == 0 { 0 } else { conversation(call) };
        let extended = self.extended(chain, key, now);
        let found = self.longest(chain, key, opening, now, extended);
        let before = extended.or_else(|| self.before(chain, asked, now));
        let (whole, begins, is_named) = (key(chain.last()), chain.opening, call.session.is_some());
        Met { whole, opening, asked, head, begins, is_named, found, before }
    }

    /// Takes note of a prompt that leaves: from here on conversations that open alike would find what they share in a cache,
    /// and the first of many that begin at once does not answer before the others ask.
    pub fn sent(&self, met: &Met, now: Instant) {
        if met.opening != 0 {
            let (parts, now) = ((half(met.head), half(met.begins)), self.moment(now));
            self.shard(met.opening).change(met.opening, now, |entry| (entry.head, entry.opening) = parts);
        }
    }

    /// Takes note of a prompt with the model that answered it, and with how many tokens that read. Gives the prompt that was
    /// answered last in the same conversation.
    pub fn answered(&self, met: &Met, by: &ModelRef, usage: &Usage, caching: Caching, now: Instant) -> Option<Entry> {
        let mut last = None;
        let (by, now) = (short_hash_of(by), self.moment(now));
        let tokens_of = |tokens: u64| u32::try_from(tokens).unwrap_or(u32::MAX);
        let (tokens, kept) = (tokens_of(usage.input_tokens), tokens_of(caching.kept(usage)));
        let answered = Entry { at: now, by, tokens, kept, head: half(met.head), opening: half(met.begins) };
        if met.whole != 0 {
            self.shard(met.whole).change(met.whole, now, |entry| *entry = answered);
        }
        if met.asked != 0 {
            self.shard(met.asked).change(met.asked, now, |entry| {
                last = Some(*entry).filter(|last| last.by != 0 && is_warm(last, now));
                *entry = answered;
            });
        }
        let is_shared = met.found.is_some_and(|found| !found.extends);
        let shared = if is_shared { tokens_of(usage.cached_input_tokens) } else { 0 };
        if met.opening != 0 {
            self.shard(met.opening).change(met.opening, now, |entry| {
                *entry = Entry { tokens: entry.tokens.max(shared), ..answered };
            });
        }
        last
    }

    /// The longest prompt that this one extends, whatever became of it since.
    fn extended(&self, chain: &Chain, key: impl Fn(u64) -> u64, now: Moment) -> Option<(Entry, Parted)> {
        // Up to the opening: there is no prompt that ends before somebody asks.
        let links = std::iter::once(chain.last()).chain(chain.earlier()).take_while(|link| *link != chain.opening);
        let entry = links.map(key).find_map(|key| self.entry(key))?;
        let parted = match entry.head == half(chain.head.hash) {
            false => Parted::Beginning,
            true if !is_warm(&entry, now) => Parted::Time,
            true => Parted::Nothing,
        };
        Some((entry, parted))
    }

    /// The prompt before this one in a conversation that goes on and does not extend it.
    fn before(&self, chain: &Chain, asked: u64, now: Moment) -> Option<(Entry, Parted)> {
        if asked == 0 || chain.last() == chain.anchor {
            return None;
        }
        let entry = self.entry(asked)?;
        let parted = match (entry.head, entry.opening) == (half(chain.head.hash), half(chain.opening)) {
            _ if !is_warm(&entry, now) => Parted::Time,
            false => Parted::Beginning,
            true => Parted::History,
        };
        Some((entry, parted))
    }

    /// The longest prefix that is warm.
    fn longest(
        &self,
        chain: &Chain,
        key: impl Fn(u64) -> u64,
        opening: u64,
        now: Moment,
        extended: Option<(Entry, Parted)>,
    ) -> Option<Found> {
        let head = half(chain.head.hash);
        let of = |entry, extends| Found { entry, extends };
        if let Some((entry, Parted::Nothing)) = extended {
            return Some(of(entry, true));
        }
        let warm = |key: u64| self.entry(key).filter(|entry| entry.head == head && is_warm(entry, now));
        let mut found = None;
        if extended.is_some() {
            let links = std::iter::once(chain.last()).chain(chain.earlier());
            found = links.take_while(|link| *link != chain.opening).map(key).find_map(warm);
        }
        let opened = || if opening == 0 { None } else { warm(opening) };
        found.map(|entry| of(entry, true)).or_else(|| opened().map(|entry| of(entry, false)))
    }

    fn entry(&self, key: u64) -> Option<Entry> {
        let shard = self.shard(key);
        shard.young.get(&key).or_else(|| shard.old.get(&key)).copied()
    }

    fn moment(&self, now: Instant) -> Moment {
        let tenths = now.saturating_duration_since(self.began).as_millis() / 100;
        Moment(u32::try_from(tenths).unwrap_or(u32::MAX))
    }

    fn shard(&self, key: u64) -> MutexGuard<'_, Generations> {
        self.shards[(key >> 48) as usize % SHARDS].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Generations {
    fn change(&mut self, key: u64, now: Moment, change: impl FnOnce(&mut Entry)) {
        let since = *self.since.get_or_insert(now);
        if !since.is_within(CONVERSATION_IDLE, now) {
            self.age(now);
        }
        if let Some(entry) = self.young.get_mut(&key) {
            entry.at = now;
            change(entry);
            return;
        }
        if self.young.len() >= PREFIXES_MAX / SHARDS / 2 {
            self.age(now);
        }
        let before = self.old.get(&key).copied();
        let mut entry = before.unwrap_or(Entry { at: now, by: 0, tokens: 0, kept: 0, head: 0, opening: 0 });
        entry.at = now;
        change(&mut entry);
        self.young.insert(key, entry);
    }

    /// Forgets the old ones, whose room is used again.
    fn age(&mut self, now: Moment) {
        std::mem::swap(&mut self.old, &mut self.young);
        self.young.clear();
        self.since = Some(now);
    }
}

impl Caching {
    /// How many tokens of a prompt its provider has in its cache once it has answered.
    fn kept(self, usage: &Usage) -> u64 {
        match self {
            Self::ByItself => usage.input_tokens,
            Self::Charged => usage
                .cached_input_tokens
                .saturating_add(usage.cache_write_tokens)
                .saturating_add(usage.cache_write_1h_tokens),
        }
    }
}

impl Moment {
    /// Whether less than `span` lies between it and `now`.
    fn is_within(self, span: Duration, now: Self) -> bool {
        u128::from(now.0.saturating_sub(self.0)) * 100 < span.as_millis()
    }
}

impl Met {
    /// The tokens of a call as they would have been at the baseline: all that its provider's cache would have had is
    /// read from it, and what was written besides stays so. `by` answered the call with this `usage`.
    ///
    /// A conversation that has not moved has the cached share that it had; one that has moved would have had the prompt
    /// that it extends. No less is cached than was: whoever warmed a model's cache would have warmed the baseline's.
    pub fn at_baseline(&self, chain: &Chain, by: &ModelRef, usage: Usage) -> Usage {
        let Some(Found { entry, extends }) = self.found.filter(|found| found.entry.by != short_hash_of(by)) else {
            return usage;
        };
        let expected = match (extends, entry.tokens) {
            (true, tokens) => u64::from(tokens).saturating_sub(ASKING_TOKENS),
            (false, 0) => share(chain, usage.input_tokens),
            (false, tokens) => tokens.into(),
        };
        cached(usage, cacheable(expected).max(usage.cached_input_tokens))
    }
}

impl Met {
    /// How many tokens an earlier prompt has in common with it, warm or not; `None`: nobody said.
    pub fn common_tokens(&self) -> Option<u64> {
        let found = self.found.map(|found| u64::from(found.entry.tokens));
        found.filter(|tokens| *tokens > 0)
    }

    /// The beginnings of this prompt and of the one before it, if those differ.
    pub fn sides(&self) -> Option<Sides> {
        let (entry, parted) = self.before?;
        let sides = || Sides { heads: [entry.head, half(self.head)], openings: [entry.opening, half(self.begins)] };
        (parted == Parted::Beginning).then(sides)
    }

    /// What broke the cached prefix of the conversation; none if it was read, was in no cache, or nobody knows how long it
    /// was. `last` is the prompt that was answered before.
    ///
    /// A conversation that the client moves to another model is not known to go on by its turns, only by how it begins:
    /// whatever became of its turns, nothing of them was in that model's cache.
    pub fn lost(&self, by: &ModelRef, usage: Usage, last: Option<Entry>) -> Option<Lost> {
        let (entry, parted) = self.before?;
        let by = short_hash_of(by);
        let (culprit, at_tokens) = match parted {
            Parted::Beginning if entry.head != half(self.head) => ("tools", None),
            Parted::Beginning => ("system", None),
            Parted::History if entry.by != by => ("model", Some(0)),
            Parted::History => ("history", None),
            Parted::Time => ("ttl", Some(0)),
            Parted::Nothing => match last.filter(|last| self.is_rewritten(&entry, last, &usage)) {
                Some(last) if last.by != by => return lost("model", &last, usage, Some(usage.cached_input_tokens)),
                Some(last) => return lost("history", &last, usage, Some(entry.tokens.into())),
                None if entry.by != by => ("model", Some(0)),
                None => ("provider", Some(usage.cached_input_tokens)),
            },
        };
        lost(culprit, &entry, usage, at_tokens)
    }

    /// Whether a prompt that extends an early one of its conversation leaves out what the last one went on with. Only a
    /// client that names its run or session can be held to that: others may begin several conversations alike. A prompt
    /// that is much shorter than the last one was rewritten in order to be.
    fn is_rewritten(&self, extended: &Entry, last: &Entry, usage: &Usage) -> bool {
        let begins_alike = (last.head, last.opening) == (half(self.head), half(self.begins));
        let is_longer = last.tokens > extended.tokens && usage.input_tokens >= u64::from(last.tokens) / 4 * 3;
        self.is_named && begins_alike && is_longer
    }
}

/// The prefix that a prompt left in its provider's cache, if it was not read as far as it is cacheable.
fn lost(culprit: &'static str, before: &Entry, usage: Usage, at_tokens: Option<u64>) -> Option<Lost> {
    let intact = cacheable(u64::from(before.tokens).saturating_sub(ASKING_TOKENS).min(before.kept.into()));
    let is_lost = intact.min(usage.input_tokens) > usage.cached_input_tokens;
    is_lost.then(|| Lost { culprit, intact: cached(usage, intact), at_tokens })
}

fn is_warm(entry: &Entry, now: Moment) -> bool {
    entry.at.is_within(WARM_PREFIX, now)
}

/// A conversation by its team, the run or session that its client names, and its first user turn: whatever stands before.
fn conversation(call: &CallFacts) -> u64 {
    let team = xxh3_64_with_seed(call.who.team.as_str().as_bytes(), call.view.outline.chain.asked);
    xxh3_64_with_seed(call.session.as_deref().unwrap_or_default().as_bytes(), team).max(1)
}

/// About how many tokens stand before the first user turn: tokens are spread over a prompt as its bytes are.
fn share(chain: &Chain, input_tokens: u64) -> u64 {
    let (before, all) = (chain.head.bytes + chain.bytes.0, chain.head.bytes + chain.bytes.1);
    let share = u128::from(input_tokens) * u128::from(before) / u128::from(all.max(1));
    u64::try_from(share).unwrap_or(u64::MAX)
}

/// How much of a prefix of so many tokens is cached.
fn cacheable(tokens: u64) -> u64 {
    if tokens < CACHED_PREFIX_TOKENS_MIN { 0 } else { tokens - tokens % CACHED_PREFIX_TOKENS_STEP }
}

/// The same tokens with so many read from the cache. What was read or written altogether stays as it was, unless that is
/// less.
fn cached(usage: Usage, cached: u64) -> Usage {
    let cached_input_tokens = cached.min(usage.input_tokens);
    let more = cached_input_tokens.saturating_sub(usage.cached_input_tokens);
    let of_5m = more.min(usage.cache_write_tokens);
    let of_1h = (more - of_5m).min(usage.cache_write_1h_tokens);
    Usage {
        cached_input_tokens,
        cache_write_tokens: usage.cache_write_tokens - of_5m,
        cache_write_1h_tokens: usage.cache_write_1h_tokens - of_1h,
        ..usage
    }
}

/// Never 0.
fn short_hash_of(model: &ModelRef) -> u32 {
    half(hash_of(model)).max(1)
}

/// Never 0.
fn hash_of(model: &ModelRef) -> u64 {
    xxh3_64_with_seed(model.model.as_str().as_bytes(), xxh3_64_with_seed(model.provider.as_str().as_bytes(), 0)).max(1)
}

#[cfg(test)]
#[path = "prefixes/tests.rs"]
mod tests;
