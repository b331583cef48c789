//! Kinds of work in general, whatever the trade: what requests and bullets are both described in.

use super::weights::{COLUMNS, Scores, Weights};
use crate::vectors::dot;

/// How much of a request is of each kind; the shares of the kinds that there are add up to 1.
#[derive(Clone, Debug)]
pub(super) struct Kinds(pub Scores);

/// For each kind, how likely it is that the best model is right where a light one is wrong, before there is evidence.
///
/// The difference, not the difficulty: what both can do, and what both fail at, belongs to the light one. Judged by
/// hand from public comparisons of large and small models by task; the ledger's own evidence replaces it.
const NEEDS_STRONG: &[(&str, f32)] = &[
    ("advice", 0.18),
    ("ambiguous_requirement", 0.45),
    ("answer_from_context", 0.10),
    ("architecture_design", 0.48),
    ("brainstorm", 0.12),
    ("business_writing", 0.12),
    ("change_summary", 0.08),
    ("chat_smalltalk", 0.02),
    ("classify_single", 0.06),
    ("code_explain", 0.15),
    ("code_fix", 0.38),
    ("code_refactor", 0.32),
    ("code_review", 0.35),
    ("code_write", 0.33),
    ("compare", 0.09),
    ("compare_options", 0.28),
    ("config_write", 0.25),
    ("convert_format", 0.06),
    ("creative_writing", 0.20),
    ("data_analysis", 0.30),
    ("data_quality", 0.20),
    ("dedupe_match", 0.15),
    ("docs_write", 0.15),
    ("exam_question", 0.28),
    ("explain_concept", 0.14),
    ("extract", 0.06),
    ("fact_check", 0.22),
    ("forecast_estimate", 0.32),
    ("formula_command", 0.18),
    ("grade_evaluate", 0.25),
    ("high_stakes_action", 0.50),
    ("how_to", 0.14),
    ("impact_lineage", 0.36),
    ("math", 0.35),
    ("multi_step_reasoning", 0.52),
    ("novel_failure", 0.55),
    ("opinion_judgement", 0.20),
    ("parse_categorise", 0.06),
    ("plan", 0.28),
    ("policy_application", 0.28),
    ("question_answer", 0.16),
    ("question_generation", 0.08),
    ("rewrite_edit", 0.06),
    ("risk_security_review", 0.40),
    ("roleplay", 0.12),
    ("root_cause", 0.42),
    ("sql_fix", 0.30),
    ("sql_write", 0.24),
    ("status_check", 0.05),
    ("summarise_structured", 0.08),
    ("summarise_text", 0.08),
    ("test_write", 0.24),
    ("title_keywords", 0.03),
    ("translate", 0.08),
    ("triage_next_step", 0.30),
    ("unsafe_or_refusable", 0.15),
    ("vague", 0.25),
    ("validate_check", 0.10),
];

impl Kinds {
    /// From the scores of a request.
    pub fn of(scores: &Scores) -> Self {
        let weights = Weights::built_in();
        let mut shares = *scores;
        let kinds = weights.kinds.len();
        let top = shares[..kinds].iter().copied().fold(f32::MIN, f32::max);
        let mut sum = 0.0;
        for share in &mut shares[..kinds] {
            *share = (weights.temperature * (*share - top)).exp();
            sum += *share;
        }
        shares[..kinds].iter_mut().for_each(|share| *share /= sum);
        shares[kinds..].fill(0.0);
        Self(shares)
    }

    /// The most likely ones, best first, with their shares.
    pub fn best(&self, count: usize) -> Vec<(&'static str, f32)> {
        let names = &Weights::built_in().kinds;
        let mut ranked: Vec<_> = names.iter().copied().zip(self.0).collect();
        ranked.sort_by(|a, b| b.1.total_cmp(&a.1));
        ranked.truncate(count);
        ranked
    }

    /// How likely it is that the best model is right where a light one is wrong.
    pub fn needs_strong(&self) -> f32 {
        dot(&self.0, needs_strong_by_column())
    }
}

fn needs_strong_by_column() -> &'static Scores {
    static PRIORS: std::sync::LazyLock<Scores> = std::sync::LazyLock::new(|| {
        let mut priors = [0.0; COLUMNS];
        for (prior, name) in priors.iter_mut().zip(&Weights::built_in().kinds) {
            *prior = NEEDS_STRONG.iter().find(|(kind, _)| kind == name).map_or(0.25, |(_, prior)| *prior);
        }
        priors
    });
    &PRIORS
}

#[cfg(test)]
mod tests {
    use super::super::Described;
    use super::*;

    #[track_caller]
    fn check(text: &str, kind: &str) {
        let kinds = Described::of_text(text).kinds;
        assert_eq!(kinds.best(1)[0].0, kind, "{text}: {:?}", kinds.best(3));
    }

    #[test]
    fn the_form_of_an_ask_tells_its_kind() {
        check("Translate this sentence into Portuguese: the meeting was moved to Thursday", "translate");
        check("write a SQL query that lists customers without an order in the last 90 days", "sql_write");
        check("hi there, how are you today?", "chat_smalltalk");
        check(
            "Which tables and dashboards downstream are affected if we drop the column region from orders?",
            "impact_lineage",
        );
    }

    /// Weights and features belong together: after a change of either alone hardly a request would be of its kind.
    #[test]
    fn requests_that_were_trained_on_are_nearly_all_of_their_kinds() {
        let lines = include_str!("../../models/corpus/requests/short-asks.jsonl").lines();
        let lines: Vec<serde_json::Value> = lines.map(|line| serde_json::from_str(line).expect("JSON")).collect();
        let is_right = |line: &&serde_json::Value| {
            let system = line["system"].as_str().expect("a text");
            let last_user = line["turns"][0]["text"].as_str().expect("a text");
            let request = super::super::Request { last_user, system, user_turns: 1, ..Default::default() };
            line["kind"] == Described::of(&request).kinds.best(1)[0].0
        };
        let right = lines.iter().filter(is_right).count();
        assert!(right * 10 > lines.len() * 9, "{right} of {}", lines.len());
    }

    #[test]
    fn every_kind_has_a_prior_and_every_prior_a_kind() {
        let kinds = &Weights::built_in().kinds;
        assert!(NEEDS_STRONG.iter().map(|(kind, _)| kind).eq(kinds), "{kinds:?}");
    }

    #[test]
    fn shares_add_up_to_one() {
        let kinds = Described::of_text("sort these by class").kinds;
        assert!((kinds.0.iter().sum::<f32>() - 1.0).abs() < 1e-4);
    }
}
