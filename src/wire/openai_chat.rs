//! OpenAI Chat Completions requests, read in one pass.
//! <https://platform.openai.com/docs/api-reference/chat/create>

use std::ops::Range;

use crate::prompt::json::{JsonError, RawStr, Scanner, WholeNumber};
use crate::prompt::outline::Speaker;
use crate::prompt::view::{Named, View};

use super::body::{BodyError, claims, from_one, model, named, stream_options, switch, text};
use super::deciding::Deciding;

/// What the usage edit inserts after a member.
pub const ASK_FOR_USAGE_MEMBER: &str = r#","stream_options":{"include_usage":true}"#;

/// Which part of what is read before the messages.
const HEAD_TOOLS: u64 = 1;
/// See [`HEAD_TOOLS`].
const HEAD_FORMAT: u64 = 2;
/// See [`HEAD_TOOLS`].
const HEAD_FUNCTIONS: u64 = 3;

/// Reads a request body.
///
/// # Errors
///
/// [`BodyError`] for what is not JSON, for a deciding key that stands twice, and for a missing or
/// mistyped `model`, `messages` or `stream`. Everything else is the provider's to judge.
pub fn read(body: &[u8]) -> Result<View, BodyError> {
    let mut scanner = Scanner::from_bytes(body)?;
    let mut reader =
        Reader { view: View::default(), deciding: Deciding::of(&DECIDING), claimed_user: [None, None, None] };
    let (mut max_tokens, mut max_completion_tokens) = (WholeNumber::Absent, WholeNumber::Absent);
    scanner.object::<BodyError>(|s, key| match &*key.decode() {
        "model" => reader.model(s),
        "stream" => reader.stream(s),
        "stream_options" => reader.stream_options(s),
        "messages" => reader.messages(s),
        "tools" => reader.tools(s),
        "functions" => reader.functions(s),
        "metadata" => claims(s, &mut reader.view.claims, &mut reader.claimed_user[0]),
        "max_tokens" => reader.number(s, Seen::MaxTokens, &mut max_tokens),
        "max_completion_tokens" => reader.number(s, Seen::MaxCompletionTokens, &mut max_completion_tokens),
        "n" => {
            reader.once(Seen::N)?;
            reader.view.answers = from_one(s.whole_number()?);
            Ok(())
        }
        "service_tier" => {
            reader.once(Seen::ServiceTier)?;
            reader.view.service_tier = text(s)?;
            Ok(())
        }
        "prompt_cache_key" => {
            let claimed = text(s)?;
            reader.view.claims.prompt = reader.view.claims.prompt.take().or_else(|| claimed.clone());
            reader.view.cache_key = claimed;
            Ok(())
        }
        "response_format" => reader.response_format(s),
        "prediction" => {
            reader.once(Seen::Prediction)?;
            let range = s.skip()?;
            reader.view.predicted_bytes = if s.text(range.clone()) == "null" { 0 } else { range.len() };
            Ok(())
        }
        "safety_identifier" => reader.user(s, 1),
        "user" => reader.user(s, 2),
        "web_search_options" => {
            reader.view.attachments.server_tools += 1;
            Ok(s.pass()?)
        }
        other => {
            reader.deciding.pass(other)?;
            Ok(s.pass()?)
        }
    })?;
    scanner.end()?;
    reader.finish(larger(max_completion_tokens, max_tokens))
}

/// The keys of a body on which something is decided.
const DECIDING: [&str; 12] = [
    "model",
    "stream",
    "stream_options",
    "messages",
    "tools",
    "functions",
    "max_tokens",
    "max_completion_tokens",
    "n",
    "service_tier",
    "prediction",
    "web_search_options",
];

/// The places in [`DECIDING`] of those that may stand only once.
#[derive(Clone, Copy)]
enum Seen {
    Model,
    Stream,
    StreamOptions,
    Messages,
    Tools,
    Functions,
    MaxTokens,
    MaxCompletionTokens,
    N,
    ServiceTier,
    Prediction,
}

struct Reader {
    view: View,
    deciding: Deciding,
    /// `metadata.user`, `safety_identifier`, `user`: the first that is there counts.
    claimed_user: [Option<String>; 3],
}

impl Reader {
    fn once(&mut self, key: Seen) -> Result<(), BodyError> {
        self.deciding.note_at(key as usize)
    }

    fn user(&mut self, s: &mut Scanner<'_>, rank: usize) -> Result<(), BodyError> {
        self.claimed_user[rank] = text(s)?;
        Ok(())
    }

    fn number(&mut self, s: &mut Scanner<'_>, key: Seen, into: &mut WholeNumber) -> Result<(), BodyError> {
        self.once(key)?;
        s.peek();
        let start = s.position();
        *into = from_one(s.whole_number()?);
        self.view.output_limits_at[usize::from(key as u32 == Seen::MaxTokens as u32)] = Some(start..s.position());
        Ok(())
    }

    fn model(&mut self, s: &mut Scanner<'_>) -> Result<(), BodyError> {
        self.once(Seen::Model)?;
        (self.view.model, self.view.model_at) = model(s)?;
        Ok(())
    }

    fn stream(&mut self, s: &mut Scanner<'_>) -> Result<(), BodyError> {
        self.once(Seen::Stream)?;
        self.view.stream = switch(s)?;
        Ok(())
    }

    fn stream_options(&mut self, s: &mut Scanner<'_>) -> Result<(), BodyError> {
        self.once(Seen::StreamOptions)?;
        self.view.usage_in_stream = stream_options(s)?;
        Ok(())
    }

    fn messages(&mut self, s: &mut Scanner<'_>) -> Result<(), BodyError> {
        self.once(Seen::Messages)?;
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
        let (mut speaker, mut content) = (Speaker::Other, None);
        let at = s.object::<BodyError>(|s, key| {
            match &*key.decode() {
                "role" => speaker = s.string_or_skip()?.map(speaker_of).unwrap_or_default(),
                "content" => content = Some(self.content(s)?),
                _ => s.pass()?,
            }
            Ok(())
        })?;
        if speaker == Speaker::Instructions && self.view.system_at.is_none() {
            self.view.system_at.clone_from(&content);
        }
        let said = content.clone().map_or("", |at| s.text(at));
        self.view.outline.message(speaker, s.text(at), said, content);
        Ok(())
    }

    fn response_format(&mut self, s: &mut Scanner<'_>) -> Result<(), BodyError> {
        if s.peek() != Some(b'{') {
            return Ok(s.pass()?);
        }
        let at = s.object::<BodyError>(|s, key| {
            if key.decode() == "type" {
                let kind = s.string_or_skip()?.map(RawStr::decode);
                self.view.outline.wants_json = matches!(kind.as_deref(), Some("json_object" | "json_schema"));
                Ok(())
            } else {
                Ok(s.pass()?)
            }
        })?;
        self.view.outline.chain.head.with(HEAD_FORMAT, s.text(at));
        Ok(())
    }

    fn content(&mut self, s: &mut Scanner<'_>) -> Result<Range<usize>, BodyError> {
        if s.peek() != Some(b'[') {
            return Ok(s.skip()?);
        }
        let View { attachments: found, named, .. } = &mut self.view;
        types(s, |kind, part| {
            match kind {
                Some("image_url" | "image") => found.images += 1,
                Some("file") => {
                    found.references += 1;
                    file(part, named)?;
                }
                Some("input_audio" | "audio_url" | "input_video" | "video_url") => found.recordings += 1,
                _ => return Ok(()),
            }
            found.bytes += part.len();
            Ok(())
        })
    }

    fn tools(&mut self, s: &mut Scanner<'_>) -> Result<(), BodyError> {
        self.once(Seen::Tools)?;
        if s.peek() != Some(b'[') {
            return Ok(s.pass()?);
        }
        let at = s.array::<BodyError>(|s| if s.peek() == Some(b'{') { self.tool(s) } else { Ok(s.pass()?) })?;
        self.view.outline.chain.head.with(HEAD_TOOLS, s.text(at.clone()));
        self.view.outline.tools_at = Some(at);
        Ok(())
    }

    fn tool(&mut self, s: &mut Scanner<'_>) -> Result<(), BodyError> {
        let (mut kind, mut name) = (None, None);
        s.object::<JsonError>(|s, key| match &*key.decode() {
            "type" => {
                kind = s.string_or_skip()?;
                Ok(())
            }
            "name" => {
                name = Some(s.skip()?);
                Ok(())
            }
            // What a function is stands under `function`, a custom tool under `custom`.
            "function" | "custom" if s.peek() == Some(b'{') => s
                .object::<JsonError>(|s, key| {
                    if key.decode() == "name" {
                        name = Some(s.skip()?);
                        Ok(())
                    } else {
                        s.pass()
                    }
                })
                .map(drop),
            _ => s.pass(),
        })?;
        let is_clients = matches!(kind.map(RawStr::decode).as_deref(), None | Some("function" | "custom"));
        self.view.attachments.server_tools += u64::from(!is_clients);
        name.into_iter().for_each(|name| self.view.outline.tool(name));
        Ok(())
    }

    /// What `tools` were called before; there is no other kind of them than functions.
    /// <https://platform.openai.com/docs/api-reference/chat/create#chat-create-functions>
    fn functions(&mut self, s: &mut Scanner<'_>) -> Result<(), BodyError> {
        self.once(Seen::Functions)?;
        if s.peek() != Some(b'[') {
            return Ok(s.pass()?);
        }
        let at = s.array::<BodyError>(|s| if s.peek() == Some(b'{') { self.tool(s) } else { Ok(s.pass()?) })?;
        self.view.outline.chain.head.with(HEAD_FUNCTIONS, s.text(at.clone()));
        self.view.outline.tools_at = self.view.outline.tools_at.take().or(Some(at));
        Ok(())
    }

    fn finish(mut self, output_limit: WholeNumber) -> Result<View, BodyError> {
        for key in ["model", "messages"] {
            if !self.deciding.has(key) {
                return Err(BodyError::Wrong { key, wanted: "given" });
            }
        }
        self.view.output_limit = output_limit;
        self.view.claims.user = self.claimed_user.into_iter().flatten().next();
        Ok(self.view)
    }
}

/// Where both limits are given, which of them a provider keeps is its own affair.
fn larger(a: WholeNumber, b: WholeNumber) -> WholeNumber {
    match (a, b) {
        (WholeNumber::Odd, _) | (_, WholeNumber::Odd) => WholeNumber::Odd,
        (WholeNumber::Is(a), WholeNumber::Is(b)) => WholeNumber::Is(a.max(b)),
        (WholeNumber::Absent, known) | (known, WholeNumber::Absent) => known,
    }
}

fn speaker_of(role: RawStr<'_>) -> Speaker {
    match &*role.decode() {
        "system" | "developer" => Speaker::Instructions,
        "user" => Speaker::User,
        "tool" | "function" => Speaker::Tool,
        _ => Speaker::Other,
    }
}

/// Takes note of a file that a part names and does not have in it.
/// <https://platform.openai.com/docs/api-reference/chat/create#chat-create-messages>
fn file(part: &str, files: &mut Vec<Named>) -> Result<(), BodyError> {
    Scanner::new(part)
        .object::<BodyError>(|s, key| {
            if key.decode() != "file" || s.peek() != Some(b'{') {
                return Ok(s.pass()?);
            }
            s.object::<BodyError>(
                |s, key| {
                    if key.decode() == "file_id" { named(s, "messages", files) } else { Ok(s.pass()?) }
                },
            )
            .map(drop)
        })
        .map(drop)
}

/// Reads an array and tells the `type` of each object in it, `None` for one without, and its text.
fn types(
    s: &mut Scanner<'_>,
    mut seen: impl FnMut(Option<&str>, &str) -> Result<(), BodyError>,
) -> Result<Range<usize>, BodyError> {
    s.array::<BodyError>(|s| {
        if s.peek() != Some(b'{') {
            return Ok(s.pass()?);
        }
        let mut kind = None;
        let range = s.object::<JsonError>(|s, key| {
            if key.decode() == "type" {
                kind = s.string_or_skip()?;
                Ok(())
            } else {
                s.pass()
            }
        })?;
        seen(kind.map(RawStr::decode).as_deref(), s.text(range))
    })
}

#[cfg(test)]
mod tests;
