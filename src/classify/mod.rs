//! Which kind of a policy's work a request is, and how sure that is.
//!
//! A checked policy is compiled once; a request's texts, decoded and clipped, come in; the task with its confidence goes
//! out. This knows a request that says word for word what the policy says; of any other it is unsure.

use std::collections::HashMap;

use crate::policy::Policy;
use crate::task::Tier;

/// What a policy's tasks are recognised by.
#[derive(Clone, Debug)]
pub struct Classifier {
    default: Tier,
    /// By the folded words of their texts and examples.
    tasks: HashMap<String, (u32, Tier)>,
}

/// What of a request is read: texts already decoded and clipped.
#[derive(Clone, Copy, Debug, Default)]
pub struct Request<'a> {
    /// The last user turn.
    pub last_user: &'a str,
    /// The user turn before it.
    pub previous_user: Option<&'a str>,
    /// What the system and developer messages say.
    pub system: &'a str,
    /// The newest tool results after the last user turn, in their order.
    pub tool_results: &'a [&'a str],
    /// Names of the tools that are offered.
    pub tools: &'a [&'a str],
    /// Whether the answer must be JSON.
    pub wants_json: bool,
    /// How many user turns there are.
    pub user_turns: u32,
    /// Whether there are images.
    pub has_images: bool,
}

/// What a request was taken for.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Classified {
    /// Index into the policy's tasks; `None`: none of them.
    pub task: Option<u32>,
    /// That task's tier, or the policy's default.
    pub tier: Tier,
    /// From 0 to 1.
    pub confidence: f32,
    /// Probability that a stronger model is right where the lightweight one is wrong.
    pub needs_strong: f32,
    /// No task is likely enough.
    pub ambiguous: bool,
}

impl Classifier {
    /// Prepares a policy's tasks.
    pub fn compile(policy: &Policy) -> Self {
        let mut tasks = HashMap::new();
        for (index, task) in (0..).zip(&policy.tasks) {
            for text in std::iter::once(&task.text).chain(&task.examples) {
                tasks.entry(folded(text)).or_insert((index, task.tier));
            }
        }
        Self { default: policy.default, tasks }
    }

    /// Says which task a request is.
    pub fn classify(&self, request: &Request<'_>) -> Classified {
        match self.tasks.get(&folded(request.last_user)) {
            Some(&(task, tier)) => {
                let needs_strong = if tier == Tier::Lightweight { 0.0 } else { 1.0 };
                Classified { task: Some(task), tier, confidence: 1.0, needs_strong, ambiguous: false }
            }
            None => Classified { task: None, tier: self.default, confidence: 0.0, needs_strong: 1.0, ambiguous: true },
        }
    }
}

/// Lower case, one space between words.
fn folded(text: &str) -> String {
    text.split_whitespace().map(str::to_lowercase).collect::<Vec<_>>().join(" ")
}
