//! Counting a whole request: its texts exactly by an encoding, everything around them by OpenAI's published rules.
//!
//! What the texts have is certain for OpenAI's models. The framing of messages, the way in which tools are shown to the
//! model, and images are estimates for every vendor: nobody publishes them as a contract.
//! <https://cookbook.openai.com/examples/how_to_count_tokens_with_tiktoken>

use crate::prompt::json::{JsonError, RawStr, Scanner};

use super::encoding::{Encoding, count};
use super::memo::Memo;

/// What every message costs besides its texts.
const MESSAGE: u64 = 3;
/// What a name costs besides its text.
const NAME: u64 = 1;
/// What begins the answer.
const ANSWER: u64 = 3;
/// What a tool, its parameters, each of them, and each of their allowed values cost besides their texts.
const TOOL: u64 = 7;
const PARAMETERS: u64 = 3;
const PARAMETER: u64 = 3;
const ALLOWED_VALUE: u64 = 3;
/// What a list of allowed values saves.
const ALLOWED_VALUES: u64 = 3;
/// What ends a list of tools.
const TOOLS_END: u64 = 12;
/// An image of 1024 × 1024 at high detail, as GPT-4o counts: what an image is taken for of which no more is known.
/// <https://platform.openai.com/docs/guides/images-vision#calculating-costs>
pub const IMAGE: u64 = 765;
/// Any image at low detail.
const IMAGE_LOW: u64 = 85;
/// Deepest nesting of parts and schemas that is looked into; what is below counts as the text that it is.
const DEPTH_MAX: usize = 16;

/// Counts the input tokens of a chat body. Messages that `memo` knows are not counted again.
///
/// # Errors
///
/// [`JsonError`] for what is not a JSON object, or has no messages: how other bodies are framed nobody here counts.
pub fn count_request(encoding: Encoding, body: &[u8], memo: &mut Memo) -> Result<u64, JsonError> {
    let mut s = Scanner::from_bytes(body)?;
    let (mut tokens, mut is_chat) = (ANSWER, false);
    s.object::<JsonError>(|s, key| match (&*key.decode(), s.peek()) {
        ("messages", Some(b'[')) => s
            .array::<JsonError>(|s| {
                is_chat = true;
                let range = s.skip()?;
                let json = s.text(range);
                tokens += memo.count(encoding, json.as_bytes(), || message(encoding, json));
                Ok(())
            })
            .map(drop),
        ("tools", Some(b'[')) => {
            let range = s.skip()?;
            let json = s.text(range);
            tokens += memo.count(encoding, json.as_bytes(), || tools(encoding, json));
            Ok(())
        }
        ("response_format", Some(b'{')) => {
            let range = s.skip()?;
            let json = s.text(range);
            tokens += memo.count(encoding, json.as_bytes(), || count(encoding, json));
            Ok(())
        }
        _ => s.pass(),
    })?;
    if is_chat { Ok(tokens) } else { Err(JsonError { what: "found no messages", at: 0 }) }
}

/// One message: `json` has been read over once, so that it cannot fail any more.
fn message(encoding: Encoding, json: &str) -> u64 {
    let mut counter = Counter { encoding, tokens: MESSAGE };
    if counter.part_of_message(&mut Scanner::new(json), 0).is_err() {
        return count(encoding, json);
    }
    counter.tokens
}

/// The list of tools.
fn tools(encoding: Encoding, json: &str) -> u64 {
    let mut counter = Counter { encoding, tokens: TOOLS_END };
    let read = Scanner::new(json).array::<JsonError>(|s| counter.tool(s));
    if read.is_err() { count(encoding, json) } else { counter.tokens }
}

struct Counter {
    encoding: Encoding,
    tokens: u64,
}

impl Counter {
    fn text(&mut self, text: RawStr<'_>) {
        self.tokens += count(self.encoding, &text.decode());
    }

    /// A message, or what is in its lists: parts of content, calls.
    fn part_of_message(&mut self, s: &mut Scanner<'_>, depth: usize) -> Result<(), JsonError> {
        if s.peek() != Some(b'{') {
            return s.pass();
        }
        if depth >= DEPTH_MAX {
            return self.raw(s);
        }
        s.object::<JsonError>(|s, key| match (&*key.decode(), s.peek()) {
            ("name", Some(b'"')) => {
                self.tokens += NAME;
                self.text(s.string()?);
                Ok(())
            }
            ("role" | "content" | "refusal" | "text" | "arguments" | "input", Some(b'"')) => {
                self.text(s.string()?);
                Ok(())
            }
            ("content" | "tool_calls", Some(b'[')) => s.array(|s| self.part_of_message(s, depth + 1)).map(drop),
            ("function" | "custom" | "function_call", Some(b'{')) => {
                self.tokens += MESSAGE;
                self.part_of_message(s, depth + 1)
            }
            ("image_url", _) => self.image(s),
            _ => s.pass(),
        })
        .map(drop)
    }

    /// Anything, as the text that it is.
    fn raw(&mut self, s: &mut Scanner<'_>) -> Result<(), JsonError> {
        let range = s.skip()?;
        self.tokens += count(self.encoding, s.text(range));
        Ok(())
    }

    fn image(&mut self, s: &mut Scanner<'_>) -> Result<(), JsonError> {
        let mut tokens = IMAGE;
        if s.peek() == Some(b'{') {
            s.object::<JsonError>(|s, key| {
                if key.raw != "detail" {
                    return s.pass();
                }
                if s.string_or_skip()?.is_some_and(|detail| detail.raw == "low") {
                    tokens = IMAGE_LOW;
                }
                Ok(())
            })?;
        } else {
            s.pass()?;
        }
        self.tokens += tokens;
        Ok(())
    }

    /// `{"type":"function","function":{…}}`: shown to the model as its name and description and a line a parameter.
    fn tool(&mut self, s: &mut Scanner<'_>) -> Result<(), JsonError> {
        if s.peek() != Some(b'{') {
            return s.pass();
        }
        self.tokens += TOOL;
        s.object::<JsonError>(|s, key| match (key.raw, s.peek()) {
            ("function" | "custom", Some(b'{')) => self.function(s),
            _ => s.pass(),
        })
        .map(drop)
    }

    fn function(&mut self, s: &mut Scanner<'_>) -> Result<(), JsonError> {
        let (mut name, mut description) = (String::new(), String::new());
        s.object::<JsonError>(|s, key| match (key.raw, s.peek()) {
            ("name", Some(b'"')) => {
                name = s.string()?.decode().into_owned();
                Ok(())
            }
            ("description", Some(b'"')) => {
                description = s.string()?.decode().into_owned();
                Ok(())
            }
            ("parameters", Some(b'{')) => self.schema(s, 0),
            ("format", Some(b'{')) => self.raw(s),
            _ => s.pass(),
        })?;
        self.tokens += count(self.encoding, &format!("{name}:{}", description.trim_end_matches('.')));
        Ok(())
    }

    /// A schema's properties, its items' and so on.
    fn schema(&mut self, s: &mut Scanner<'_>, depth: usize) -> Result<(), JsonError> {
        if depth >= DEPTH_MAX {
            return self.raw(s);
        }
        s.object::<JsonError>(|s, key| match (key.raw, s.peek()) {
            ("properties", Some(b'{')) => {
                self.tokens += PARAMETERS;
                s.object::<JsonError>(|s, name| self.parameter(s, name, depth)).map(drop)
            }
            ("items", Some(b'{')) => self.schema(s, depth + 1),
            _ => s.pass(),
        })
        .map(drop)
    }

    fn parameter(&mut self, s: &mut Scanner<'_>, name: RawStr<'_>, depth: usize) -> Result<(), JsonError> {
        self.tokens += PARAMETER;
        if s.peek() != Some(b'{') {
            return s.pass();
        }
        let mut line = [name.decode().into_owned(), String::new(), String::new()];
        let range = s.object::<JsonError>(|s, key| match (key.raw, s.peek()) {
            ("type", Some(b'"')) => {
                line[1] = s.string()?.decode().into_owned();
                Ok(())
            }
            ("description", Some(b'"')) => {
                line[2] = s.string()?.decode().into_owned();
                Ok(())
            }
            ("enum", Some(b'[')) => {
                s.array::<JsonError>(|s| self.allowed_value(s))?;
                self.tokens = self.tokens.saturating_sub(ALLOWED_VALUES);
                Ok(())
            }
            _ => s.pass(),
        })?;
        if line[2].ends_with('.') {
            line[2].pop();
        }
        self.tokens += count(self.encoding, &line.join(":"));
        if matches!(&*line[1], "object" | "array") {
            self.schema(&mut Scanner::new(s.text(range)), depth + 1)?;
        }
        Ok(())
    }

    fn allowed_value(&mut self, s: &mut Scanner<'_>) -> Result<(), JsonError> {
        self.tokens += ALLOWED_VALUE;
        match s.string_or_skip()? {
            Some(text) => self.text(text),
            None => self.tokens += 1,
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "request/tests.rs"]
mod tests;
