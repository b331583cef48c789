//! The order of a conversation: who may speak when, and that calls, results and thoughts belong together.
//!
//! Neighbouring messages of one role are one turn, as the API merges them.

use serde_json::Value;

use super::super::seal;
use super::blocks::{Block, Place, read};
use super::fields::{Object, Read, wrong};
use super::model::Claude;
use super::request::{Header, Thinking};

/// What one side says before the other does.
#[derive(Debug)]
pub(super) struct Turn<'a> {
    pub(super) role: &'a str,
    pub(super) path: String,
    pub(super) blocks: Vec<Block<'a>>,
}

impl Turn<'_> {
    /// The text of its text blocks.
    pub(super) fn text(&self) -> String {
        self.blocks.iter().filter(|block| block.kind == "text").map(|block| block.words.as_str()).collect()
    }

    fn calls(&self) -> Vec<&str> {
        self.blocks.iter().filter(|block| block.kind == "tool_use").filter_map(|block| block.call).collect()
    }
}

/// Reads `messages` and holds them to the order that the API demands.
pub(super) fn read_turns<'a>(
    messages: &'a [Value],
    model: Claude<'_>,
    header: &Header,
    thinking: Thinking,
) -> Read<Vec<Turn<'a>>> {
    if messages.is_empty() {
        return Err("messages: at least one message is required".to_owned());
    }
    let mut turns: Vec<Turn<'a>> = Vec::new();
    for (index, message) in messages.iter().enumerate() {
        let turn = read_turn(index, message, model, header)?;
        let is_last = index + 1 == messages.len();
        refuse_empty(&turn, is_last)?;
        match turns.last_mut().filter(|last| last.role == turn.role && turn.role != "system") {
            Some(last) => last.blocks.extend(turn.blocks),
            None => {
                refuse_place(&turn, turns.last())?;
                turns.push(turn);
            }
        }
    }
    refuse_unpaired(&turns)?;
    refuse_thoughts(&turns, thinking)?;
    refuse_prefill(&turns, model, thinking)?;
    Ok(turns)
}

fn read_turn<'a>(index: usize, message: &'a Value, model: Claude<'_>, header: &Header) -> Read<Turn<'a>> {
    let object = Object::of(format!("messages.{index}"), message)?;
    let role = object.need_text("role")?;
    object.only(&["role", "content"])?;
    let place = match role {
        "assistant" => Place::Assistant,
        "user" => Place::User,
        "system" if model.takes_system_messages() => Place::System,
        "system" => {
            return Err("messages: Unexpected role \"system\". The Messages API accepts a top-level `system` \
                        parameter, not \"system\" as an input message role."
                .to_owned());
        }
        _ => return Err(wrong(&object.at("role"), "Input should be 'user' or 'assistant'")),
    };
    let blocks = read(&object.at("content"), object.need("content")?, place, header)?;
    Ok(Turn { role, path: object.path, blocks })
}

fn refuse_place(turn: &Turn<'_>, before: Option<&Turn<'_>>) -> Read<()> {
    match (turn.role, before.map(|turn| turn.role)) {
        ("system", None) => {
            Err("messages.0: use the top-level 'system' parameter for the initial system prompt".to_owned())
        }
        ("system", Some("assistant" | "system")) => {
            Err(wrong(&turn.path, "role 'system' must directly follow a 'user' message"))
        }
        ("assistant", None) => Err("messages: first message must use the \"user\" role".to_owned()),
        _ => Ok(()),
    }
}

fn refuse_empty(turn: &Turn<'_>, is_last: bool) -> Read<()> {
    let says_nothing = turn.blocks.iter().all(|block| block.kind == "text" && block.words.is_empty());
    let is_plain = turn.blocks.iter().all(|block| block.object.is_none());
    if turn.blocks.is_empty() || is_plain && says_nothing {
        return match (turn.role, is_last) {
            ("assistant", true) => Ok(()),
            ("assistant", false) => Err(wrong(
                &turn.path,
                "all messages must have non-empty content except for the optional final assistant message",
            )),
            (role, _) => Err(wrong(&turn.path, &format!("{role} messages must have non-empty content"))),
        };
    }
    for block in turn.blocks.iter().filter(|block| block.kind == "text") {
        if block.words.is_empty() {
            return Err("messages: text content blocks must be non-empty".to_owned());
        }
        if block.words.trim().is_empty() {
            return Err("messages: text content blocks must contain non-whitespace text".to_owned());
        }
    }
    Ok(())
}

/// Each call has its result at the very beginning of the next turn, and each result its call in the turn before.
fn refuse_unpaired(turns: &[Turn<'_>]) -> Read<()> {
    for (index, turn) in turns.iter().enumerate() {
        let calls = turn.calls();
        let next = turns.get(index + 1).map_or(&[][..], |next| next.blocks.as_slice());
        let answered: Vec<_> =
            next.iter().take_while(|block| block.kind == "tool_result").filter_map(|block| block.call).collect();
        let open: Vec<_> = calls.iter().filter(|call| !answered.contains(call)).copied().collect();
        if !open.is_empty() {
            let found = format!(
                "`tool_use` ids were found without `tool_result` blocks immediately after: {}. Each `tool_use` block \
                 must have a corresponding `tool_result` block in the next message.",
                open.join(", ")
            );
            return Err(wrong(&turn.path, &found));
        }
        let before = index.checked_sub(1).map_or(Vec::new(), |before| turns[before].calls());
        let mut results: Vec<&str> = Vec::new();
        for block in turn.blocks.iter().filter(|block| block.kind == "tool_result") {
            let call = block.call.unwrap_or_default();
            if !before.contains(&call) {
                let found = format!(
                    "unexpected `tool_use_id` found in `tool_result` blocks: {call}. Each `tool_result` block must \
                     have a corresponding `tool_use` block in the previous message."
                );
                return Err(wrong(&block.path, &found));
            }
            if results.contains(&call) {
                let found = format!(
                    "each tool_use must have a single result. Found multiple `tool_result` blocks with id: {call}"
                );
                return Err(wrong(&block.path, &found));
            }
            results.push(call);
        }
        if let Some(twice) = calls.iter().enumerate().find(|(at, call)| calls[..*at].contains(call)) {
            return Err(wrong(&turn.path, &format!("`tool_use` ids must be unique: {}", twice.1)));
        }
    }
    Ok(())
}

/// Thoughts come back as they went out, and never at the end of what was said.
fn refuse_thoughts(turns: &[Turn<'_>], thinking: Thinking) -> Read<()> {
    for (index, turn) in turns.iter().enumerate() {
        for block in &turn.blocks {
            let field = |key| block.object.as_ref().and_then(|object| object.find(key)).and_then(Value::as_str);
            match block.kind {
                "thinking" if !is_own(field("signature").unwrap_or_default(), &block.words) => {
                    return Err(wrong(&block.path, "Invalid `signature` in `thinking` block"));
                }
                "redacted_thinking" if field("data").and_then(seal::open).is_none() => {
                    return Err(wrong(&block.path, "Invalid `data` in `redacted_thinking` block"));
                }
                _ => {}
            }
        }
        if let Some(last) = turn.blocks.last().filter(|block| is_thought(block)) {
            let found = format!("The final block in an assistant message cannot be `{}`.", last.kind);
            return Err(wrong(&turn.path, &found));
        }
        let awaits_more = index + 2 >= turns.len() && !turn.calls().is_empty();
        if let Some(first) = turn.blocks.first()
            && thinking == Thinking::Budget
            && awaits_more
            && !is_thought(first)
        {
            let found = format!(
                "Expected `thinking` or `redacted_thinking`, but found `{}`. When `thinking` is enabled, a final \
                 `assistant` message must start with a thinking block (preceeding the lastmost set of `tool_use` and \
                 `tool_result` blocks). We recommend you include thinking blocks from previous turns. To avoid this \
                 requirement, disable `thinking`.",
                first.kind
            );
            return Err(wrong(&format!("{}.type", first.path), &found));
        }
    }
    Ok(())
}

/// A thought whose text was left out is sealed in its signature.
fn is_own(signature: &str, thought: &str) -> bool {
    seal::vouches(signature, thought) || thought.is_empty() && seal::open(signature).is_some()
}

fn is_thought(block: &Block<'_>) -> bool {
    matches!(block.kind, "thinking" | "redacted_thinking")
}

fn refuse_prefill(turns: &[Turn<'_>], model: Claude<'_>, thinking: Thinking) -> Read<()> {
    let Some(last) = turns.last().filter(|turn| turn.role == "assistant") else { return Ok(()) };
    if !model.takes_prefill() || thinking != Thinking::Off {
        return Err("This model does not support assistant message prefill. The conversation must end with a user \
                    message."
            .to_owned());
    }
    match last.text().ends_with(char::is_whitespace) {
        true => Err("messages: final assistant content cannot end with trailing whitespace".to_owned()),
        false => Ok(()),
    }
}
