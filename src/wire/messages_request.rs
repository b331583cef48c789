//! Anthropic Messages requests, read in one pass.
//! <https://platform.claude.com/docs/en/api/messages>

use std::borrow::Cow;
use std::ops::Range;

use crate::limits::INSTRUCTIONS_MAX;
use crate::prompt::json::{JsonError, RawStr, Scanner};
use crate::prompt::outline::Speaker;
use crate::prompt::view::{SEAL_MARK, UsageInStream, View};

use super::body::{BodyError, from_one, model, switch, text};
use super::deciding::Deciding;

/// Which part of what is read before the messages.
const HEAD_TOOLS: u64 = 1;
/// See [`HEAD_TOOLS`].
const HEAD_FORMAT: u64 = 2;
/// See [`HEAD_TOOLS`].
const HEAD_SYSTEM: u64 = 4;

/// The keys of a body on which something is decided, each of which may stand only once.
const DECIDING: [&str; 11] = [
    "model",
    "stream",
    "messages",
    "max_tokens",
    "tools",
    "system",
    "service_tier",
    "speed",
    "inference_geo",
    "mcp_servers",
    "container",
];

/// Tools with a type of Anthropic's own that the client runs all the same.
/// <https://platform.claude.com/docs/en/agents-and-tools/tool-use/overview>
const CLIENTS_TOOLS: [&str; 6] = ["custom", "bash_", "text_editor_", "memory_", "computer_", "browser_"];

/// What Claude Code puts before its system prompt; it changes with each version and is no part of the prompt.
const BILLING_HEADER: &str = "x-anthropic-billing-header";
/// What Claude Code puts beside what a user says, or a tool: it is neither's.
const REMINDER: (&str, &str) = ("<system-reminder>", "</system-reminder>");

/// Reads a request body.
///
/// # Errors
///
/// [`BodyError`] for what is not JSON, for a deciding key that stands twice, and for a missing or
/// mistyped `model`, `messages` or `stream`. Everything else is the provider's to judge.
pub fn read(body: &[u8]) -> Result<View, BodyError> {
    let mut scanner = Scanner::from_bytes(body)?;
    // Anthropic tells usage unasked.
    let view = View { usage_in_stream: UsageInStream::Asked, ..View::default() };
    let mut reader = Reader { view, deciding: Deciding::of(&DECIDING), marks: Vec::new(), dear: None };
    scanner.object::<BodyError>(|s, key| reader.member(s, &key.decode()))?;
    scanner.end()?;
    for key in ["model", "messages"] {
        if !reader.deciding.has(key) {
            return Err(BodyError::Wrong { key, wanted: "given" });
        }
    }
    if let Some(dear) = reader.dear {
        reader.view.service_tier = Some(dear.to_owned());
    }
    Ok(reader.view)
}

struct Reader {
    view: View,
    deciding: Deciding,
    /// Where cache markers stand in what is being read, each with the comma before it.
    marks: Vec<Range<usize>>,
    /// What makes the request dearer than any tier says.
    dear: Option<&'static str>,
}

/// What one block of a message is.
#[derive(Default)]
struct Block {
    is_result: bool,
    /// Somebody says something: text that is no reminder, an image, a document.
    is_said: bool,
    /// The content of a tool's result.
    result: Option<Range<usize>>,
}

impl Reader {
    fn member(&mut self, s: &mut Scanner<'_>, key: &str) -> Result<(), BodyError> {
        self.deciding.note(key)?;
        match key {
            "model" => (self.view.model, self.view.model_at) = model(s)?,
            "stream" => self.view.stream = switch(s)?,
            "messages" => self.messages(s)?,
            "max_tokens" => {
                s.peek();
                let start = s.position();
                self.view.output_limit = from_one(s.whole_number()?);
                self.view.output_limits_at[1] = Some(start..s.position());
            }
            "tools" => self.tools(s)?,
            "system" => self.system(s)?,
            // <https://platform.claude.com/docs/en/api/service-tiers>
            "service_tier" => {
                let tier = text(s)?;
                self.view.service_tier =
                    tier.map(|tier| if tier == "standard_only" { "default".to_owned() } else { tier });
            }
            // Both are charged beside the list.
            "speed" => self.dearer(s, "fast")?,
            "inference_geo" => self.dearer(s, "us")?,
            "mcp_servers" => {
                self.view.attachments.server_tools += u64::from(!is_nothing(s)?);
            }
            // Skills run at Anthropic.
            "container" => {
                self.view.attachments.server_tools += u64::from(!is_nothing(s)?);
            }
            "output_config" => self.output_config(s)?,
            "metadata" if s.peek() == Some(b'{') => {
                s.object::<JsonError>(|s, key| {
                    if key.decode() == "user_id" {
                        self.view.claims.user = text(s)?;
                        Ok(())
                    } else {
                        s.pass()
                    }
                })?;
            }
            other => {
                self.deciding.pass(other)?;
                s.pass()?;
            }
        }
        Ok(())
    }

    fn dearer(&mut self, s: &mut Scanner<'_>, word: &'static str) -> Result<(), JsonError> {
        if s.string_or_skip()?.is_some_and(|said| said.decode() == word) {
            self.dear = Some(word);
        }
        Ok(())
    }

    fn system(&mut self, s: &mut Scanner<'_>) -> Result<(), BodyError> {
        self.marks.clear();
        let (at, from) = match s.peek() {
            Some(b'[') => {
                let mut from = None;
                let at = s.array::<BodyError>(|s| {
                    s.peek();
                    let start = s.position();
                    let (mut is_first, mut is_header) = (from.is_none(), false);
                    self.block(s, |key, value| {
                        is_header |= key == "text" && value.raw.starts_with(BILLING_HEADER);
                    })?;
                    is_first &= !is_header;
                    if is_first {
                        from = Some(start);
                    }
                    Ok(())
                })?;
                let from = from.unwrap_or(at.start);
                (at, from)
            }
            Some(b'"') => {
                let at = s.skip()?;
                let from = at.start;
                (at, from)
            }
            _ => return Ok(s.pass()?),
        };
        // Behind the header, up to the last block.
        let prompt = from..at.end - usize::from(from > at.start);
        let unmarked = self.unmarked(s, prompt.clone());
        self.view.outline.chain.head.with(HEAD_SYSTEM, &unmarked);
        self.view.system_at = Some(prompt);
        self.view.outline.instructions.insert(0, at);
        self.view.outline.instructions.truncate(INSTRUCTIONS_MAX);
        Ok(())
    }

    fn messages(&mut self, s: &mut Scanner<'_>) -> Result<(), BodyError> {
        if s.peek() != Some(b'[') {
            return Err(BodyError::Wrong { key: "messages", wanted: "an array" });
        }
        s.array::<BodyError>(|s| {
            self.view.messages += 1;
            if s.peek() == Some(b'{') { self.message(s) } else { Ok(s.pass()?) }
        })?;
        Ok(())
    }

    fn message(&mut self, s: &mut Scanner<'_>) -> Result<(), BodyError> {
        self.marks.clear();
        let (mut speaker, mut content, mut results) = (Speaker::Other, None, Vec::new());
        let (mut has_results, mut is_said) = (false, false);
        let at = s.object::<BodyError>(|s, key| {
            match &*key.decode() {
                "role" => speaker = s.string_or_skip()?.map(speaker_of).unwrap_or_default(),
                "content" if s.peek() == Some(b'[') => {
                    content = Some(s.array::<BodyError>(|s| {
                        let block = self.content_block(s)?;
                        has_results |= block.is_result;
                        is_said |= block.is_said;
                        results.extend(block.result);
                        Ok(())
                    })?);
                }
                "content" => {
                    content = Some(s.skip()?);
                    is_said = true;
                }
                _ => s.pass()?,
            }
            Ok(())
        })?;
        let unmarked = self.unmarked(s, at);
        let outline = &mut self.view.outline;
        // Results and words in one message: the tools answered before the user said anything.
        let speaker = match speaker {
            Speaker::User if !is_said && has_results => Speaker::Tool,
            Speaker::User if !is_said => Speaker::Other,
            speaker => speaker,
        };
        if speaker == Speaker::Tool {
            outline.message(speaker, &unmarked, "", None);
            outline.tool_results.extend(results);
        } else {
            let said = content.clone().map_or("", |at| s.text(at));
            outline.message(speaker, &unmarked, said, content);
        }
        Ok(())
    }

    fn content_block(&mut self, s: &mut Scanner<'_>) -> Result<Block, BodyError> {
        if s.peek() != Some(b'{') {
            s.pass()?;
            return Ok(Block { is_said: true, ..Block::default() });
        }
        let (mut kind, mut said, mut result, mut inner, mut is_ours) = (None, None, None, None, false);
        let range = self.members(s, |reader, s, key| {
            match key {
                "type" => kind = s.string_or_skip()?,
                "text" => said = s.string_or_skip()?,
                "signature" | "data" => {
                    is_ours |= s.string_or_skip()?.is_some_and(|seal| seal.raw.starts_with(SEAL_MARK));
                }
                "content" if s.peek() == Some(b'[') => {
                    result = Some(s.array::<BodyError>(|s| reader.content_block(s).map(drop))?);
                }
                "content" => result = Some(s.skip()?),
                "source" if s.peek() == Some(b'{') => {
                    s.object::<JsonError>(|s, key| {
                        if key.decode() == "type" {
                            inner = s.string_or_skip()?;
                            Ok(())
                        } else {
                            s.pass()
                        }
                    })?;
                }
                _ => s.pass()?,
            }
            Ok(())
        })?;
        let found = &mut self.view.attachments;
        let mut block = Block::default();
        match kind.map(RawStr::decode).as_deref() {
            Some("text") => block.is_said = !said.is_some_and(is_reminder),
            Some("image") => {
                found.images += 1;
                found.bytes += range.len();
                block.is_said = true;
            }
            Some("document") => {
                // Pages of a file are read as text and as images; what is sent as text is no more than that.
                let is_text = matches!(inner.map(RawStr::decode).as_deref(), Some("text" | "content"));
                found.references += u64::from(!is_text);
                found.bytes += if is_text { 0 } else { range.len() };
                block.is_said = true;
            }
            Some("container_upload") => found.references += 1,
            Some("thinking" | "redacted_thinking") if is_ours => self.view.foreign_seals.push(range),
            Some(kind) if kind.ends_with("tool_result") => block = Block { is_result: true, is_said: false, result },
            _ => {}
        }
        Ok(block)
    }

    fn tools(&mut self, s: &mut Scanner<'_>) -> Result<(), BodyError> {
        self.marks.clear();
        if s.peek() != Some(b'[') {
            return Ok(s.pass()?);
        }
        let at = s.array::<BodyError>(|s| {
            if s.peek() != Some(b'{') {
                return Ok(s.pass()?);
            }
            let (mut kind, mut name) = (None, None);
            self.members(s, |_, s, key| {
                match key {
                    "type" => kind = s.string_or_skip()?,
                    "name" => name = Some(s.skip()?),
                    _ => s.pass()?,
                }
                Ok(())
            })?;
            let kind = kind.map(RawStr::decode);
            let is_clients = |kind: &str| CLIENTS_TOOLS.iter().any(|known| kind.starts_with(known));
            self.view.attachments.server_tools += u64::from(!kind.as_deref().is_none_or(is_clients));
            name.into_iter().for_each(|name| self.view.outline.tool(name));
            Ok(())
        })?;
        let unmarked = self.unmarked(s, at.clone());
        self.view.outline.chain.head.with(HEAD_TOOLS, &unmarked);
        self.view.outline.tools_at = Some(at);
        Ok(())
    }

    fn output_config(&mut self, s: &mut Scanner<'_>) -> Result<(), BodyError> {
        if s.peek() != Some(b'{') {
            return Ok(s.pass()?);
        }
        s.object::<BodyError>(|s, key| {
            if key.decode() == "format" && s.peek() == Some(b'{') {
                let at = s.skip()?;
                self.view.outline.wants_json = true;
                self.view.outline.chain.head.with(HEAD_FORMAT, s.text(at));
                Ok(())
            } else {
                Ok(s.pass()?)
            }
        })?;
        Ok(())
    }

    /// Reads a block and tells its texts.
    fn block(&mut self, s: &mut Scanner<'_>, mut told: impl FnMut(&str, RawStr<'_>)) -> Result<(), BodyError> {
        if s.peek() != Some(b'{') {
            return Ok(s.pass()?);
        }
        self.members(s, |_, s, key| {
            if let Some(value) = s.string_or_skip()? {
                told(key, value);
            }
            Ok(())
        })?;
        Ok(())
    }

    /// Reads an object's members but for its cache marker, of whose place it takes note: a marker that moves on changes
    /// nothing of what is said.
    fn members<'b>(
        &mut self,
        s: &mut Scanner<'b>,
        mut member: impl FnMut(&mut Self, &mut Scanner<'b>, &str) -> Result<(), BodyError>,
    ) -> Result<Range<usize>, BodyError> {
        let mut behind = s.position() + 1;
        s.object::<BodyError>(|s, key| {
            let key = key.decode();
            if key == "cache_control" {
                s.pass()?;
                self.marks.push(behind..s.position());
            } else {
                member(self, s, &key)?;
            }
            behind = s.position();
            Ok(())
        })
    }

    /// What stands at a place, without the markers in it.
    fn unmarked<'b>(&self, s: &Scanner<'b>, at: Range<usize>) -> Cow<'b, str> {
        let mut text = String::new();
        let mut from = at.start;
        for mark in self.marks.iter().filter(|mark| mark.start >= at.start && mark.end <= at.end) {
            text.push_str(s.text(from..mark.start));
            from = mark.end;
        }
        if from == at.start {
            return Cow::Borrowed(s.text(at));
        }
        text.push_str(s.text(from..at.end));
        Cow::Owned(text)
    }
}

/// Reads a value; whether it is `null`, or has nothing in it.
fn is_nothing(s: &mut Scanner<'_>) -> Result<bool, JsonError> {
    let range = s.skip()?;
    let value = s.text(range);
    Ok(value == "null" || value.strip_prefix('[').is_some_and(|rest| rest.trim_ascii_start() == "]"))
}

fn speaker_of(role: RawStr<'_>) -> Speaker {
    match &*role.decode() {
        "system" => Speaker::Instructions,
        "user" => Speaker::User,
        _ => Speaker::Other,
    }
}

fn is_reminder(text: RawStr<'_>) -> bool {
    let text = text.decode();
    let text = text.trim();
    text.starts_with(REMINDER.0) && text.ends_with(REMINDER.1)
}

#[cfg(test)]
#[path = "messages_request/tests.rs"]
mod tests;
