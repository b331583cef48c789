//! What a heading means: a tier, the examples, or prose.
//!
//! The first word decides. A heading that nearly names a tier is an error, since everything below it would be lost.

use crate::task::Tier;

/// The word of the section that holds a policy's tests.
pub(super) const EXAMPLES: &str = "examples";

/// What a heading means.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Meaning {
    /// The section of a tier.
    Tier(Tier),
    /// The section of the tests.
    Examples,
    /// Nothing.
    Prose,
    /// Probably something, and this is why it is nothing.
    NearMiss(String),
    /// The same if bullets stand below it; else prose.
    NearMissWithBullets(String),
    /// Prose, and yet somebody may wonder at what becomes of bullets below it.
    Doubtful(String),
}

/// Words that people use for a tier or for the examples.
const OTHER_WORDS: [(&str, &[&str]); 4] = [
    ("frontier", &["strong", "strongest", "large", "big", "premium", "flagship", "expensive", "smart"]),
    ("reasoning", &["thinking", "medium", "middle", "mid", "moderate"]),
    ("lightweight", &["light", "lite", "fast", "fastest", "quick", "cheap", "cheapest", "small", "mini"]),
    (EXAMPLES, &["tests", "test", "cases", "samples", "evals"]),
];
/// Words behind such a word that leave its meaning as it is.
const MEANINGLESS: [&str; 7] = ["", "model", "models", "tier", "tiers", "work", "tasks"];

/// What a heading of this level with this text means.
pub(super) fn meaning(level: usize, text: &str) -> Meaning {
    let mut words = text.split_whitespace().map(plain).filter(|word| !word.is_empty());
    let (first, second) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let known = Tier::ALL.map(Tier::as_str).into_iter().chain([EXAMPLES]);
    if let Some(word) = known.clone().find(|word| *word == first) {
        return match (Tier::parse(word), level) {
            (Some(tier), 2) => Meaning::Tier(tier),
            (None, 2) => Meaning::Examples,
            // A document may well be called `Reasoning about orders`.
            (_, 1) => {
                let shown = hashes(level, text);
                let message = format!("the bullets under `{shown}` are not read; wanted `#{shown}`");
                let is_sure = MEANINGLESS.contains(&second.as_str()) || text.contains(['(', ':', '–', '—']);
                if is_sure { Meaning::NearMissWithBullets(message) } else { Meaning::Doubtful(message) }
            }
            (None, _) if second.is_empty() => Meaning::NearMissWithBullets(format!(
                "the bullets under `{}` are no tests; wanted `## Examples`",
                hashes(level, text)
            )),
            (Some(_), _) => wrong(format!("`{}` begins with a tier; wanted `## {}`", hashes(level, text), text.trim())),
            (None, _) => Meaning::Prose,
        };
    }
    if level != 2 {
        return Meaning::Prose;
    }
    for word in known {
        let name = capitalised(word);
        // `Light weight`, `Light-weight`, `Frontiers`, `Frontier-model`.
        let is_parted = format!("{first}{second}") == word || first.replace('-', "") == word;
        let is_longer = first.starts_with(word);
        let is_misspelt = strsim::damerau_levenshtein(&first, word) <= if word.len() > 8 { 2 } else { 1 };
        if is_parted || is_longer || is_misspelt {
            let what = if word == EXAMPLES { "the examples" } else { "a tier" };
            return wrong(format!("`{}` nearly names {what}; wanted `{name}` as its first word", hashes(level, text)));
        }
    }
    // `The frontier model`, `Tier 1: frontier`, `1. Frontier`.
    let numbered = Tier::ALL.into_iter().find(|tier| {
        second == tier.as_str() && (matches!(first.as_str(), "the" | "tier" | "model" | "our") || is_number(&first))
    });
    let is_other = |words: &[&str]| words.contains(&first.as_str()) && MEANINGLESS.contains(&second.as_str());
    let other = OTHER_WORDS.iter().find(|(_, words)| is_other(words)).map(|(word, _)| *word);
    match numbered {
        None if matches!(second.as_str(), "model" | "models" | "tier") => wrong(format!(
            "`{}` names no tier; wanted `Frontier`, `Reasoning` or `Lightweight` as its first word",
            hashes(level, text)
        )),
        None if other.is_some() => Meaning::NearMissWithBullets(format!(
            "the bullets under `{}` are not read; wanted `## {}`",
            hashes(level, text),
            capitalised(other.unwrap_or_default())
        )),
        Some(tier) => wrong(format!(
            "`{}` has its tier in second place; wanted `{}` as its first word",
            hashes(level, text),
            capitalised(tier.as_str())
        )),
        None => Meaning::Prose,
    }
}

fn wrong(message: String) -> Meaning {
    Meaning::NearMiss(message)
}

/// The heading as it is written, cut.
fn hashes(level: usize, text: &str) -> String {
    const SHOWN_CHARS_MAX: usize = 40;
    let shown: String = text.chars().take(SHOWN_CHARS_MAX).collect();
    let rest = if text.chars().nth(SHOWN_CHARS_MAX).is_some() { "…" } else { "" };
    format!("{} {shown}{rest}", "#".repeat(level))
}

/// A word in lower case, without the punctuation around it.
fn plain(word: &str) -> String {
    word.trim_matches(|c: char| !c.is_alphanumeric()).to_lowercase()
}

fn is_number(word: &str) -> bool {
    !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit())
}

fn capitalised(word: &str) -> String {
    let mut rest = word.chars();
    rest.next().map_or_else(String::new, |first| first.to_uppercase().chain(rest).collect())
}
