//! The responses that a provider keeps: what `store`, `previous_response_id` and the calls by id live on.

use std::collections::{HashMap, VecDeque};

use serde_json::Value;

/// Most responses that are kept; the oldest go first.
const KEPT_MAX: usize = 1000;

/// One response that was stored.
#[derive(Clone, Debug)]
pub(super) struct Held {
    /// The response as it ended, or will end.
    pub(super) response: Value,
    /// What its own request had as input, an id for each item.
    pub(super) input: Vec<Value>,
    /// Everything that was said until its end: earlier responses, input and output.
    pub(super) context: Vec<Value>,
    /// It runs in the background, and nobody has asked for it since.
    pub(super) is_queued: bool,
}

/// The responses that are kept, by id.
#[derive(Debug, Default)]
pub(in crate::simulator) struct Kept {
    by_id: HashMap<String, Held>,
    order: VecDeque<String>,
}

impl Kept {
    pub(super) fn keep(&mut self, id: &str, held: Held) {
        self.by_id.insert(id.to_owned(), held);
        self.order.push_back(id.to_owned());
        while self.order.len() > KEPT_MAX {
            let Some(oldest) = self.order.pop_front() else { return };
            self.by_id.remove(&oldest);
        }
    }

    pub(super) fn find(&mut self, id: &str) -> Option<&mut Held> {
        self.by_id.get_mut(id)
    }

    pub(super) fn forget(&mut self, id: &str) -> bool {
        self.by_id.remove(id).is_some()
    }

    /// An item of any kept response by its own id.
    pub(super) fn item(&self, id: &str) -> Option<&Value> {
        self.by_id.values().flat_map(|held| &held.context).find(|item| item["id"] == id)
    }
}
