//! Virtual keys that are made, rotated, changed and revoked while the gateway serves: an SQLite file of their own beside the ledger.
//!
//! The ledger has one owner, this file has several: the gateway, its admin API, and `farthing keys` at a prompt. Of a key's
//! secret only the SHA-256 is kept: 256 random bits cannot be searched for, so that a slow hash would only slow the door.
//! Every change is one transaction with its row in `audit`, which the database refuses to alter. Which keys open the door
//! is the business of `server`.

mod error;
mod patch;
mod schema;
mod secret;
mod store;
#[cfg(test)]
mod tests;
mod wanted;

use serde::Serialize;
use serde_json::{Value, json};

use crate::budget::Terms;
use crate::config::{Key, KeyDefaults, Mode, Secret};
use crate::ids::{KeyId, TeamId};

pub use error::KeysError;
pub use store::{AUDIT_ROWS_MAX, Repeat, Store};
pub use wanted::{May, Surroundings, Wanted, duration, moment};

/// Who changes keys, as the audit names them: `cli:<user of the system>` or `admin:<fingerprint of the admin key>`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Who(String);

impl Who {
    /// Somebody at a prompt.
    pub fn at_prompt(user: &str) -> Self {
        Self(format!("cli:{user}"))
    }

    /// Whoever holds this admin key: eight digits of its hash tell one from the next and give none away.
    pub fn holder_of(admin_key: &Secret) -> Self {
        Self(format!("admin:{}", &secret::hex(&secret::hash(admin_key.reveal().as_bytes()))[..8]))
    }

    /// As the audit has it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What a new key is to be: read, checked, and not yet made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Asked {
    /// Its public name, for ever: rows of the ledger carry it.
    pub name: String,
    /// Who pays.
    pub team: String,
    /// What requests may claim.
    pub may: May,
    /// Project of requests that claim none.
    pub project: Option<String>,
    /// Pipeline of requests that claim none.
    pub pipeline: Option<String>,
    /// Overrides the team's mode.
    pub mode: Option<Mode>,
    /// What it may spend, and how fast.
    pub terms: Terms,
    /// When it ends by itself, in milliseconds since the Unix epoch.
    pub expires_ms: Option<i64>,
}

/// A key as it is kept.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoredKey {
    /// What was asked for.
    pub asked: Asked,
    /// Its secrets, the one in force first, then those it had before.
    pub secrets: Vec<StoredSecret>,
    /// When it was made; this and the following in milliseconds since the Unix epoch.
    pub created_ms: i64,
    /// When it last got a new secret.
    pub rotated_ms: Option<i64>,
    /// When it was revoked, for good.
    pub revoked_ms: Option<i64>,
}

/// What is kept of a secret.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoredSecret {
    /// SHA-256 of its bytes.
    pub sha256: [u8; 32],
    /// Its first characters, by which people know it.
    pub prefix: String,
    /// Until when it opens the door; `None`: as long as the key does.
    pub until_ms: Option<i64>,
}

/// A key that was made or rotated, with its secret: shown once, kept nowhere.
#[derive(Clone, Debug)]
pub struct Made {
    /// As it is kept.
    pub key: StoredKey,
    /// What clients send.
    pub secret: Secret,
}

/// One change, as the audit has it.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct AuditRow {
    /// Counts changes from 1, without gaps.
    pub id: i64,
    /// When.
    pub at: String,
    /// Who, see [`Who`].
    pub who: String,
    /// `create`, `rotate`, `update` or `revoke`.
    pub action: String,
    /// The key's name.
    pub key: String,
    /// The key before; `null` where there was none.
    pub before: Value,
    /// The key after.
    pub after: Value,
}

/// Whether a key opens the door.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// It does.
    Active,
    /// Its time is over.
    Expired,
    /// It was revoked.
    Revoked,
}

impl State {
    /// As it is printed.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
        }
    }
}

impl StoredKey {
    /// Whether it opens the door at a moment.
    pub fn state(&self, now_ms: i64) -> State {
        match (self.revoked_ms, self.asked.expires_ms) {
            (Some(_), _) => State::Revoked,
            (None, Some(end)) if end <= now_ms => State::Expired,
            _ => State::Active,
        }
    }

    /// The first characters of the secret in force.
    pub fn prefix(&self) -> &str {
        self.secrets.first().map_or("", |secret| &secret.prefix)
    }

    /// The key as the door takes it.
    ///
    /// # Errors
    ///
    /// What of its grants this version does not read.
    pub fn at_the_door(&self) -> Result<Key, String> {
        let Asked { name, team, may, project, pipeline, mode, terms, .. } = &self.asked;
        Ok(Key {
            sha256: self.secrets.first().map(|secret| secret.sha256).unwrap_or_default(),
            id: KeyId::from(name.as_str()),
            team: TeamId::from(team.as_str()),
            may: may.grants()?,
            mode: *mode,
            defaults: KeyDefaults { project: project.clone(), pipeline: pipeline.clone() },
            terms: terms.clone(),
        })
    }

    /// The key as the admin API, `--format json` and the audit write it: everything but what opens the door.
    pub fn shown(&self, now_ms: i64) -> Value {
        let Asked { name, team, may, project, pipeline, mode, terms, expires_ms } = &self.asked;
        let old: Vec<Value> = self
            .secrets
            .iter()
            .skip(1)
            .filter(|secret| secret.until_ms.is_none_or(|until| until > now_ms))
            .map(|secret| json!({ "prefix": secret.prefix, "until": secret.until_ms.map(at) }))
            .collect();
        json!({
            "name": name, "prefix": self.prefix(), "team": team, "state": self.state(now_ms).as_str(), "may": may,
            "project": project, "pipeline": pipeline, "mode": mode.map(wanted::word_of),
            "budget": terms.budget, "limits": terms.limits,
            "created_at": at(self.created_ms), "expires_at": expires_ms.map(at),
            "rotated_at": self.rotated_ms.map(at), "revoked_at": self.revoked_ms.map(at), "old_secrets": old,
        })
    }
}

/// A moment as it is printed: RFC 3339 in UTC.
pub fn at(ms: i64) -> String {
    jiff::Timestamp::from_millisecond(ms).map(|at| at.to_string()).unwrap_or_default()
}
