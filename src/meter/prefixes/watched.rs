//! What the model that levers would have chosen would have had in its provider's cache, where levers only watch.
//!
//! The call went elsewhere, and what was read from a cache is what a conversation reads that stays where it is. Had levers
//! acted, the would-be model would have seen only those steps that they would have sent there. So the ends of prompts are
//! remembered a second time, with the model that each would have gone to: a step whose predecessor would have gone there too
//! has the cached share that it had, any other one no more than the last prompt that would have.

use std::time::Instant;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::{Entry, Prefixes, cacheable, hash_of, is_warm, share, short_hash_of};
use crate::call::CallFacts;
use crate::plan::ModelRef;
use crate::prompt::marks::half;
use crate::prompt::outline::Chain;
use crate::reply::usage::{Apart, Usage};

/// Keeps these entries apart from those of prompts by who did answer them.
const WATCHED: u64 = 0x7761_7463_6865_6400;

/// What a prompt has in common with those that would have gone to the same model.
#[derive(Clone, Copy, Debug)]
pub struct WouldMeet {
    /// Where the prompt itself is remembered, and what stands before its first user turn: with whichever model, and with
    /// this one; 0: nowhere.
    whole: u64,
    opened: u64,
    opened_here: u64,
    head: u32,
    by: u32,
    /// It extends a prompt that is remembered.
    extends: bool,
    warm: Warm,
}

/// How much of a prompt the would-be model's provider would have in its cache.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Warm {
    /// Nothing is remembered of what went before: as much as was read.
    AsItWas,
    /// So many tokens.
    Tokens(u64),
    /// What stands before the first user turn; how many tokens that is nobody said.
    Opening,
}

impl Prefixes {
    /// What a prompt that would have gone to `model` has in common with those that would have gone there before it.
    pub fn would_meet(&self, call: &CallFacts, model: &ModelRef, now: Instant) -> WouldMeet {
        let (chain, by) = (&call.view.outline.chain, short_hash_of(model));
        let head = half(chain.head.hash);
        let nowhere = WouldMeet { whole: 0, opened: 0, opened_here: 0, head, by, extends: false, warm: Warm::AsItWas };
        if call.view.messages == 0 {
            return nowhere;
        }
        let now = self.moment(now);
        let key = |link: u64| xxh3_64_with_seed(&link.to_le_bytes(), WATCHED);
        let opening = |scope: u64| match chain.opening {
            0 => 0,
            opening => xxh3_64_with_seed(&opening.to_le_bytes(), WATCHED ^ scope ^ chain.head.hash),
        };
        let (whole, opened, opened_here) = (key(chain.last()), opening(0), opening(hash_of(model)));
        let is_here = |entry: &Entry| entry.by == by && entry.head == head && is_warm(entry, now);
        let links = std::iter::once(chain.last()).chain(chain.earlier()).take_while(|link| *link != chain.opening);
        let (mut extends, mut extended) = (false, None);
        for entry in links.map(key).filter_map(|key| self.entry(key)) {
            extends = true;
            if is_here(&entry) {
                extended = Some(Warm::Tokens(entry.tokens.into()));
                break;
            }
        }
        let remembered = |key: u64| if key == 0 { None } else { self.entry(key) };
        let shared = || remembered(opened_here).filter(is_here).map(Warm::of_opening);
        let cold = || (extends || remembered(opened).is_some()).then_some(Warm::Tokens(0));
        let warm = extended.or_else(shared).or_else(cold).unwrap_or(Warm::AsItWas);
        WouldMeet { whole, opened, opened_here, extends, warm, ..nowhere }
    }

    /// Takes note of a prompt that was answered elsewhere with so many tokens.
    pub fn would_have_answered(&self, met: &WouldMeet, usage: &Usage, now: Instant) {
        let tokens_of = |tokens: u64| u32::try_from(tokens).unwrap_or(u32::MAX);
        let (now, tokens) = (self.moment(now), tokens_of(usage.input_tokens));
        let entry = Entry { at: now, by: met.by, tokens, kept: tokens, head: met.head, opening: 0 };
        // What a first step reads from a cache is what conversations of one agent share.
        let shared = if met.extends { 0 } else { tokens_of(usage.cached_input_tokens) };
        for key in [met.opened, met.opened_here].into_iter().filter(|key| *key != 0) {
            self.shard(key).change(key, now, |known| *known = Entry { tokens: known.tokens.max(shared), ..entry });
        }
        if met.whole != 0 {
            self.shard(met.whole).change(met.whole, now, |known| *known = entry);
        }
    }
}

impl Warm {
    fn of_opening(entry: Entry) -> Self {
        if entry.tokens == 0 { Self::Opening } else { Self::Tokens(entry.tokens.into()) }
    }
}

impl WouldMeet {
    /// The tokens of a call as they would have been at the would-be model. No more is read from a cache than was; what is
    /// read less is written to it where that is charged for.
    pub fn at(&self, chain: &Chain, usage: Usage, charges_writes: bool) -> Usage {
        let warm = match self.warm {
            Warm::AsItWas => return usage,
            Warm::Tokens(tokens) => tokens,
            Warm::Opening => share(chain, usage.input_tokens),
        };
        let Some(cold) = usage.cached_input_tokens.checked_sub(warm).filter(|cold| *cold > 0) else { return usage };
        let cached_input_tokens = cacheable(warm);
        let cold = cold + (warm - cached_input_tokens);
        let cached_audio_input_tokens = usage.apart.cached_audio_input_tokens.map(|of| of.min(cached_input_tokens));
        Usage {
            cached_input_tokens,
            cache_write_tokens: usage.cache_write_tokens + if charges_writes { cold } else { 0 },
            apart: Apart { cached_audio_input_tokens, ..usage.apart },
            ..usage
        }
    }
}

#[cfg(test)]
#[path = "watched/tests.rs"]
mod tests;
