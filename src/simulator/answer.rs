//! What a model generates for one request: deltas of one token each, cut at the output limit.
//!
//! A [`Generation`] is decided before the first byte leaves, so that the same figures make the usage
//! block and the invoice. `render` writes it as JSON, `play` sends it at the right pace.

use std::ops::Range;

use super::script::{Answer, Habits, LimitKeeping, ReasoningReport, Thought, ToolCall};
use super::tokenizer::{count, tokens};

/// Most tokens of a shown thought that nobody scripted.
const SHOWN_TOKENS_MAX: u64 = 24;

/// One streamed piece: exactly one token.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Delta {
    /// These bytes of the text.
    Text(Range<usize>),
    /// These bytes of the refusal.
    Refusal(Range<usize>),
    /// The id and name of a call; counted as one token.
    CallStart(usize),
    /// These bytes of a call's arguments.
    Arguments(usize, Range<usize>),
}

/// Why a choice ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Finish {
    Stop,
    Length,
    ToolCalls,
}

impl Finish {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Length => "length",
            Self::ToolCalls => "tool_calls",
        }
    }
}

/// One choice of an answer.
#[derive(Clone, Debug)]
pub(super) struct Choice {
    pub(super) answer: Answer,
    pub(super) deltas: Vec<Delta>,
    pub(super) finish: Finish,
    reasoning: u64,
}

/// All choices of an answer and what they used.
#[derive(Clone, Debug)]
pub(super) struct Generation {
    pub(super) choices: Vec<Choice>,
    /// Reasoning tokens of all choices.
    pub(super) reasoning: u64,
    /// Whether the usage shows them.
    pub(super) reasoning_report: ReasoningReport,
}

impl Generation {
    /// Generates `answers`, keeping `limit` for each choice unless the model's habit is not to.
    pub(super) fn of(answers: Vec<Answer>, limit: Option<u64>, reasoning: u64, habits: &Habits) -> Self {
        let limit = if habits.limits == LimitKeeping::Ignores { None } else { limit };
        let choices: Vec<_> = answers.into_iter().map(|answer| Choice::of(answer, limit, reasoning)).collect();
        let reasoning = choices.iter().map(|choice| choice.reasoning).sum();
        Self { choices, reasoning, reasoning_report: habits.reasoning_report }
    }

    /// All output tokens, reasoning included, as they are billed.
    pub(super) fn output_tokens(&self) -> u64 {
        self.reasoning + self.choices.iter().map(|choice| choice.deltas.len() as u64).sum::<u64>()
    }

    /// Output and reasoning tokens as the usage shows them.
    pub(super) fn reported_tokens(&self) -> (u64, u64) {
        match self.reasoning_report {
            ReasoningReport::Reported => (self.output_tokens(), self.reasoning),
            ReasoningReport::Hidden => (self.output_tokens() - self.reasoning, 0),
        }
    }
}

impl Choice {
    fn of(answer: Answer, limit: Option<u64>, reasoning: u64) -> Self {
        let reasoning = reasoning.min(limit.unwrap_or(u64::MAX));
        let left = limit.map_or(usize::MAX, |limit| usize::try_from(limit - reasoning).unwrap_or(usize::MAX));
        let mut deltas = deltas(&answer);
        let finish = match (deltas.len() > left, answer.calls.is_empty()) {
            (true, _) => Finish::Length,
            (false, true) => Finish::Stop,
            (false, false) => Finish::ToolCalls,
        };
        deltas.truncate(left);
        Self { answer, deltas, finish, reasoning }
    }

    /// What was generated, as one answer.
    pub(super) fn said(&self) -> Answer {
        let mut said = Answer::default();
        for delta in &self.deltas {
            match delta {
                Delta::Text(_) => said.text.get_or_insert_default().push_str(self.piece(delta)),
                Delta::Refusal(_) => said.refusal.get_or_insert_default().push_str(self.piece(delta)),
                Delta::CallStart(call) => {
                    said.calls.push(ToolCall { arguments: String::new(), ..self.answer.calls[*call].clone() });
                }
                Delta::Arguments(call, _) => said.calls[*call].arguments.push_str(self.piece(delta)),
            }
        }
        if said.refusal.is_none() && said.calls.is_empty() {
            said.text.get_or_insert_default();
        }
        said
    }

    /// The text of one delta; empty for the start of a call.
    pub(super) fn piece(&self, delta: &Delta) -> &str {
        match delta {
            Delta::Text(range) => &self.answer.text.as_deref().unwrap_or_default()[range.clone()],
            Delta::Refusal(range) => &self.answer.refusal.as_deref().unwrap_or_default()[range.clone()],
            Delta::CallStart(_) => "",
            Delta::Arguments(call, range) => &self.answer.calls[*call].arguments[range.clone()],
        }
    }
}

fn deltas(answer: &Answer) -> Vec<Delta> {
    let mut deltas = Vec::new();
    deltas.extend(answer.text.iter().flat_map(|text| ranges(text)).map(Delta::Text));
    deltas.extend(answer.refusal.iter().flat_map(|text| ranges(text)).map(Delta::Refusal));
    for (index, call) in answer.calls.iter().enumerate() {
        deltas.push(Delta::CallStart(index));
        deltas.extend(ranges(&call.arguments).map(|range| Delta::Arguments(index, range)));
    }
    deltas
}

fn ranges(text: &str) -> impl Iterator<Item = Range<usize>> + '_ {
    let mut start = 0;
    tokens(text).map(move |token| {
        let range = start..start + token.len();
        start = range.end;
        range
    })
}

/// The thought that is shown: the scripted one, or a few words of one that is only counted.
pub(super) fn shown_thought(answer: &Answer, reasoning: u64, report: ReasoningReport) -> Option<Thought> {
    if reasoning == 0 || report == ReasoningReport::Hidden {
        return None;
    }
    let made_up = || Thought { text: words(reasoning.min(SHOWN_TOKENS_MAX)), redacted: false };
    Some(answer.thought.clone().unwrap_or_else(made_up))
}

/// A text of exactly `count` tokens.
pub(super) fn words(total: u64) -> String {
    const WORDS: [&str; 8] = [" row", " by", " row", " the", " batch", " was", " read", " again"];
    let text: String = WORDS.iter().cycle().take(usize::try_from(total).unwrap_or(usize::MAX)).copied().collect();
    debug_assert_eq!(count(&text), total);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn generate(answer: Answer, limit: Option<u64>, habits: Habits) -> Generation {
        Generation::of(vec![answer], limit, habits.reasoning, &habits)
    }

    #[track_caller]
    fn check(habits: Habits, limit: Option<u64>, text: &str, finish: Finish, billed: u64, reported: (u64, u64)) {
        let generation = generate(Answer::text("the job failed again"), limit, habits);
        let choice = &generation.choices[0];
        assert_eq!((choice.said().text.as_deref(), choice.finish), (Some(text), finish));
        assert_eq!((generation.output_tokens(), generation.reported_tokens()), (billed, reported));
    }

    #[test]
    fn the_limit_is_kept_and_includes_reasoning() {
        let thinks = Habits { reasoning: 10, ..Habits::default() };
        check(Habits::default(), None, "the job failed again", Finish::Stop, 4, (4, 0));
        check(Habits::default(), Some(4), "the job failed again", Finish::Stop, 4, (4, 0));
        check(Habits::default(), Some(2), "the job", Finish::Length, 2, (2, 0));
        check(thinks, Some(12), "the job", Finish::Length, 12, (12, 10));
        check(thinks, Some(7), "", Finish::Length, 7, (7, 7));
    }

    #[test]
    fn bad_habits_ignore_the_limit_and_hide_reasoning() {
        let ignores = Habits { limits: LimitKeeping::Ignores, ..Habits::default() };
        let hides = Habits { reasoning: 10, reasoning_report: ReasoningReport::Hidden, ..Habits::default() };
        check(ignores, Some(2), "the job failed again", Finish::Stop, 4, (4, 0));
        check(hides, None, "the job failed again", Finish::Stop, 14, (4, 0));
    }

    #[test]
    fn a_call_cut_by_the_limit_keeps_what_was_written() {
        let call = Answer::calls([("read_log", serde_json::json!({"task": "load"}))]);
        let generation = generate(call, Some(3), Habits::default());
        let said = generation.choices[0].said();
        assert_eq!((said.calls[0].arguments.as_str(), said.text), ("{\"task", None));
        assert_eq!(generation.choices[0].finish, Finish::Length);
    }
}
