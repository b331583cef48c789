//! What a policy says word for word: a request with the text of a bullet or of an example nested under one belongs to
//! that bullet's task, whatever else it is like.
//!
//! Case, punctuation and numbers make no difference, nor does what is pasted below the ask or behind its colon. Words
//! that two tasks have decide for neither. Made when a policy is compiled; a look into a map for each request.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use crate::policy::Policy;

use super::features::wording;
use super::shape::shape_of;

/// How much of the shares a task has whose words the request repeats.
pub(super) const CERTAIN: f32 = 0.99;
/// Requests up to so many bytes may be an example as a whole, whatever of them is material.
const WHOLE_BYTES_MAX: usize = 600;
/// Words in front of a colon that say enough to be an example's.
const LEAD_WORDS_MIN: usize = 3;

/// The ways in which a request can repeat an example: its ask, all of it, what stands before its colon. 0: not at all.
pub(super) type Wording = [u64; 3];

/// Whose words they are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Owner {
    Task(usize),
    Several,
}

/// Two tasks that claim the same words.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Dispute {
    /// The words, as the later task has them.
    pub text: String,
    /// The earlier task, as an index into [`Policy::tasks`].
    pub earlier: usize,
    /// The later one.
    pub later: usize,
}

/// All words of a policy.
#[derive(Clone, Default, Debug)]
pub(super) struct Wordings(HashMap<u64, Owner>);

impl Wordings {
    /// Those of a policy's bullets and examples.
    pub fn of(policy: &Policy) -> Self {
        let mut owners: HashMap<u64, Owner> = HashMap::new();
        for (task, text) in texts(policy) {
            for words in [wording(text), lead(text)].into_iter().filter(|words| *words != 0) {
                match owners.entry(words) {
                    Entry::Occupied(mut held) if *held.get() != Owner::Task(task) => {
                        held.insert(Owner::Several);
                    }
                    Entry::Occupied(_) => {}
                    Entry::Vacant(free) => {
                        free.insert(Owner::Task(task));
                    }
                }
            }
        }
        Self(owners)
    }

    /// The task whose words a request repeats.
    pub fn task(&self, request: &Wording) -> Option<usize> {
        self.owner(request).and_then(|owner| match owner {
            Owner::Task(task) => Some(task),
            Owner::Several => None,
        })
    }

    /// Whether a request would belong to whatever task it is nested under: its words are nobody's yet.
    pub fn are_free(&self, request: &Wording) -> bool {
        request.iter().any(|words| *words != 0) && self.owner(request).is_none()
    }

    fn owner(&self, request: &Wording) -> Option<Owner> {
        request.iter().filter(|words| **words != 0).find_map(|words| self.0.get(words).copied())
    }
}

/// Words that two tasks of a policy have, each once.
pub fn disputes(policy: &Policy) -> Vec<Dispute> {
    let mut owners: HashMap<u64, usize> = HashMap::new();
    let mut disputes = Vec::new();
    for (task, text) in texts(policy) {
        let words = wording(text);
        match owners.get(&words) {
            _ if words == 0 => {}
            Some(earlier) if *earlier != task => {
                disputes.push(Dispute { text: text.to_owned(), earlier: *earlier, later: task });
            }
            Some(_) => {}
            None => {
                owners.insert(words, task);
            }
        }
    }
    disputes
}

/// What a request's words are. `ask` is the wording of its prose, which is all that it has unless something is attached.
pub(super) fn wording_of(turn: &str, ask: u64, has_material: bool) -> Wording {
    let whole = match turn.len() <= WHOLE_BYTES_MAX {
        true if has_material => wording(turn),
        true => ask,
        false => 0,
    };
    [ask, whole, pasted_lead(turn, ask)]
}

/// What stands before the colon of the first line, if what is behind it was pasted, and nothing else is asked.
fn pasted_lead(turn: &str, ask: u64) -> u64 {
    let first = turn.trim_start().lines().next().unwrap_or_default();
    let Some((_, pasted)) = first.split_once(": ") else { return 0 };
    let is_all = ask == 0 || ask == wording(first);
    if is_all && !shape_of(pasted).is_prose() { lead(first) } else { 0 }
}

/// What stands before the colon of an example that pastes something behind it.
fn lead(text: &str) -> u64 {
    let Some((lead, pasted)) = text.split_once(": ") else { return 0 };
    let says_enough = lead.split_whitespace().nth(LEAD_WORDS_MIN - 1).is_some();
    if says_enough && !shape_of(pasted).is_prose() { wording(lead) } else { 0 }
}

/// Texts of tasks and of their examples, and of tasks without what stands in parentheses at their end.
fn texts(policy: &Policy) -> impl Iterator<Item = (usize, &str)> {
    policy.tasks.iter().enumerate().flat_map(|(index, task)| {
        let bare = task.text.split_once(" (").filter(|(_, aside)| aside.ends_with(')')).map(|(bare, _)| bare);
        let all = std::iter::once(&*task.text).chain(bare).chain(task.examples.iter().map(String::as_str));
        all.map(move |text| (index, text))
    })
}
