//! OpenAI Responses requests, read in one pass.
//! <https://platform.openai.com/docs/api-reference/responses/create>

use std::ops::Range;

use crate::limits::INSTRUCTIONS_MAX;
use crate::prompt::json::{JsonError, RawStr, Scanner};
use crate::prompt::outline::Speaker;
use crate::prompt::view::{SEAL_MARK, UsageInStream, View};

use super::body::{BodyError, claims, from_one, model, named, switch, text};
use super::deciding::Deciding;

/// Which part of what is read before the input.
const HEAD_TOOLS: u64 = 1;
/// See [`HEAD_TOOLS`].
const HEAD_FORMAT: u64 = 2;
/// See [`HEAD_TOOLS`].
const HEAD_INSTRUCTIONS: u64 = 4;

/// The keys of a body on which something is decided, each of which may stand only once.
const DECIDING: [&str; 12] = [
    "model",
    "stream",
    "input",
    "instructions",
    "max_output_tokens",
    "tools",
    "service_tier",
    "store",
    "background",
    "previous_response_id",
    "conversation",
    "prompt",
];

/// Tools with a type of OpenAI's own that the client runs all the same; a `shell` may run on either side.
/// <https://platform.openai.com/docs/guides/tools>
const CLIENTS_TOOLS: [&str; 8] = [
    "function",
    "custom",
    "namespace",
    "local_shell",
    "apply_patch",
    "computer",
    "computer_use_preview",
    "programmatic_tool_calling",
];

/// Reads a request body.
///
/// # Errors
///
/// [`BodyError`] for what is not JSON, for a deciding key that stands twice, for a missing or mistyped `model`, `input`
/// or `stream`, and for what names an object that a provider keeps and that nobody makes through here: whose it is, nobody
/// knows. Everything else is the provider's to judge.
pub fn read(body: &[u8]) -> Result<View, BodyError> {
    let mut scanner = Scanner::from_bytes(body)?;
    // The last event of a stream has the usage, unasked.
    let view = View { usage_in_stream: UsageInStream::Asked, stores: true, ..View::default() };
    let mut reader = Reader { view, deciding: Deciding::of(&DECIDING), claimed_user: [None, None, None] };
    scanner.object::<BodyError>(|s, key| reader.member(s, &key.decode()))?;
    scanner.end()?;
    for key in ["model", "input"] {
        if !reader.deciding.has(key) && (key == "model" || !reader.view.continues) {
            return Err(BodyError::Wrong { key, wanted: "given" });
        }
    }
    reader.view.claims.user = reader.claimed_user.into_iter().flatten().next();
    Ok(reader.view)
}

struct Reader {
    view: View,
    deciding: Deciding,
    /// `metadata.user`, `safety_identifier`, `user`: the first that is there counts.
    claimed_user: [Option<String>; 3],
}

impl Reader {
    fn member(&mut self, s: &mut Scanner<'_>, key: &str) -> Result<(), BodyError> {
        self.deciding.note(key)?;
        match key {
            "model" => (self.view.model, self.view.model_at) = model(s)?,
            "stream" => self.view.stream = switch(s)?,
            "input" => self.input(s)?,
            "instructions" => self.instructions(s)?,
            "max_output_tokens" => {
                s.peek();
                let start = s.position();
                self.view.output_limit = from_one(s.whole_number()?);
                self.view.output_limits_at[0] = Some(start..s.position());
            }
            "tools" => self.tools(s)?,
            "text" => self.format(s)?,
            "service_tier" => self.view.service_tier = text(s)?,
            "previous_response_id" => self.goes_on(s, "previous_response_id")?,
            "conversation" => self.goes_on(s, "conversation")?,
            "prompt" => nothing(s, "prompt")?,
            "background" => {
                let range = s.skip()?;
                self.view.background = !matches!(s.text(range), "null" | "false");
            }
            "store" => {
                let range = s.skip()?;
                self.view.stores = s.text(range) != "false";
            }
            "prompt_cache_key" => {
                let claimed = text(s)?;
                self.view.claims.prompt = self.view.claims.prompt.take().or_else(|| claimed.clone());
                self.view.cache_key = claimed;
            }
            "metadata" => claims(s, &mut self.view.claims, &mut self.claimed_user[0])?,
            "safety_identifier" => self.claimed_user[1] = text(s)?,
            "user" => self.claimed_user[2] = text(s)?,
            other => {
                self.deciding.pass(other)?;
                s.pass()?;
            }
        }
        Ok(())
    }

    fn goes_on(&mut self, s: &mut Scanner<'_>, key: &'static str) -> Result<(), BodyError> {
        let before = self.view.named.len();
        named(s, key, &mut self.view.named)?;
        self.view.continues |= self.view.named.len() > before;
        Ok(())
    }

    fn instructions(&mut self, s: &mut Scanner<'_>) -> Result<(), BodyError> {
        if s.peek() != Some(b'"') {
            return Ok(s.pass()?);
        }
        let at = s.skip()?;
        self.view.outline.chain.head.with(HEAD_INSTRUCTIONS, s.text(at.clone()));
        // They are read before what the input says, wherever they stand.
        self.view.system_at = Some(at.clone());
        self.view.outline.instructions.insert(0, at);
        self.view.outline.instructions.truncate(INSTRUCTIONS_MAX);
        Ok(())
    }

    fn input(&mut self, s: &mut Scanner<'_>) -> Result<(), BodyError> {
        match s.peek() {
            Some(b'"') => {
                let at = s.skip()?;
                let said = s.text(at.clone());
                self.view.messages = 1;
                self.view.outline.message(Speaker::User, said, said, Some(at));
            }
            Some(b'[') => {
                s.array::<BodyError>(|s| {
                    self.view.messages += 1;
                    if s.peek() == Some(b'{') { self.item(s) } else { Ok(s.pass()?) }
                })?;
            }
            _ => return Err(BodyError::Wrong { key: "input", wanted: "a string or an array" }),
        }
        Ok(())
    }

    fn item(&mut self, s: &mut Scanner<'_>) -> Result<(), BodyError> {
        let (mut kind, mut role, mut content, mut output, mut is_ours) = (None, None, None, None, false);
        let at = s.object::<BodyError>(|s, key| {
            match &*key.decode() {
                "type" => kind = s.string_or_skip()?,
                "role" => role = s.string_or_skip()?,
                "content" => content = Some(self.content(s)?),
                "output" => output = Some(self.content(s)?),
                "encrypted_content" => {
                    is_ours = s.string_or_skip()?.is_some_and(|seal| seal.raw.starts_with(SEAL_MARK));
                }
                // Tools that are offered later in the conversation.
                "tools" if s.peek() == Some(b'[') => {
                    s.array::<BodyError>(|s| if s.peek() == Some(b'{') { self.tool(s) } else { Ok(s.pass()?) })?;
                }
                _ => s.pass()?,
            }
            Ok(())
        })?;
        let kind = kind.map(RawStr::decode);
        let (speaker, content) = match kind.as_deref() {
            None | Some("message") => (role.map(speaker_of).unwrap_or_default(), content),
            Some("reasoning") if is_ours => {
                self.view.foreign_seals.push(at.clone());
                (Speaker::Other, None)
            }
            Some("item_reference") => return Err(BodyError::NotServed("input")),
            Some(kind) if kind.ends_with("_call_output") => (Speaker::Tool, output),
            Some("image_generation_call") => {
                self.view.attachments.images += 1;
                self.view.attachments.bytes += at.len();
                (Speaker::Other, None)
            }
            Some(_) => (Speaker::Other, None),
        };
        if speaker == Speaker::Instructions && self.view.system_at.is_none() {
            self.view.system_at.clone_from(&content);
        }
        let said = content.clone().map_or("", |at| s.text(at));
        self.view.outline.message(speaker, s.text(at), said, content);
        Ok(())
    }

    /// Content of a message, or the output of a call: a string, parts, or one part alone.
    fn content(&mut self, s: &mut Scanner<'_>) -> Result<Range<usize>, BodyError> {
        match s.peek() {
            Some(b'[') => {
                s.array::<BodyError>(|s| if s.peek() == Some(b'{') { self.part(s).map(drop) } else { Ok(s.pass()?) })
            }
            Some(b'{') => self.part(s),
            _ => Ok(s.skip()?),
        }
    }

    fn part(&mut self, s: &mut Scanner<'_>) -> Result<Range<usize>, BodyError> {
        let mut kind = None;
        let range = s.object::<BodyError>(|s, key| match &*key.decode() {
            "type" => {
                kind = s.string_or_skip()?;
                Ok(())
            }
            "file_id" => named(s, "input", &mut self.view.named),
            _ => Ok(s.pass()?),
        })?;
        let found = &mut self.view.attachments;
        match kind.map(RawStr::decode).as_deref() {
            Some("input_image" | "computer_screenshot") => found.images += 1,
            // Pages of a file are read as text and as images, wherever it is.
            Some("input_file") => found.references += 1,
            Some("input_audio") => found.recordings += 1,
            _ => return Ok(range),
        }
        found.bytes += range.len();
        Ok(range)
    }

    fn tools(&mut self, s: &mut Scanner<'_>) -> Result<(), BodyError> {
        if s.peek() != Some(b'[') {
            return Ok(s.pass()?);
        }
        let at = s.array::<BodyError>(|s| if s.peek() == Some(b'{') { self.tool(s) } else { Ok(s.pass()?) })?;
        self.view.outline.chain.head.with(HEAD_TOOLS, s.text(at.clone()));
        self.view.outline.tools_at = Some(at);
        Ok(())
    }

    fn tool(&mut self, s: &mut Scanner<'_>) -> Result<(), BodyError> {
        let (mut kind, mut name, mut has_inner, mut is_local) = (None, None, false, false);
        s.object::<BodyError>(|s, key| {
            match &*key.decode() {
                "type" => kind = s.string_or_skip()?,
                "name" => name = Some(s.skip()?),
                // Those of a namespace.
                "tools" if s.peek() == Some(b'[') => {
                    has_inner = true;
                    s.array::<BodyError>(|s| if s.peek() == Some(b'{') { self.tool(s) } else { Ok(s.pass()?) })?;
                }
                "environment" if s.peek() == Some(b'{') => {
                    s.object::<JsonError>(|s, key| {
                        if key.decode() == "type" {
                            is_local = s.string_or_skip()?.is_some_and(|kind| kind.decode() == "local");
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
        let kind = kind.map(RawStr::decode);
        let is_clients = |kind: &str| {
            CLIENTS_TOOLS.contains(&kind) || kind.starts_with("tool_search") || kind == "shell" && is_local
        };
        self.view.attachments.server_tools += u64::from(!kind.as_deref().is_none_or(is_clients));
        name.into_iter().filter(|_| !has_inner).for_each(|name| self.view.outline.tool(name));
        Ok(())
    }

    fn format(&mut self, s: &mut Scanner<'_>) -> Result<(), BodyError> {
        if s.peek() != Some(b'{') {
            return Ok(s.pass()?);
        }
        s.object::<BodyError>(|s, key| {
            if key.decode() != "format" || s.peek() != Some(b'{') {
                return Ok(s.pass()?);
            }
            let at = s.object::<JsonError>(|s, key| {
                if key.decode() == "type" {
                    let kind = s.string_or_skip()?.map(RawStr::decode);
                    self.view.outline.wants_json = matches!(kind.as_deref(), Some("json_object" | "json_schema"));
                    Ok(())
                } else {
                    s.pass()
                }
            })?;
            self.view.outline.chain.head.with(HEAD_FORMAT, s.text(at));
            Ok(())
        })?;
        Ok(())
    }
}

/// A value that may only say that there is nothing of the kind.
fn nothing(s: &mut Scanner<'_>, key: &'static str) -> Result<(), BodyError> {
    let range = s.skip()?;
    match s.text(range) {
        "null" | "false" => Ok(()),
        _ => Err(BodyError::NotServed(key)),
    }
}

fn speaker_of(role: RawStr<'_>) -> Speaker {
    match &*role.decode() {
        "system" | "developer" => Speaker::Instructions,
        "user" => Speaker::User,
        _ => Speaker::Other,
    }
}

#[cfg(test)]
#[path = "responses_request/tests.rs"]
mod tests;
