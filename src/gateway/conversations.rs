//! Conversations that are under way: which policy version each began with, and which models know its prefix.
//!
//! A conversation is what the client says it is (a run or session that it names in a header), else the requests of one
//! tenant each of which extends an earlier one's messages, within the same `prompt_cache_key` where there is one. A key
//! alone names no conversation: clients use one for all requests that share a prefix. Memory is bounded: two generations
//! of small entries, of which the older is dropped whole when the younger is full or the idle time has passed.

mod remembered;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::live::InForce;
use crate::call::CallFacts;
use crate::hashed::ByHash;
use crate::limits::{CONVERSATION_IDLE, CONVERSATION_POLICY_MAX, CONVERSATIONS_MAX, WARM_PREFIX};
use crate::plan::ModelRef;
use crate::route::warm::{Held, Warm};
use crate::task::Tier;

use remembered::{Entry, Known, Moment, Names, Ruled};

/// Maps that are locked apart.
const SHARDS: usize = 16;
/// Most entries of one generation of a shard.
const GENERATION_MAX: usize = CONVERSATIONS_MAX / SHARDS / 2;

/// All conversations of the process.
pub struct Conversations {
    shards: [Mutex<Generations>; SHARDS],
    names: Names,
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

/// Where a request stands in its conversation.
pub struct Place {
    /// The conversation, hashed; `None`: the request has no messages.
    pub id: Option<u64>,
    /// Where what comes of it is remembered.
    key: u64,
    /// Whose it is.
    tenant: u64,
    /// Its first user turn.
    anchor: u64,
    entry: Option<Entry>,
    ruled: Option<Ruled>,
    reached: Option<Tier>,
    /// It has kept its policy version for too long.
    is_long: bool,
}

impl Place {
    /// Outside of all conversations.
    pub fn nowhere() -> Self {
        Self { id: None, key: 0, tenant: 0, anchor: 0, entry: None, ruled: None, reached: None, is_long: false }
    }

    /// The policy version that the conversation began with, if it is under way and has not had that for too long.
    pub fn policy(&self) -> Option<&Arc<InForce>> {
        self.entry.as_ref().filter(|_| !self.is_long).map(|entry| &entry.policy)
    }

    /// The rule that an earlier step of the last of `user_turns` matched.
    pub fn ruled(&self, user_turns: u32) -> Option<usize> {
        self.entry.as_ref()?.ruled?.in_turn(user_turns)
    }

    /// Notes the rule that this step matches.
    pub fn rule(&mut self, rule: Option<usize>, user_turns: u32) {
        self.ruled = rule.and_then(|rule| Ruled::new(rule, user_turns));
    }

    /// The dearest tier that any of its work belongs in.
    pub fn reached(&self) -> Option<Tier> {
        self.reached
    }

    /// Notes that some of it belongs in this one.
    pub fn reach(&mut self, tier: Tier) {
        self.reached = Some(tier);
    }
}

impl Default for Conversations {
    fn default() -> Self {
        Self { shards: Default::default(), names: Names::default(), began: Instant::now() }
    }
}

impl Conversations {
    /// Finds the conversation that a request belongs to.
    pub fn locate(&self, call: &CallFacts, now: Instant) -> Place {
        let (tenant, chain, now) = (tenant(call), &call.view.outline.chain, self.moment(now));
        let place = |key, id, entry: Option<Entry>| {
            let (reached, began) = entry.as_ref().map_or((None, None), |entry| (entry.reached, Some(entry.began)));
            let is_long = began.is_some_and(|began| !began.is_within(CONVERSATION_POLICY_MAX, now));
            Place { id: Some(id), key, tenant, anchor: chain.anchor, entry, ruled: None, reached, is_long }
        };
        if call.view.messages == 0 {
            return Place::nowhere();
        }
        if let Some(name) = &call.session {
            let key = xxh3_64_with_seed(name.as_bytes(), tenant);
            return place(key, key, self.get(key, tenant, now));
        }
        let scope = call.view.cache_key.as_ref().map_or(tenant, |key| xxh3_64_with_seed(key.as_bytes(), tenant));
        let key_of = |link: u64| xxh3_64_with_seed(&link.to_le_bytes(), scope);
        let key = key_of(chain.last());
        match chain.earlier().find_map(|link| self.get(key_of(link), tenant, now)) {
            Some(entry) => place(key, entry.id, Some(entry)),
            // Its own id, so that conversations that begin alike are told apart.
            None => place(key, xxh3_64_with_seed(call.id.0.as_bytes(), key), None),
        }
    }

    /// Where the conversation of a place has been, as of `now`.
    pub fn held(&self, place: &Place, now: Instant) -> Held {
        let Some(entry) = &place.entry else { return Held::default() };
        let now = self.moment(now);
        let models = entry.models.map(|known| {
            let Known { model, tokens, since } = known?;
            let is_warm = entry.anchor == place.anchor && since.is_within(WARM_PREFIX, now);
            Some(Warm { model: self.names.model(model)?, tokens: if is_warm { tokens.into() } else { 0 } })
        });
        Held { tier: entry.last, models, ..Held::default() }
    }

    /// Remembers that `model` of `tier` answered with a prompt of about so many tokens.
    pub fn answered(
        &self,
        place: Place,
        policy: &Arc<InForce>,
        tier: Option<Tier>,
        (model, tokens): (&ModelRef, u64),
        now: Instant,
    ) {
        let Place { id: Some(id), key, tenant, anchor, entry, ruled, reached, is_long } = place else { return };
        let now = self.moment(now);
        let began = entry.as_ref().filter(|_| !is_long).map_or(now, |entry| entry.began);
        let (mut models, last) = match entry {
            // Another prefix than before: what was warm is of no use.
            Some(entry) if entry.anchor != anchor => {
                (entry.models.map(|known| Some(Known { tokens: 0, ..known? })), entry.last)
            }
            Some(entry) => (entry.models, entry.last),
            None => Default::default(),
        };
        if let Some(tier) = tier {
            let tokens = u32::try_from(tokens).unwrap_or(u32::MAX);
            models[tier as usize] = self.names.number(model).map(|model| Known { model, tokens, since: now });
        }
        let (policy, last) = (Arc::clone(policy), tier.or(last));
        let entry = Entry { tenant, id, seen: now, began, policy, anchor, ruled, last, reached, models };
        self.shard(key).put(key, entry, now);
    }

    fn get(&self, key: u64, tenant: u64, now: Moment) -> Option<Entry> {
        let shard = self.shard(key);
        let entry = shard.young.get(&key).or_else(|| shard.old.get(&key))?;
        let is_current = entry.tenant == tenant && entry.seen.is_within(CONVERSATION_IDLE, now);
        is_current.then(|| entry.clone())
    }

    fn shard(&self, key: u64) -> MutexGuard<'_, Generations> {
        // Neither of the ends of a key, by which the maps find their places.
        self.shards[(key >> 48) as usize % SHARDS].lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn moment(&self, now: Instant) -> Moment {
        Moment::after(now.saturating_duration_since(self.began))
    }
}

impl Generations {
    fn put(&mut self, key: u64, entry: Entry, now: Moment) {
        let since = *self.since.get_or_insert(now);
        let is_full = self.young.len() >= GENERATION_MAX && !self.young.contains_key(&key);
        if is_full || !since.is_within(CONVERSATION_IDLE, now) {
            // The room of those that go is used again.
            std::mem::swap(&mut self.old, &mut self.young);
            self.young.clear();
            self.since = Some(now);
        }
        self.young.insert(key, entry);
    }
}

/// Whoever may share a conversation: the same key of the same team, for the same project and pipeline.
fn tenant(call: &CallFacts) -> u64 {
    let who = &call.who;
    let key = who.key.as_ref().map(|key| key.as_str());
    let names = [Some(who.team.as_str()), key, who.project.as_deref(), who.pipeline.as_deref()];
    names.into_iter().fold(0, |hash, name| match name {
        Some(name) => xxh3_64_with_seed(name.as_bytes(), !hash),
        None => xxh3_64_with_seed(&[], hash),
    })
}

#[cfg(test)]
mod tests;
