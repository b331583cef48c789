//! What a bullet of a policy means: how much of each general kind of work it covers, and what it is about.
//!
//! The prose is read whole and, where it lists several things, part by part. What nested examples add is `examples`'s
//! business.

use std::sync::LazyLock;

use regex_automata::meta::Regex;

use crate::policy::Task;
use crate::vectors::Vector;

use super::Described;
use super::features::describe_prose;
use super::kinds::Kinds;
use super::weights::{Scores, Weights};

/// A bullet, as requests are matched with it.
#[derive(Clone, Debug)]
pub(super) struct Bullet {
    /// From 0 to 1 for each kind.
    pub covers: Scores,
    /// The same, as matching counts it.
    pub weights: Scores,
    /// What its prose is about.
    pub about: Vector,
    /// Its examples, described as any request is.
    pub examples: Vec<Described>,
}

impl Bullet {
    /// Reads a task's prose and examples.
    pub fn of(task: &Task) -> Self {
        let examples = task.examples.iter().map(|text| Described::of_text(text)).collect();
        let covers = covered_by(&task.text);
        let weights = covers.map(|cover| cover.powf(Weights::built_in().matching.softness));
        Self { covers, weights, about: describe_prose(&task.text).ask, examples }
    }

    /// The kinds that it covers most.
    pub fn kinds(&self, count: usize) -> Vec<(&'static str, f32)> {
        Kinds(self.covers).best(count)
    }
}

/// How much of each kind a line of prose covers.
pub(super) fn covered_by(text: &str) -> Scores {
    let weights = Weights::built_in();
    let own = weights.bullets.scores(&describe_prose(text));
    let parts: Vec<Scores> = parts(text).iter().map(|part| weights.bullets.scores(&describe_prose(part))).collect();
    let top_of = |scores: &Scores| scores[..weights.kinds.len()].iter().copied().fold(1e-3, f32::max);
    let top = top_of(&own);
    let mut covers = [0.0; super::weights::COLUMNS];
    for (kind, cover) in covers[..weights.kinds.len()].iter_mut().enumerate() {
        let score = own[kind];
        let best = parts.iter().map(|part| part[kind]).reduce(f32::max).unwrap_or(score);
        let relative = parts.iter().map(|part| part[kind] / top_of(part)).reduce(f32::max).unwrap_or(score / top);
        let evidence = [score, score / top, (score / top).powi(3), top, best, relative.powi(3)];
        let sum: f32 = evidence.iter().zip(weights.cover).map(|(value, weight)| value * weight).sum();
        *cover = 1.0 / (1.0 + (-sum - weights.cover[6]).exp());
    }
    covers
}

/// The things that a line lists, if there are several.
fn parts(text: &str) -> Vec<String> {
    static ASIDE: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\([^)]*\)").expect("a valid pattern"));
    static BETWEEN: LazyLock<Regex> = LazyLock::new(|| Regex::new(r",|;|/|&|\band\b|\bor\b").expect("a valid pattern"));
    let mut plain = String::with_capacity(text.len());
    let mut end = 0;
    for aside in ASIDE.find_iter(text) {
        plain.push_str(&text[end..aside.start()]);
        end = aside.end();
    }
    plain.push_str(&text[end..]);
    let trimmed = |part: &str| part.trim_matches([' ', '.', ';', ':']).to_owned();
    let mut parts = Vec::new();
    let mut end = 0;
    for between in BETWEEN.find_iter(&plain) {
        parts.push(trimmed(&plain[end..between.start()]));
        end = between.end();
    }
    parts.push(trimmed(&plain[end..]));
    parts.retain(|part| part.chars().count() >= 4);
    if parts.len() > 1 { parts } else { Vec::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_cut_where_it_lists_things() {
        assert_eq!(
            parts("Routine health checks and format validation"),
            ["Routine health checks", "format validation"]
        );
        assert_eq!(parts("Log parsing (grouping, counting)"), Vec::<String>::new());
        assert_eq!(parts("Standards"), Vec::<String>::new());
    }

    #[track_caller]
    fn check(text: &str, kind: &str) {
        let kinds = Kinds(covered_by(text)).best(2);
        assert!(kinds.iter().any(|(name, _)| *name == kind), "{text}: {kinds:?}");
    }

    #[test]
    fn prose_says_which_kinds_it_means() {
        check("Log parsing and categorization", "parse_categorise");
        check("Translating product texts", "translate");
        check("Root cause analysis across multiple logs", "root_cause");
    }
}
