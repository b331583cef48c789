//! *attribute*: who pays, and what the call belongs to. A claim counts only within the key's grants.

use bytes::Bytes;
use globset::GlobMatcher;
use xxhash_rust::xxh3::xxh3_64;

use super::headers::Said;
use crate::call::Attribution;
use crate::config::Key;
use crate::ids::TeamId;
use crate::limits::NAME_BYTES_MAX;
use crate::prompt::view::{Claims, View};
use crate::task::Tier;

/// Who pays on loopback when nobody says otherwise.
pub(super) const DEFAULT_TEAM: &str = "default";

/// Weighs the claims: a header beats the body's metadata, that beats other gateways' headers, and those the key's defaults.
/// Also gives the tier that a header pins.
pub fn attribute(said: &Said, view: &View, body: &Bytes, key: Option<&Key>) -> (Attribution, Option<Tier>) {
    let mut claims = said.claims.clone();
    claims.merge(view.claims.clone());
    claims.merge(said.migrated.clone());
    let Claims { team, project, pipeline, user, run, task, prompt } = claims;
    let (mut ignored, mut unread) = (Vec::new(), said.unread.clone());
    let mut within = |claim: &'static str, value: Option<String>, grant: Option<&[GlobMatcher]>| {
        let value = value.map(name);
        if let (Some(value), Some(globs)) = (&value, grant)
            && !globs.iter().any(|glob| glob.is_match(value))
        {
            ignored.push(claim);
            return None;
        }
        value
    };
    let may = key.map(|key| &key.may);
    let defaults = key.map(|key| key.defaults.clone()).unwrap_or_default();
    let project = within("project", project, may.and_then(|may| may.projects.as_deref())).or(defaults.project);
    let pipeline = within("pipeline", pipeline, may.and_then(|may| may.pipelines.as_deref())).or(defaults.pipeline);
    let task = within("task", task, may.and_then(|may| may.tasks.as_deref()));
    let team = team_of(team, key, &mut ignored);
    let tier = pinned_tier(said.tier.as_deref(), key, &mut ignored, &mut unread);
    let prompt = prompt.map(prompt_name).or_else(|| Some(fingerprint(body.get(view.system_at.clone()?)?)));
    let who = Attribution {
        team,
        key: key.map(|key| key.id.clone()),
        project,
        pipeline,
        user: user.map(name),
        run: run.map(name),
        prompt,
        task,
        ignored,
        unread,
    };
    (who, tier)
}

fn team_of(claimed: Option<String>, key: Option<&Key>, ignored: &mut Vec<&'static str>) -> TeamId {
    let claimed = claimed.map(name);
    let Some(key) = key else { return TeamId::from(claimed.as_deref().unwrap_or(DEFAULT_TEAM)) };
    match claimed.map(|team| TeamId::from(&*team)) {
        Some(team) if team == key.team || key.may.teams.contains(&team) => team,
        Some(_) => {
            ignored.push("team");
            key.team.clone()
        }
        None => key.team.clone(),
    }
}

fn pinned_tier(
    said: Option<&str>,
    key: Option<&Key>,
    ignored: &mut Vec<&'static str>,
    unread: &mut Vec<&'static str>,
) -> Option<Tier> {
    let Some(said) = Tier::parse(said?) else {
        unread.push("tier");
        return None;
    };
    let granted = |tier: &Tier| key.and_then(|key| key.may.tiers.as_ref()).is_none_or(|tiers| tiers.contains(tier));
    let tier = Some(said).filter(granted);
    if tier.is_none() {
        ignored.push("tier");
    }
    tier
}

/// A name as rows and labels keep it: bounded, and without control characters that a terminal would obey.
pub(super) fn name(mut text: String) -> String {
    if text.len() > NAME_BYTES_MAX {
        let end = (0..=NAME_BYTES_MAX).rev().find(|&end| text.is_char_boundary(end)).unwrap_or(0);
        text.truncate(end);
    }
    if text.chars().any(char::is_control) {
        text = text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect();
    }
    text
}

/// A prompt's name if it is one (`[a-z0-9._-]{1,64}`), else a hash of it: text never becomes a label.
fn prompt_name(claimed: String) -> String {
    let is_name = (1..=64).contains(&claimed.len())
        && claimed.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'_' | b'-'));
    if is_name { claimed } else { format!("hash-{:016x}", xxh3_64(claimed.as_bytes())) }
}

/// Tells system prompts apart without keeping them.
fn fingerprint(system: &[u8]) -> String {
    format!("system-{:016x}", xxh3_64(system))
}

#[cfg(test)]
mod tests {
    use globset::Glob;

    use super::*;
    use crate::budget::Terms;
    use crate::config::Grants;
    use crate::ids::KeyId;

    fn globs(patterns: &[&str]) -> Option<Vec<GlobMatcher>> {
        Some(patterns.iter().map(|pattern| Glob::new(pattern).unwrap().compile_matcher()).collect())
    }

    fn key() -> Key {
        let may = Grants { projects: globs(&["orders*"]), tiers: Some(vec![Tier::Lightweight]), ..Grants::default() };
        let defaults = crate::config::KeyDefaults { project: Some("orders".into()), pipeline: None };
        let terms = Terms::default();
        Key { sha256: [0; 32], id: KeyId::from("k"), team: TeamId::from("data"), may, mode: None, defaults, terms }
    }

    fn said(team: &str, project: &str) -> Said {
        let claims = Claims { team: Some(team.into()), project: Some(project.into()), ..Claims::default() };
        Said { claims, tier: Some("frontier".into()), ..Said::default() }
    }

    #[test]
    fn a_key_may_not_claim_what_it_was_not_granted() {
        let (who, tier) = attribute(&said("other", "secret"), &View::default(), &Bytes::new(), Some(&key()));
        assert_eq!((who.team.as_str(), who.project.as_deref(), tier), ("data", Some("orders"), None));
        assert_eq!(who.ignored, ["project", "team", "tier"]);
    }

    #[test]
    fn a_tier_that_is_none_is_unknown_and_not_refused() {
        let said = Said { tier: Some("fronteer".into()), ..Said::default() };
        for key in [None, Some(key())] {
            let (who, tier) = attribute(&said, &View::default(), &Bytes::new(), key.as_ref());
            assert_eq!((tier, &*who.ignored, &*who.unread), (None, &[][..], &["tier"][..]));
        }
    }

    #[test]
    fn without_keys_claims_are_believed() {
        let (who, tier) = attribute(&said("other", "secret"), &View::default(), &Bytes::new(), None);
        assert_eq!((who.team.as_str(), who.project.as_deref(), tier), ("other", Some("secret"), Some(Tier::Frontier)));
        assert!(who.ignored.is_empty());
    }

    #[test]
    fn a_header_beats_the_body() {
        let mut view = View::default();
        view.claims.project = Some("from-body".into());
        view.claims.run = Some("run-from-body".into());
        let (who, _) = attribute(&said("t", "from-header"), &view, &Bytes::new(), None);
        assert_eq!((who.project.as_deref(), who.run.as_deref()), (Some("from-header"), Some("run-from-body")));
    }

    #[test]
    fn text_never_becomes_a_prompt_label() {
        assert_eq!(prompt_name("log-triage.v2".into()), "log-triage.v2");
        assert!(prompt_name("You are a helpful assistant".into()).starts_with("hash-"));
        let view = View { system_at: Some(0..4), ..View::default() };
        let (who, _) = attribute(&Said::default(), &view, &Bytes::from_static(b"\"hi\""), None);
        assert!(who.prompt.is_some_and(|prompt| prompt.starts_with("system-")));
    }

    #[test]
    fn names_are_bounded_and_hold_no_control_characters() {
        assert_eq!(name("a\u{1b}[31mb".into()), "a\u{fffd}[31mb");
        assert!(name("é".repeat(100)).len() <= NAME_BYTES_MAX);
    }
}
