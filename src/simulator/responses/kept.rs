//! The responses that a provider keeps: what `store`, `previous_response_id` and the calls by id live on.

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;
use serde_json::{Value, json};

use super::render::frame;

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
    /// It was made as a stream.
    pub(super) is_streamed: bool,
}

impl Held {
    /// The events of its stream behind the one of that number, if it has any that can be asked for again.
    /// <https://platform.openai.com/docs/guides/background#streaming-a-background-response>
    pub(super) fn events(&self, starting_after: Option<u64>) -> Option<Vec<Bytes>> {
        if !self.is_streamed || self.response["background"] != true {
            return None;
        }
        let mut begun = self.response.clone();
        begun["status"] = "in_progress".into();
        begun["output"] = json!([]);
        for key in ["completed_at", "usage"] {
            begun[key] = Value::Null;
        }
        let last = if self.response["status"] == "incomplete" { "response.incomplete" } else { "response.completed" };
        let events = [("response.created", &begun), ("response.in_progress", &begun), (last, &self.response)];
        let numbered = (0_u64..).zip(events).filter(|(number, _)| starting_after.is_none_or(|after| *number > after));
        let framed = numbered
            .map(|(number, (kind, response))| frame(kind, json!({"response": response, "sequence_number": number})));
        Some(framed.collect())
    }
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
