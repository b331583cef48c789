//! Names of models: which provider rows an exact name leads to, in the order in which they are tried.
//!
//! If the first path segment of a name is a provider row and that row's patterns match the rest, it
//! is that row alone. Else the whole name is bare, and every row whose patterns match it serves it,
//! in file order. `auto` and tiers are not names of models; `route` knows them.

use globset::GlobMatcher;

use super::{Config, ProviderConfig};

/// A row and the name that its provider knows the model by.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// The row.
    pub provider: &'a ProviderConfig,
    /// The model, without the row's name.
    pub model: &'a str,
}

/// The targets of one name, in fallback order. Empty: no such model.
#[derive(Clone, Debug)]
pub struct Resolution<'a> {
    /// Set when the name began with a row that serves the rest.
    pinned: Option<Target<'a>>,
    /// Rows that are still to be asked for the bare name.
    rows: &'a [ProviderConfig],
    bare: &'a str,
}

impl<'a> Iterator for Resolution<'a> {
    type Item = Target<'a>;

    fn next(&mut self) -> Option<Target<'a>> {
        if let Some(target) = self.pinned.take() {
            return Some(target);
        }
        let at = self.rows.iter().position(|row| row.serves(self.bare))?;
        let provider = &self.rows[at];
        self.rows = &self.rows[at + 1..];
        Some(Target { provider, model: self.bare })
    }
}

impl ProviderConfig {
    /// Whether this row's patterns match a bare name.
    pub fn serves(&self, bare: &str) -> bool {
        self.models.iter().any(|pattern| covers(pattern, bare))
    }
}

/// Whether a pattern matches a name. Most are names themselves, and every request asks each row.
fn covers(pattern: &GlobMatcher, name: &str) -> bool {
    let text = pattern.glob().glob();
    let is_name = !text.bytes().any(|byte| matches!(byte, b'*' | b'?' | b'[' | b']' | b'{' | b'}' | b'!' | b'\\'));
    if is_name { text == name } else { pattern.is_match(name) }
}

impl Config {
    /// The targets that an exact name leads to; lazy, and without allocations of its own.
    pub fn resolve<'a>(&'a self, asked: &'a str) -> Resolution<'a> {
        resolve(&self.providers, asked)
    }

    /// The row of this name.
    pub fn provider(&self, name: &str) -> Option<&ProviderConfig> {
        self.providers.iter().find(|row| row.id.as_str() == name)
    }

    /// What payers may do.
    pub fn payers(&self) -> super::Payers {
        super::Payers { teams: self.teams.clone(), holding: self.holding }
    }

    /// The declared team of this name.
    pub fn team(&self, name: &str) -> Option<&super::Team> {
        self.teams.iter().find(|team| team.id.as_str() == name)
    }
}

/// [`Config::resolve`] while the rest of the configuration is still being checked.
pub(super) fn resolve<'a>(rows: &'a [ProviderConfig], asked: &'a str) -> Resolution<'a> {
    let pinned = asked.split_once('/').and_then(|(first, rest)| {
        let provider = rows.iter().find(|row| row.id.as_str() == first)?;
        provider.serves(rest).then_some(Target { provider, model: rest })
    });
    Resolution { rows: if pinned.is_some() { &[] } else { rows }, pinned, bare: asked }
}
