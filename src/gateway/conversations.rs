//! Conversations that are under way: which policy version each began with, and which models know its prefix.
//!
//! A conversation is what the client says it is (a run or session that it names in a header), else the requests of one
//! tenant each of which extends an earlier one's messages, within the same `prompt_cache_key` where there is one. A key
//! alone names no conversation: clients use one for all requests that share a prefix. Memory is bounded: two generations
//! of entries, of which the older is dropped whole when the younger is full or the idle time has passed.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use xxhash_rust::xxh3::{Xxh3, xxh3_64_with_seed};

use super::live::InForce;
use crate::call::CallFacts;
use crate::limits::{CONVERSATION_IDLE, CONVERSATIONS_MAX, WARM_PREFIX};
use crate::plan::ModelRef;
use crate::route::warm::{Held, Warm};
use crate::task::Tier;

/// Maps that are locked apart.
const SHARDS: usize = 16;

/// All conversations of the process.
#[derive(Default)]
pub struct Conversations {
    shards: [Mutex<Generations>; SHARDS],
}

#[derive(Default)]
struct Generations {
    young: HashMap<u64, Entry>,
    old: HashMap<u64, Entry>,
    /// When the young ones began to be.
    since: Option<Instant>,
}

/// What is remembered of one conversation.
#[derive(Clone)]
struct Entry {
    /// Whose it is: a hash that somebody else's request meets by its own making is no key to it.
    tenant: u64,
    id: u64,
    seen: Instant,
    policy: Arc<InForce>,
    /// The first user turn of the request that made the prefixes warm.
    anchor: u64,
    /// The rule that matched last, by its place, and how many user turns there were.
    ruled: Option<(usize, u32)>,
    last: Option<Tier>,
    /// The dearest tier that any of its work belongs in.
    reached: Option<Tier>,
    models: [Option<(ModelRef, u64, Instant)>; Tier::ALL.len()],
}

/// Where a request stands in its conversation.
pub struct Place {
    /// The conversation, hashed; `None`: the request has no messages.
    pub id: Option<u64>,
    /// Where what comes of it is remembered.
    key: u64,
    tenant: u64,
    anchor: u64,
    entry: Option<Entry>,
    ruled: Option<(usize, u32)>,
    reached: Option<Tier>,
}

impl Place {
    /// Outside of all conversations.
    pub fn nowhere() -> Self {
        Self { id: None, key: 0, tenant: 0, anchor: 0, entry: None, ruled: None, reached: None }
    }

    /// The policy version that the conversation began with, if it is under way.
    pub fn policy(&self) -> Option<&Arc<InForce>> {
        self.entry.as_ref().map(|entry| &entry.policy)
    }

    /// The rule that an earlier step of the last of `user_turns` matched.
    pub fn ruled(&self, user_turns: u32) -> Option<usize> {
        let (rule, turns) = self.entry.as_ref()?.ruled?;
        (turns == user_turns).then_some(rule)
    }

    /// Notes the rule that this step matches.
    pub fn rule(&mut self, rule: Option<usize>, user_turns: u32) {
        self.ruled = rule.map(|rule| (rule, user_turns));
    }

    /// The dearest tier that any of its work belongs in.
    pub fn reached(&self) -> Option<Tier> {
        self.reached
    }

    /// Notes that some of it belongs in this one.
    pub fn reach(&mut self, tier: Tier) {
        self.reached = Some(tier);
    }

    /// Where the conversation has been, as of `now`.
    pub fn held(&self, now: Instant) -> Held {
        let Some(entry) = &self.entry else { return Held::default() };
        let models = entry.models.clone().map(|known| {
            known.map(|(model, tokens, since)| {
                let is_warm = entry.anchor == self.anchor && now.duration_since(since) < WARM_PREFIX;
                Warm { model, tokens: if is_warm { tokens } else { 0 } }
            })
        });
        Held { tier: entry.last, models, rise: None }
    }
}

impl Conversations {
    /// Finds the conversation that a request belongs to.
    pub fn locate(&self, call: &CallFacts, now: Instant) -> Place {
        let (tenant, chain) = (tenant(call), &call.view.outline.chain);
        let place = |key, id, entry: Option<Entry>| {
            let reached = entry.as_ref().and_then(|entry| entry.reached);
            Place { id: Some(id), key, tenant, anchor: chain.anchor, entry, ruled: None, reached }
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

    /// Remembers that `model` of `tier` answered with a prompt of about so many tokens.
    pub fn answered(
        &self,
        place: Place,
        policy: &Arc<InForce>,
        tier: Option<Tier>,
        (model, tokens): (&ModelRef, u64),
        now: Instant,
    ) {
        let Place { id: Some(id), key, tenant, anchor, entry, ruled, reached } = place else { return };
        let models = match entry {
            // Another prefix than before: what was warm is of no use.
            Some(entry) if entry.anchor == anchor => (entry.models, entry.last),
            Some(entry) => (entry.models.map(|known| known.map(|(model, _, since)| (model, 0, since))), entry.last),
            None => Default::default(),
        };
        let (mut models, last) = models;
        if let Some(tier) = tier {
            models[tier as usize] = Some((model.clone(), tokens, now));
        }
        let (policy, last) = (Arc::clone(policy), tier.or(last));
        let entry = Entry { tenant, id, seen: now, policy, anchor, ruled, last, reached, models };
        self.shard(key).put(key, entry, now);
    }

    fn get(&self, key: u64, tenant: u64, now: Instant) -> Option<Entry> {
        let shard = self.shard(key);
        let entry = shard.young.get(&key).or_else(|| shard.old.get(&key))?;
        let is_current = entry.tenant == tenant && now.duration_since(entry.seen) < CONVERSATION_IDLE;
        is_current.then(|| entry.clone())
    }

    fn shard(&self, key: u64) -> std::sync::MutexGuard<'_, Generations> {
        self.shards[(key >> 60) as usize % SHARDS].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Generations {
    fn put(&mut self, key: u64, entry: Entry, now: Instant) {
        let since = *self.since.get_or_insert(now);
        let is_full = self.young.len() >= CONVERSATIONS_MAX / SHARDS / 2 && !self.young.contains_key(&key);
        if is_full || now.duration_since(since) >= CONVERSATION_IDLE {
            self.old = std::mem::take(&mut self.young);
            self.since = Some(now);
        }
        self.young.insert(key, entry);
    }
}

/// Whoever may share a conversation: the same key of the same team, for the same project and pipeline.
fn tenant(call: &CallFacts) -> u64 {
    let who = &call.who;
    let mut hash = Xxh3::new();
    let key = who.key.as_ref().map(|key| key.as_str());
    for name in [Some(who.team.as_str()), key, who.project.as_deref(), who.pipeline.as_deref()] {
        hash.update(&[u8::from(name.is_some())]);
        hash.update(name.unwrap_or_default().as_bytes());
        hash.update(&[0]);
    }
    hash.digest()
}

#[cfg(test)]
mod tests;
