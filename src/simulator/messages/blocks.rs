//! Content blocks of Messages: which fields each kind has, where it may stand, and which may carry a marker.
//!
//! <https://platform.claude.com/docs/en/api/messages>

use serde_json::Value;

use super::fields::{Object, Read, list, text, wrong};
use super::marks::Stay;
use super::request::Header;

/// Where a block stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Place {
    System,
    User,
    Assistant,
    ToolResult,
}

/// One block that was read.
#[derive(Debug)]
pub(super) struct Block<'a> {
    pub(super) path: String,
    pub(super) kind: &'a str,
    pub(super) marker: Option<Stay>,
    /// What it says, in the words that are counted.
    pub(super) words: String,
    /// `id` of a call, `tool_use_id` of a result.
    pub(super) call: Option<&'a str>,
    /// The block itself; a content that is a plain string has none.
    pub(super) object: Option<Object<'a>>,
}

const USER: [&str; 6] = ["container_upload", "document", "image", "search_result", "text", "tool_result"];
const ASSISTANT: [&str; 13] = [
    "bash_code_execution_tool_result",
    "code_execution_tool_result",
    "document",
    "mcp_tool_result",
    "mcp_tool_use",
    "redacted_thinking",
    "server_tool_use",
    "text",
    "text_editor_code_execution_tool_result",
    "thinking",
    "tool_search_tool_result",
    "tool_use",
    "web_search_tool_result",
];
const RESULT: [&str; 5] = ["document", "image", "search_result", "text", "tool_reference"];

/// Tokens of an image or a page, whatever its size.
const PICTURE_TOKENS: usize = 1500;

impl Place {
    fn kinds(self) -> &'static [&'static str] {
        match self {
            Self::System => &["text"],
            Self::User => &USER,
            Self::Assistant => &ASSISTANT,
            Self::ToolResult => &RESULT,
        }
    }

    fn role(self) -> &'static str {
        if self == Self::Assistant { "assistant" } else { "user" }
    }
}

/// The blocks of a `content` or `system`: a list of them, or one text.
pub(super) fn read<'a>(path: &str, value: &'a Value, place: Place, header: &Header) -> Read<Vec<Block<'a>>> {
    if let Some(words) = value.as_str() {
        let (path, words) = (path.to_owned(), words.to_owned());
        return Ok(vec![Block { path, kind: "text", marker: None, words, call: None, object: None }]);
    }
    let blocks = list(path, value)?.iter().enumerate();
    blocks.map(|(index, block)| read_one(format!("{path}.{index}"), block, place, header)).collect()
}

fn read_one<'a>(path: String, value: &'a Value, place: Place, header: &Header) -> Read<Block<'a>> {
    let object = Object::of(path.as_str(), value)?;
    refuse_misplaced(&object, place)?;
    let kind = object.tag(place.kinds())?;
    let named = object.tagged(kind);
    let mut block = Block { path, kind, marker: None, words: String::new(), call: None, object: Some(named.clone()) };
    match kind {
        "text" => {
            named.only(&["type", "text", "cache_control", "citations"])?;
            block.words = named.need_text("text")?.to_owned();
            let cites = named.list("citations").map(|citations| !citations.is_empty()).unwrap_or(true);
            if header.is_new() && place != Place::Assistant && cites {
                return Err(named.extra("citations"));
            }
        }
        "thinking" => {
            named.only(&["type", "thinking", "signature"])?;
            block.words = named.need_text("thinking")?.to_owned();
            named.need_text("signature")?;
        }
        "redacted_thinking" => {
            named.only(&["type", "data"])?;
            named.need_text("data")?;
        }
        "tool_use" => {
            named.only(&["type", "id", "name", "input", "cache_control", "caller", "toolset_name"])?;
            block.call = Some(identifier(&named, "id")?);
            let input = Object::of(named.at("input"), named.need("input")?)?;
            block.words = format!("{}{}", named.need_text("name")?, named.need("input")?);
            debug_assert!(input.path.ends_with("input"));
        }
        "tool_result" => read_result(&named, header, &mut block)?,
        "image" => {
            named.only(&["type", "source", "cache_control"])?;
            source(&named, &["base64", "file", "url"])?;
            block.words = " picture".repeat(PICTURE_TOKENS);
        }
        "document" => {
            if header.is_new() && place == Place::Assistant {
                return Err(wrong(&block.path, "`document` blocks are not permitted in `assistant` messages"));
            }
            named.only(&["type", "source", "cache_control", "title", "context", "citations"])?;
            let source = source(&named, &["base64", "content", "file", "text", "url"])?;
            block.words = match source.tag(&["base64", "content", "file", "text", "url"])? {
                "text" => source.need_text("data")?.to_owned(),
                "content" => source.need("content")?.to_string(),
                _ => " page".repeat(PICTURE_TOKENS),
            };
        }
        "search_result" => {
            named.only(&["type", "source", "title", "content", "cache_control", "citations"])?;
            named.need_text("source")?;
            named.need_text("title")?;
            block.words = value.to_string();
        }
        // What the provider's own tools left behind: they are not run here, but their traces may come.
        _ => block.words = value.to_string(),
    }
    if let Some(stay) = marker(&named)? {
        if kind == "text" && block.words.is_empty() {
            return Err(format!("{}: cache_control cannot be set for empty text blocks", block.path));
        }
        block.marker = Some(stay);
    }
    Ok(block)
}

fn refuse_misplaced(object: &Object<'_>, place: Place) -> Read<()> {
    let kind = object.find("type").and_then(Value::as_str).unwrap_or_default();
    let home = match (kind, place) {
        ("tool_use" | "thinking" | "redacted_thinking", Place::User) => "assistant",
        ("tool_result", Place::Assistant) => "user",
        _ => return Ok(()),
    };
    debug_assert_ne!(home, place.role());
    let message = object.path.split(".content").next().unwrap_or_default();
    Err(wrong(message, &format!("`{kind}` blocks can only be in `{home}` messages")))
}

fn read_result<'a>(named: &Object<'a>, header: &Header, block: &mut Block<'a>) -> Read<()> {
    named.only(&["type", "tool_use_id", "content", "is_error", "cache_control"])?;
    named.boolean("is_error")?;
    block.call = Some(identifier(named, "tool_use_id")?);
    let Some(content) = named.find("content") else { return Ok(()) };
    for inner in read(&named.at("content"), content, Place::ToolResult, header)? {
        block.words.push_str(&inner.words);
        block.marker = block.marker.max(inner.marker);
    }
    Ok(())
}

fn source<'a>(named: &Object<'a>, kinds: &[&str]) -> Read<Object<'a>> {
    let source = Object::of(named.at("source"), named.need("source")?)?;
    let kind = source.tag(kinds)?;
    let tagged = source.tagged(kind);
    match kind {
        "base64" => {
            tagged.only(&["type", "media_type", "data"])?;
            tagged.need_text("media_type")?;
            tagged.need_text("data")?;
        }
        "url" => drop(tagged.need_text("url")?),
        "file" => drop(tagged.need_text("file_id")?),
        _ => {}
    }
    Ok(source)
}

fn identifier<'a>(named: &Object<'a>, key: &str) -> Read<&'a str> {
    let id = named.need_text(key)?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    match !id.is_empty() && id.bytes().all(plain) {
        true => Ok(id),
        false => Err(wrong(&named.at(key), "String should match pattern '^[a-zA-Z0-9_-]+$'")),
    }
}

/// The marker of anything that may carry one.
pub(super) fn marker(object: &Object<'_>) -> Read<Option<Stay>> {
    let Some(marker) = object.object("cache_control")? else { return Ok(None) };
    marker.tag(&["ephemeral"])?;
    let named = marker.tagged("ephemeral");
    named.only(&["type", "ttl", "scope"])?;
    Ok(Some(match named.word("ttl", &["5m", "1h"])? {
        Some("1h") => Stay::Hour,
        _ => Stay::FiveMinutes,
    }))
}

/// The texts of a list of strings.
pub(super) fn texts<'a>(object: &Object<'a>, key: &str) -> Read<Vec<&'a str>> {
    let texts = object.list(key)?.iter().enumerate();
    texts.map(|(index, value)| text(&format!("{}.{index}", object.at(key)), value)).collect()
}
