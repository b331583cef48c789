//! Answers that were given before, found again by what was said before them.
//!
//! The key is a hash of the whole conversation. A gateway may have rewritten older turns on the way
//! (compressed a paste, added a rule), so what was said since the last answer is a second key.

use std::collections::HashMap;
use std::sync::Arc;

use super::request::{Message, conversation_hash};
use super::script::{Answer, ToolCall};

/// Recorded answers by conversation.
#[derive(Clone, Debug, Default)]
pub struct Recordings {
    by_conversation: HashMap<u64, Arc<Answer>>,
    by_last_words: HashMap<u64, Arc<Answer>>,
}

impl Recordings {
    /// Remembers that `answer` was given after `before`; the first answer to a conversation stays.
    pub fn record(&mut self, before: &[Message], answer: Answer) {
        let answer = Arc::new(answer);
        self.by_conversation.entry(conversation_hash(before)).or_insert_with(|| Arc::clone(&answer));
        self.by_last_words.entry(conversation_hash(last_words(before))).or_insert(answer);
    }

    /// The answer to exactly this conversation, else to one that ended in the same words.
    pub fn find(&self, messages: &[Message]) -> Option<&Answer> {
        let whole = || self.by_conversation.get(&conversation_hash(messages));
        whole().or_else(|| self.by_last_words.get(&conversation_hash(last_words(messages)))).map(AsRef::as_ref)
    }

    /// How many different conversations have an answer.
    pub fn len(&self) -> usize {
        self.by_conversation.len()
    }

    /// Whether nothing is recorded.
    pub fn is_empty(&self) -> bool {
        self.by_conversation.is_empty()
    }

    /// Adds all of `other`.
    pub fn extend(&mut self, other: Self) {
        self.by_conversation.extend(other.by_conversation);
        self.by_last_words.extend(other.by_last_words);
    }
}

fn last_words(messages: &[Message]) -> &[Message] {
    let spoken = messages.iter().rposition(|message| message.role == "assistant").map_or(0, |at| at + 1);
    let words = &messages[spoken..];
    let first = words.iter().position(|message| !matches!(message.role.as_str(), "system" | "developer"));
    &words[first.unwrap_or(0)..]
}

/// An assistant's message as the answer that it was.
pub(super) fn answer_of(message: &Message) -> Answer {
    let text = message.text();
    let calls = message.tool_calls().map(|(id, name, arguments)| ToolCall {
        id: id.to_owned(),
        name: name.to_owned(),
        arguments: arguments.to_owned(),
    });
    Answer {
        text: (!text.is_empty()).then_some(text),
        refusal: message.refusal().map(str::to_owned),
        calls: calls.collect(),
        thought: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conversation(json: &str) -> Vec<Message> {
        serde_json::from_str(json).expect("valid messages")
    }

    #[test]
    fn an_answer_is_found_by_its_conversation_and_else_by_the_last_words() {
        let before = conversation(
            r#"[{"role":"system","content":"long rules"},{"role":"user","content":"a"},
                {"role":"assistant","content":"b"},{"role":"user","content":"c"}]"#,
        );
        let mut recordings = Recordings::default();
        recordings.record(&before, Answer::text("d"));
        assert_eq!(recordings.find(&before), Some(&Answer::text("d")));
        let compressed = conversation(
            r#"[{"role":"system","content":"rules"},{"role":"assistant","content":"b"},{"role":"user","content":"c"}]"#,
        );
        assert_eq!(recordings.find(&compressed), Some(&Answer::text("d")));
        assert_eq!(recordings.find(&conversation(r#"[{"role":"user","content":"e"}]"#)), None);
    }
}
