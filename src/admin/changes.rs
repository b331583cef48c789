//! Changes of keys on behalf of the admin API: at once in force, and those that say so never twice: they go one after the other.
//!
//! The answer to a request with an `Idempotency-Key` is kept in memory for ten minutes, secret included, so that a client
//! whose connection broke gets it again. No file has it: after that, or a restart, the store still knows that the request
//! was done, and says which key it made.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use jiff::tz::TimeZone;
use serde_json::{Value, json};

use crate::keys::{Asked, KeysError, Made, Repeat, Store, Surroundings, Who};
use crate::limits::{ADMIN_ANSWERS_KEPT, ADMIN_ANSWERS_MAX};
use crate::server::Server;
use crate::telemetry::log::now_ms;

/// What is to be done.
pub(super) enum Change {
    /// Make a key.
    Create(Box<Asked>),
    /// Give it a new secret, with the old one beside it for a while.
    Rotate(String, std::time::Duration),
    /// Give it other terms.
    Update(String, Value),
    /// Revoke it.
    Revoke(String),
}

/// Remembers what was done, for whoever asks again.
#[derive(Default)]
pub struct Changing {
    answers: Mutex<VecDeque<(Repeat, Instant, Value)>>,
}

impl Changing {
    /// Makes a change and puts it in force; gives the answer. Waits for the disk: not for threads that serve.
    pub(super) fn change(
        &self,
        server: &Server,
        who: &Who,
        change: &Change,
        repeat: Option<&Repeat>,
    ) -> Result<Value, KeysError> {
        let Some(repeat) = repeat else { return Self::done(server, who, change, None) };
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        answers.retain(|(_, at, _)| at.elapsed() < ADMIN_ANSWERS_KEPT);
        if let Some((known, _, answer)) = answers.iter().find(|(known, ..)| known.token == repeat.token) {
            return if known == repeat { Ok(answer.clone()) } else { Err(KeysError::RepeatedOtherwise) };
        }
        let answer = Self::done(server, who, change, Some(repeat))?;
        if answers.len() >= ADMIN_ANSWERS_MAX {
            answers.pop_front();
        }
        answers.push_back((*repeat, Instant::now(), answer.clone()));
        Ok(answer)
    }

    fn done(server: &Server, who: &Who, change: &Change, repeat: Option<&Repeat>) -> Result<Value, KeysError> {
        let (path, now) = (server.gateway.config().ledger.keys_path(), now_ms());
        let mut store = match change {
            Change::Create(_) => Store::open_or_make(&path)?,
            Change::Rotate(name, _) | Change::Update(name, _) | Change::Revoke(name) => Store::open(&path)?
                .ok_or_else(|| KeysError::Unknown { name: crate::config::quoted(name), hint: String::new() })?,
        };
        let (action, key, secret) = match change {
            Change::Create(asked) => with_secret("create", store.create(asked, who, now, repeat)?),
            Change::Rotate(name, overlap) => with_secret("rotate", store.rotate(name, *overlap, who, now, repeat)?),
            Change::Update(name, patch) => {
                let config = server.gateway.config();
                let timezone = TimeZone::get(&config.timezone).unwrap_or(TimeZone::UTC);
                let around =
                    Surroundings { teams: &config.teams, keys: &config.keys, timezone: &timezone, now_ms: now };
                ("update", store.update(name, who, now, |key| key.patched(patch, around))?, None)
            }
            Change::Revoke(name) => ("revoke", store.revoke(name, who, now)?, None),
        };
        let accounts = server.gateway.accounts();
        // What cannot be put in force now is tried again by whoever watches the file.
        let warnings = server.keys.replace_stored(&server.gateway, || store.all());
        let warnings = warnings.unwrap_or_else(|error| vec![error.to_string()]);
        let fields = json!({ "action": action, "key": key.asked.name, "who": who.as_str(), "warnings": warnings });
        accounts.log.event("key_changed", &fields);
        let mut answer = json!({ "key": key.shown(now) });
        if let Some(secret) = secret {
            answer["secret"] = secret.into();
        }
        Ok(answer)
    }
}

fn with_secret(action: &'static str, made: Made) -> (&'static str, crate::keys::StoredKey, Option<String>) {
    (action, made.key, Some(made.secret.reveal().to_owned()))
}
