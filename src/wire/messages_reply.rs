//! Anthropic's Messages: the facts that metering needs, from whole answers and from the events of a stream.
//! <https://platform.claude.com/docs/en/api/messages>, `…/build-with-claude/streaming`

use serde_json::json;

use crate::prompt::json::{JsonError, RawStr, Scanner};
use crate::reply;
use crate::reply::facts::{Ending, Facts};

use super::messages_usage::Running;
use super::vendors::Habits;

/// What has gone by of a stream.
#[derive(Clone, Copy, Debug, Default)]
pub struct Seen {
    running: Running,
    /// The content block that has begun and not ended.
    open: Option<u64>,
}

/// Reads a whole answer, or one event behind those that `seen` knows.
///
/// # Errors
///
/// [`JsonError`] for what is not a JSON object.
pub fn read(json: &[u8], habits: Habits, seen: &mut Seen) -> Result<Facts, JsonError> {
    let mut s = Scanner::from_bytes(json)?;
    let mut reader = Reader { habits, seen: *seen, facts: Facts::default(), told_usage: false, index: None };
    let mut kind = None;
    s.object::<JsonError>(|s, key| match key.raw {
        "type" => {
            kind = s.string_or_skip()?;
            Ok(())
        }
        "index" => {
            reader.index = super::openai_usage::count(s)?;
            Ok(())
        }
        "error" => {
            let range = s.skip()?;
            let said = s.text(range);
            reader.facts.error |= said.starts_with('{') && !said[1..said.len() - 1].trim_ascii().is_empty();
            Ok(())
        }
        "message" if s.peek() == Some(b'{') => s.object::<JsonError>(|s, key| reader.member(s, key)).map(drop),
        "content_block" => reader.block(s),
        "delta" if s.peek() == Some(b'{') => s
            .object::<JsonError>(|s, key| if key.raw == "stop_reason" { reader.end(s) } else { reader.piece(s, key) })
            .map(drop),
        _ => reader.member(s, key),
    })?;
    s.end()?;
    Ok(reader.finish(kind, seen))
}

struct Reader {
    habits: Habits,
    seen: Seen,
    facts: Facts,
    told_usage: bool,
    index: Option<u64>,
}

impl Reader {
    /// A member of a message.
    fn member(&mut self, s: &mut Scanner<'_>, key: RawStr<'_>) -> Result<(), JsonError> {
        match key.raw {
            "usage" => {
                self.told_usage = true;
                self.seen.running.take(s, self.habits)
            }
            "stop_reason" => self.end(s),
            "content" if s.peek() == Some(b'[') => s.array::<JsonError>(|s| self.block(s)).map(drop),
            _ => s.pass(),
        }
    }

    fn end(&mut self, s: &mut Scanner<'_>) -> Result<(), JsonError> {
        let range = s.skip()?;
        self.facts.finished += u64::from(s.text(range) != "null");
        Ok(())
    }

    fn block(&mut self, s: &mut Scanner<'_>) -> Result<(), JsonError> {
        if s.peek() != Some(b'{') {
            return s.pass();
        }
        s.object::<JsonError>(|s, key| self.piece(s, key)).map(drop)
    }

    /// A member of a content block, or of a piece of one: text, thoughts, calls. Signatures are no text.
    fn piece(&mut self, s: &mut Scanner<'_>, key: RawStr<'_>) -> Result<(), JsonError> {
        match (key.raw, s.peek()) {
            ("text" | "thinking" | "partial_json" | "name", Some(b'"')) => {
                let text = s.string()?.decode();
                self.facts.text_bytes += text.len() as u64;
                self.facts.words += reply::words_begun(&text);
            }
            ("input", Some(b'{')) => {
                let range = s.skip()?;
                // A call that begins in a stream has an empty one.
                self.facts.text_bytes += if s.text(range.clone()) == "{}" { 0 } else { range.len() as u64 };
            }
            _ => s.pass()?,
        }
        Ok(())
    }

    fn finish(self, kind: Option<RawStr<'_>>, seen: &mut Seen) -> Facts {
        let Self { seen: mut now, mut facts, told_usage, index, .. } = self;
        match kind.map(RawStr::decode).as_deref() {
            Some("message") => facts.choices = 1,
            Some("content_block_start" | "content_block_delta") => now.open = index,
            Some("content_block_stop") => now.open = None,
            Some("message_stop") => facts.ending = Ending::Over,
            _ => {}
        }
        if told_usage {
            facts.usage = now.running.usage();
            facts.beside = now.running.beside();
            facts.service_tier = now.running.tier();
        }
        *seen = now;
        facts
    }
}

/// The events that end a stream at its output limit, its terminator not among them: of the block that is open, and of the
/// message. Usage is what is known of it, `used` for want of that: input and output tokens.
pub fn length_ending(seen: &Seen, used: (u64, u64)) -> String {
    let mut text = String::new();
    if let Some(index) = seen.open {
        let stop = json!({ "type": "content_block_stop", "index": index });
        text = format!("event: content_block_stop\ndata: {stop}\n\n");
    }
    let output = seen.running.usage().map_or(used.1, |usage| usage.output_tokens.max(used.1));
    let delta = json!({
        "type": "message_delta",
        "delta": { "stop_reason": "max_tokens", "stop_sequence": null, "stop_details": null },
        "usage": { "output_tokens": output },
    });
    text.push_str(&format!("event: message_delta\ndata: {delta}\n\n"));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(events: &[&str]) -> (Vec<Facts>, Seen) {
        let mut seen = Seen::default();
        let facts = events.iter().map(|json| read(json.as_bytes(), Habits::default(), &mut seen).unwrap()).collect();
        (facts, seen)
    }

    const START: &str = r#"{"type":"message_start","message":{"id":"m","type":"message","content":[],"stop_reason":null,
        "usage":{"input_tokens":25,"cache_read_input_tokens":10,"output_tokens":1}}}"#;
    const BLOCK: &str = r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#;
    const DELTA: &str = r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"h\u00e4 du"}}"#;
    const STOP: &str = r#"{"type":"content_block_stop","index":0}"#;
    const END: &str = r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":15}}"#;

    #[test]
    fn a_stream_tells_its_usage_and_its_end() {
        let over = r#"{"type":"message_stop"}"#;
        let (facts, _) = stream(&[START, BLOCK, r#"{"type":"ping"}"#, DELTA, STOP, END, over]);
        let told = |facts: &Facts| facts.usage.map(|usage| (usage.input_tokens, usage.output_tokens));
        assert_eq!((told(&facts[0]), told(&facts[3]), told(&facts[5])), (Some((35, 1)), None, Some((35, 15))));
        assert_eq!(facts.iter().map(|facts| facts.finished).collect::<Vec<_>>(), [0, 0, 0, 0, 0, 1, 0]);
        assert_eq!((facts[3].text_bytes, facts[3].words), (6, 1));
        assert!(facts.iter().all(|facts| !facts.error));
        let over: Vec<bool> = facts.iter().map(|facts| facts.ending == Ending::Over).collect();
        assert_eq!(over, [false, false, false, false, false, false, true]);
    }

    #[test]
    fn a_whole_answer_says_all_at_once() {
        let json = br#"{"type":"message","role":"assistant","content":[{"type":"thinking","thinking":"abc","signature":"sssss"},
            {"type":"text","text":"de"},{"type":"tool_use","id":"t","name":"f","input":{"a":1}}],"stop_reason":"tool_use",
            "usage":{"input_tokens":5,"output_tokens":9}}"#;
        let facts = read(json, Habits::default(), &mut Seen::default()).unwrap();
        assert_eq!((facts.choices, facts.finished, facts.text_bytes), (1, 1, 3 + 2 + 1 + 7));
        assert_eq!(facts.usage.map(|usage| usage.output_tokens), Some(9));
        assert_eq!(facts.ending, Ending::Goes);
    }

    #[test]
    fn an_error_is_told_from_an_answer() {
        let error = r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"},"request_id":"r"}"#;
        assert!(stream(&[START, error]).0[1].error);
        assert!(!stream(&[START, r#"{"type":"ping","error":null}"#]).0[1].error);
    }

    #[test]
    fn a_stream_that_is_cut_ends_its_open_block_first() {
        let names = |text: &str| -> Vec<String> {
            text.lines().filter_map(|line| line.strip_prefix("event: ").map(str::to_owned)).collect()
        };
        let (_, open) = stream(&[START, BLOCK, DELTA]);
        let text = length_ending(&open, (25, 7));
        assert_eq!(names(&text), ["content_block_stop", "message_delta"]);
        assert!(text.contains(r#""stop_reason":"max_tokens""#) && text.contains(r#""output_tokens":7"#), "{text}");
        let (_, closed) = stream(&[START, BLOCK, DELTA, STOP]);
        assert_eq!(names(&length_ending(&closed, (25, 7))), ["message_delta"]);
    }
}
