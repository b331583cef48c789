//! Input items of Responses: which fields and parts each kind has, and what must stand together.
//!
//! Calls and outputs come in pairs, a thought is followed by what it led to, and its sealed content comes back as it
//! went out. <https://platform.openai.com/docs/api-reference/responses/create>

use serde_json::{Value, json};

use super::super::prefix_cache::PromptTokens;
use super::super::seal;
use super::super::tokenizer::tokens;
use super::kept::Kept;
use super::refusal::{Read, Refusal};

/// Kinds whose fields are known here, each with them.
const KNOWN: [(&str, &[&str]); 7] = [
    ("message", &["type", "role", "content", "id", "status", "phase"]),
    ("function_call", &["type", "call_id", "name", "arguments", "id", "status", "namespace", "async", "caller"]),
    ("function_call_output", &["type", "call_id", "output", "id", "status", "caller"]),
    ("custom_tool_call", &["type", "call_id", "name", "input", "id", "status", "namespace", "caller"]),
    ("custom_tool_call_output", &["type", "call_id", "output", "id", "status", "caller"]),
    ("reasoning", &["type", "id", "summary", "content", "encrypted_content", "status"]),
    ("item_reference", &["type", "id"]),
];
/// Kinds that the provider's own tools leave behind: accepted as they are.
const OTHERS: [&str; 16] = [
    "additional_tools",
    "apply_patch_call",
    "apply_patch_call_output",
    "code_interpreter_call",
    "compaction",
    "computer_call",
    "computer_call_output",
    "file_search_call",
    "image_generation_call",
    "local_shell_call",
    "local_shell_call_output",
    "mcp_call",
    "mcp_list_tools",
    "shell_call",
    "shell_call_output",
    "web_search_call",
];
const INPUT_PARTS: [&str; 4] = ["input_audio", "input_file", "input_image", "input_text"];
const OUTPUT_PARTS: [&str; 2] = ["output_text", "refusal"];
/// Tokens that frame each item.
const ITEM_FRAME_TOKENS: usize = 4;
/// Tokens of an image or a file, whatever its size.
const PICTURE_TOKENS: usize = 765;

/// The items of `input`, each an object with a type; a plain text is a message of the user.
pub(super) fn read(input: &Value, kept: &Kept) -> Read<Vec<Value>> {
    match input {
        Value::String(text) => {
            Ok(vec![json!({"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]})])
        }
        Value::Array(items) => items.iter().enumerate().map(|(index, item)| read_one(index, item, kept)).collect(),
        other => Err(Refusal::wrong_type("input", "one of a string or array of input items", other)),
    }
}

fn read_one(index: usize, item: &Value, kept: &Kept) -> Read<Value> {
    let path = format!("input[{index}]");
    let Some(fields) = item.as_object() else { return Err(Refusal::wrong_type(&path, "an object", item)) };
    let kind = match (item["type"].as_str(), item["role"].as_str()) {
        (Some(kind), _) => kind,
        (None, Some(_)) => "message",
        (None, None) => return Err(Refusal::missing(&format!("{path}.type"))),
    };
    let Some((_, known)) = KNOWN.iter().find(|(name, _)| *name == kind) else {
        if OTHERS.contains(&kind) || kind.starts_with("tool_search") || kind.starts_with("mcp_approval") {
            return Ok(item.clone());
        }
        let known: Vec<_> = KNOWN.iter().map(|(name, _)| *name).chain(OTHERS).collect();
        return Err(Refusal::wrong_value(&path, kind, &known));
    };
    if let Some(key) = fields.keys().find(|key| !known.contains(&key.as_str())) {
        return Err(Refusal::unknown(&format!("{path}.{key}")));
    }
    let text = |key: &str| match fields.get(key) {
        None => Err(Refusal::missing(&format!("{path}.{key}"))),
        Some(value) => value.as_str().ok_or_else(|| Refusal::wrong_type(&format!("{path}.{key}"), "a string", value)),
    };
    match kind {
        "message" => read_message(&path, item, text("role")?)?,
        "function_call" => [text("call_id")?, text("name")?, text("arguments")?].into_iter().for_each(drop),
        "custom_tool_call" => [text("call_id")?, text("name")?, text("input")?].into_iter().for_each(drop),
        "reasoning" => read_thought(&path, item, text("id")?, kept)?,
        "item_reference" => {
            let id = text("id")?;
            return kept.item(id).cloned().ok_or_else(|| no_item(id));
        }
        _ => {
            text("call_id")?;
            match fields.get("output") {
                None => return Err(Refusal::missing(&format!("{path}.output"))),
                Some(Value::String(_)) => {}
                Some(Value::Array(parts)) => read_parts(&format!("{path}.output"), parts, &INPUT_PARTS)?,
                Some(other) => return Err(Refusal::wrong_type(&format!("{path}.output"), "a string", other)),
            }
        }
    }
    refuse_id(&path, item, kind)?;
    let mut item = item.clone();
    item["type"] = kind.into();
    Ok(item)
}

fn read_message(path: &str, item: &Value, role: &str) -> Read<()> {
    let parts: &[&str] = match role {
        "user" | "system" | "developer" => &INPUT_PARTS,
        "assistant" => &OUTPUT_PARTS,
        _ => {
            let known = ["assistant", "system", "developer", "user"];
            return Err(Refusal::wrong_value(path, role, &known));
        }
    };
    match &item["content"] {
        Value::String(_) => Ok(()),
        Value::Array(content) => read_parts(&format!("{path}.content"), content, parts),
        Value::Null => Err(Refusal::missing(&format!("{path}.content"))),
        other => Err(Refusal::wrong_type(&format!("{path}.content"), "one of a string or array of objects", other)),
    }
}

fn read_parts(path: &str, parts: &[Value], known: &[&str]) -> Read<()> {
    for (index, part) in parts.iter().enumerate() {
        let path = format!("{path}[{index}]");
        let Some(kind) = part["type"].as_str() else { return Err(Refusal::missing(&format!("{path}.type"))) };
        if !known.contains(&kind) {
            return Err(Refusal::wrong_value(&path, kind, known));
        }
        let needed = match kind {
            "input_text" | "output_text" => "text",
            "refusal" => "refusal",
            _ => continue,
        };
        if !part[needed].is_string() {
            return Err(Refusal::missing(&format!("{path}.{needed}")));
        }
    }
    Ok(())
}

/// A thought is known by its sealed content, or by its id where it was stored.
fn read_thought(path: &str, item: &Value, id: &str, kept: &Kept) -> Read<()> {
    if !item["summary"].is_array() {
        return Err(Refusal::missing(&format!("{path}.summary")));
    }
    match item["encrypted_content"].as_str() {
        Some(sealed) if seal::open(sealed).is_none() => {
            let message = format!(
                "The encrypted content for item {id} could not be verified. Reason: Encrypted content could not be \
                 decrypted or parsed."
            );
            Err(Refusal::bad(message, "", Some("invalid_encrypted_content")))
        }
        Some(_) => Ok(()),
        None if kept.item(id).is_some() => Ok(()),
        None => Err(no_item(id)),
    }
}

fn no_item(id: &str) -> Refusal {
    Refusal::not_found(format!(
        "Item with id '{id}' not found. Items are not persisted when `store` is set to false. Try again with `store` \
         set to true, or remove this item from your input."
    ))
}

fn refuse_id(path: &str, item: &Value, kind: &str) -> Read<()> {
    let begins = match kind {
        "message" if item["role"] == "assistant" => "msg",
        "function_call" => "fc",
        "custom_tool_call" => "ctc",
        "reasoning" => "rs",
        _ => return Ok(()),
    };
    match item["id"].as_str().filter(|id| !id.starts_with(begins)) {
        None => Ok(()),
        Some(id) => {
            let path = format!("{path}.id");
            let message = format!("Invalid '{path}': '{id}'. Expected an ID that begins with '{begins}'.");
            Err(Refusal::bad(message, &path, Some("invalid_value")))
        }
    }
}

/// Holds a whole conversation to the order that the API demands.
pub(super) fn refuse_disorder(items: &[Value]) -> Read<()> {
    let is_call = |item: &Value| matches!(item["type"].as_str(), Some("function_call" | "custom_tool_call"));
    let is_output =
        |item: &Value| matches!(item["type"].as_str(), Some("function_call_output" | "custom_tool_call_output"));
    for (index, item) in items.iter().enumerate() {
        let call_id = item["call_id"].as_str().unwrap_or_default();
        let tool = if item["type"].as_str().is_some_and(|kind| kind.starts_with("custom")) {
            "custom tool"
        } else {
            "function"
        };
        let same = |other: &&Value| other["call_id"] == call_id;
        if is_output(item) && !items[..index].iter().filter(|item| is_call(item)).any(|item| same(&item)) {
            let message = format!("No tool call found for {tool} call output with call_id {call_id}.");
            return Err(Refusal::bad(message, "input", None));
        }
        if is_call(item) && !items[index..].iter().filter(|item| is_output(item)).any(|item| same(&item)) {
            return Err(Refusal::bad(format!("No tool output found for {tool} call {call_id}."), "input", None));
        }
        let follows = items.get(index + 1).is_some_and(|next| {
            next["role"] == "assistant"
                || next["type"] == "reasoning"
                || next["type"].as_str().is_some_and(|kind| kind.ends_with("_call"))
        });
        if item["type"] == "reasoning" && !follows {
            let id = item["id"].as_str().unwrap_or_default();
            let message = format!("Item '{id}' of type 'reasoning' was provided without its required following item.");
            return Err(Refusal::bad(message, "input", None));
        }
    }
    Ok(())
}

/// The text of the newest message of the user that has one.
pub(super) fn last_user_text(items: &[Value]) -> String {
    let said = items.iter().rev().filter(|item| item["role"] == "user").map(|item| words(&item["content"]));
    said.into_iter().find(|text| !text.is_empty()).unwrap_or_default()
}

/// The texts of a content, joined.
pub(super) fn words(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(parts) => {
            parts.iter().filter_map(|part| part["text"].as_str().or(part["refusal"].as_str())).collect()
        }
        _ => String::new(),
    }
}

/// Appends an item to a prompt.
pub(super) fn feed(item: &Value, prompt: &mut PromptTokens) {
    let role = item["role"].as_str().or(item["type"].as_str()).unwrap_or_default();
    (1..ITEM_FRAME_TOKENS).for_each(|_| prompt.push(role));
    let mut say = |text: &str| tokens(text).for_each(|token| prompt.push(token));
    match item["type"].as_str() {
        Some("message") => say(&words(&item["content"])),
        Some("function_call") | Some("custom_tool_call") => {
            ["name", "arguments", "input"].iter().filter_map(|key| item[key].as_str()).for_each(say);
        }
        Some("function_call_output" | "custom_tool_call_output") => say(&words(&item["output"])),
        Some("reasoning") => say(&item["encrypted_content"].as_str().and_then(seal::open).unwrap_or_default()),
        _ => say(&item.to_string()),
    }
    let parts = [&item["content"], &item["output"]].into_iter().filter_map(Value::as_array).flatten();
    for _ in parts.filter(|part| matches!(part["type"].as_str(), Some("input_image" | "input_file"))) {
        (0..PICTURE_TOKENS).for_each(|_| prompt.push("<|image|>"));
    }
    prompt.push("<|end|>");
}
