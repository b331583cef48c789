//! OpenAI's Responses: the facts that metering needs, from whole responses and from the events of a stream.
//! <https://platform.openai.com/docs/api-reference/responses/object>, `…/responses-streaming`

use serde_json::{Value, json};

use crate::prompt::json::{JsonError, RawStr, Scanner};
use crate::reply;
use crate::reply::facts::{Ending, Facts};
use crate::reply::usage::WhyUnknown;

use super::errors::{ApiError, failed_code};
use super::openai_usage;
use super::vendors::Habits;

/// Items of an output that the client answers for, or that are no calls at all. What else is called, the provider ran and
/// charges.
const CLIENTS_CALLS: [&str; 5] =
    ["function_call", "custom_tool_call", "local_shell_call", "shell_call", "apply_patch_call"];

/// The longest value of a response that is remembered to end its stream with; longer ones repeat the request.
const REMEMBERED_BYTES_MAX: usize = 1024;

/// The most that is remembered in all.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// What ends a stream in the provider's stead must say once more, and it is written by us.
const ENDED_ANEW: [&str; 7] = ["status", "output", "usage", "error", "incomplete_details", "instructions", "tools"];

/// What has gone by of a stream.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// The number of the next event.
    next: u64,
    /// The members of the response that has begun, each with a comma behind it, but for [`ENDED_ANEW`]; empty: none has.
    head: String,
}

impl Seen {
    /// Takes note of the next event.
    pub fn note(&mut self, json: &[u8]) {
        if self.next == 0 {
            // What cannot be read, is not remembered.
            self.head = begun(json).unwrap_or_default();
        }
        self.next += 1;
    }

    /// The event that ends a stream at its output limit. `used` are input and output tokens.
    pub fn length_ending(&self, used: (u64, u64)) -> String {
        let usage = json!({
            "input_tokens": used.0,
            "input_tokens_details": { "cached_tokens": 0, "cache_write_tokens": 0 },
            "output_tokens": used.1,
            "output_tokens_details": { "reasoning_tokens": 0 },
            "total_tokens": used.0 + used.1,
        });
        let details = json!({ "reason": "max_output_tokens" });
        self.ending("incomplete", &Value::Null, &details, Some(&usage))
    }

    /// The event that ends a stream with an error, if its response has begun: then clients know none but that one.
    pub fn failed_ending(&self, error: &ApiError) -> Option<String> {
        let told = json!({ "code": failed_code(error.code.as_str()), "message": error.message });
        (!self.head.is_empty()).then(|| self.ending("failed", &told, &Value::Null, None))
    }

    fn ending(&self, status: &str, error: &Value, details: &Value, usage: Option<&Value>) -> String {
        let Self { next, head } = self;
        let usage = usage.map_or_else(String::new, |usage| format!(",\"usage\":{usage}"));
        format!(
            "event: response.{status}\ndata: {{\"type\":\"response.{status}\",\"sequence_number\":{next},\"response\":{{{head}\
             \"status\":\"{status}\",\"error\":{error},\"incomplete_details\":{details},\"instructions\":null,\"tools\":[],\
             \"output\":[]{usage}}}}}\n\n"
        )
    }
}

/// The members of the response that begins with an event, but for [`ENDED_ANEW`]. One that is long is told as null.
fn begun(json: &[u8]) -> Result<String, JsonError> {
    let mut s = Scanner::from_bytes(json)?;
    let mut head = String::new();
    s.object::<JsonError>(|s, key| {
        if key.raw != "response" || s.peek() != Some(b'{') {
            return s.pass();
        }
        s.object::<JsonError>(|s, key| {
            let range = s.skip()?;
            let is_told = !ENDED_ANEW.contains(&key.raw) && head.len() + key.raw.len() <= HEAD_BYTES_MAX;
            if is_told {
                let value = if range.len() <= REMEMBERED_BYTES_MAX { s.text(range) } else { "null" };
                for part in ["\"", key.raw, "\":", value, ","] {
                    head.push_str(part);
                }
            }
            Ok(())
        })
        .map(drop)
    })?;
    // Line ends may stand between members, but not in a line of data.
    Ok(if head.contains(['\n', '\r']) { head.replace(['\n', '\r'], " ") } else { head })
}

/// The id of a response that the provider keeps, in a whole response or in the event that it begins with; `None`: it keeps
/// none. <https://platform.openai.com/docs/api-reference/responses/object>
pub fn kept(json: &[u8]) -> Option<String> {
    let mut s = Scanner::from_bytes(json).ok()?;
    let (mut id, mut is_kept) = (None, true);
    let mut member = |s: &mut Scanner<'_>, key: RawStr<'_>| {
        match key.raw {
            "id" => id = s.string_or_skip()?.map(|id| id.decode().into_owned()),
            "store" => {
                let range = s.skip()?;
                is_kept = s.text(range) != "false";
            }
            _ => s.pass()?,
        }
        Ok(())
    };
    s.object::<JsonError>(|s, key| match (key.raw, s.peek()) {
        ("response", Some(b'{')) => s.object::<JsonError>(&mut member).map(drop),
        _ => member(s, key),
    })
    .ok()?;
    id.filter(|_| is_kept)
}

/// Reads a whole response, or one event of a stream. The last event has the whole response once more: its text is none
/// that was generated anew.
///
/// # Errors
///
/// [`JsonError`] for what is not a JSON object.
pub fn read(json: &[u8], habits: Habits) -> Result<Facts, JsonError> {
    let mut s = Scanner::from_bytes(json)?;
    let (mut response, mut event) = (Facts::default(), Facts::default());
    let (mut kind, mut object) = (None, None);
    s.object::<JsonError>(|s, key| match key.raw {
        "type" => {
            kind = s.string_or_skip()?;
            Ok(())
        }
        "object" => {
            object = s.string_or_skip()?;
            Ok(())
        }
        "response" if s.peek() == Some(b'{') => {
            s.object::<JsonError>(|s, key| member(s, key, habits, &mut event)).map(drop)
        }
        "delta" => text(s, &mut response),
        _ => member(s, key, habits, &mut response),
    })?;
    s.end()?;
    if object.is_some_and(|object| object.decode() == "response") {
        // One that failed is no answer.
        response.choices = u64::from(!response.error);
        return Ok(response);
    }
    let mut facts = Facts { text_bytes: response.text_bytes, words: response.words, error: response.error, ..event };
    facts.finished = 0;
    match kind.map(RawStr::decode).as_deref() {
        Some("response.completed" | "response.incomplete") => {
            facts.finished = 1;
            facts.ending = Ending::Over;
        }
        Some("response.failed" | "error") => facts.error = true,
        Some("response.created") => facts.begins = true,
        _ => {}
    }
    Ok(facts)
}

/// A member of a response.
fn member(s: &mut Scanner<'_>, key: RawStr<'_>, habits: Habits, facts: &mut Facts) -> Result<(), JsonError> {
    match key.raw {
        "usage" => {
            let range = s.skip()?;
            if let Some(reported) = openai_usage::read(s.text(range), habits) {
                facts.usage = Some(reported.usage);
                facts.beside = facts.beside.max(reported.beside);
                facts.stated = reported.stated;
            }
        }
        "service_tier" => facts.service_tier = s.string_or_skip()?.map(|tier| habits.charged_tier(&tier.decode())),
        "error" => {
            let range = s.skip()?;
            facts.error |= s.text(range.clone()).starts_with('{') && range.len() > 2;
        }
        "status" => {
            let status = s.string_or_skip()?.map(RawStr::decode);
            facts.finished = u64::from(matches!(status.as_deref(), Some("completed" | "incomplete" | "failed")));
        }
        "output" if s.peek() == Some(b'[') => {
            s.array::<JsonError>(|s| item(s, facts))?;
        }
        _ => s.pass()?,
    }
    Ok(())
}

fn item(s: &mut Scanner<'_>, facts: &mut Facts) -> Result<(), JsonError> {
    if s.peek() != Some(b'{') {
        return s.pass();
    }
    let mut kind = None;
    s.object::<JsonError>(|s, key| match key.raw {
        "type" => {
            kind = s.string_or_skip()?;
            Ok(())
        }
        "arguments" | "input" | "name" => text(s, facts),
        "content" | "summary" if s.peek() == Some(b'[') => s
            .array::<JsonError>(|s| {
                if s.peek() != Some(b'{') {
                    return s.pass();
                }
                s.object::<JsonError>(|s, key| match key.raw {
                    "text" | "refusal" => text(s, facts),
                    _ => s.pass(),
                })
                .map(drop)
            })
            .map(drop),
        _ => s.pass(),
    })?;
    let kind = kind.map(RawStr::decode);
    let is_providers = |kind: &str| kind.ends_with("_call") && !CLIENTS_CALLS.contains(&kind);
    if kind.as_deref().is_some_and(is_providers) {
        facts.beside = facts.beside.max(Some(WhyUnknown::Fees));
    }
    Ok(())
}

fn text(s: &mut Scanner<'_>, facts: &mut Facts) -> Result<(), JsonError> {
    if s.peek() != Some(b'"') {
        return s.pass();
    }
    let text = s.string()?.decode();
    facts.text_bytes += text.len() as u64;
    facts.words += reply::words_begun(&text);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(json: &str) -> Facts {
        read(json.as_bytes(), Habits::default()).unwrap()
    }

    const COMPLETED: &str = r#"{"type":"response.completed","sequence_number":9,"response":{"object":"response",
        "status":"completed","error":null,"service_tier":"default","output":[{"type":"reasoning","summary":[]},
        {"type":"message","content":[{"type":"output_text","text":"abc"}]}],"usage":{"input_tokens":36,
        "input_tokens_details":{"cached_tokens":30},"output_tokens":87,"output_tokens_details":{"reasoning_tokens":80},
        "total_tokens":123}}}"#;

    #[test]
    fn usage_comes_with_the_end() {
        let last = facts(COMPLETED);
        let told = last.usage.map(|usage| (usage.input_tokens, usage.cached_input_tokens, usage.output_tokens));
        assert_eq!((told, last.finished, last.ending), (Some((36, 30, 87)), 1, Ending::Over));
        assert_eq!((last.text_bytes, last.error, last.beside), (0, false, None), "its text went by before");
        let created =
            facts(r#"{"type":"response.created","response":{"status":"in_progress","error":null,"usage":null}}"#);
        assert_eq!((created.usage, created.finished, created.error), (None, 0, false));
        assert_eq!(facts(r#"{"type":"response.output_text.delta","delta":"a b"}"#).text_bytes, 3);
    }

    #[test]
    fn what_the_provider_keeps_has_an_id() {
        assert_eq!(kept(CREATED.as_bytes()).as_deref(), Some("resp_1"));
        assert!(facts(CREATED).begins && !facts(COMPLETED).begins);
        for (json, expected) in [
            (r#"{"id":"resp_2","object":"response","store":true}"#, Some("resp_2")),
            (r#"{"id":"resp_2","object":"response","store":false}"#, None),
            (r#"{"type":"response.created","response":{"store":false,"id":"resp_3"}}"#, None),
            (r#"{"object":"response"}"#, None),
        ] {
            assert_eq!(kept(json.as_bytes()).as_deref(), expected, "{json}");
        }
    }

    #[test]
    fn a_whole_response_says_all_at_once() {
        let whole = facts(
            r#"{"object":"response","status":"incomplete","error":null,"output":[{"type":"function_call",
            "name":"f","arguments":"{}"}],"usage":{"input_tokens":1,"output_tokens":2}}"#,
        );
        assert_eq!((whole.choices, whole.finished, whole.text_bytes, whole.error), (1, 1, 3, false));
    }

    #[test]
    fn tools_that_the_provider_ran_are_charged_beside_the_tokens() {
        let searched =
            COMPLETED.replace(r#"{"type":"reasoning","summary":[]}"#, r#"{"type":"web_search_call","id":"w"}"#);
        assert_eq!(facts(&searched).beside, Some(WhyUnknown::Fees));
    }

    const CREATED: &str = r#"{"type":"response.created","sequence_number":0,"response":{"id":"resp_1","object":"response",
        "status":"in_progress","error":null,"instructions":"be brief","model":"m","output":[],"usage":null}}"#;

    #[track_caller]
    fn check_ending(text: &str, name: &str) -> Value {
        let data = text.strip_prefix(&format!("event: {name}\ndata: ")).and_then(|rest| rest.strip_suffix("\n\n"));
        let data: Value = serde_json::from_str(data.expect(text)).expect(text);
        assert_eq!(
            (&data["type"], data["response"]["output"].as_array().map(Vec::len)),
            (&json!(name), Some(0)),
            "{text}"
        );
        data
    }

    #[test]
    fn a_stream_that_is_cut_ends_as_an_incomplete_response() {
        let mut seen = Seen::default();
        let delta = r#"{"type":"response.output_text.delta","delta":"a"}"#;
        [CREATED, delta].iter().for_each(|event| seen.note(event.as_bytes()));
        let data = check_ending(&seen.length_ending((25, 7)), "response.incomplete");
        assert_eq!((&data["sequence_number"], &data["response"]["id"]), (&json!(2), &json!("resp_1")));
        assert_eq!(data["response"]["incomplete_details"]["reason"], "max_output_tokens");
        assert_eq!(data["response"]["usage"]["total_tokens"], 32);
    }

    #[test]
    fn a_response_that_has_begun_fails_and_another_is_an_error_alone() {
        let error = ApiError::new(crate::wire::errors::Code::ProviderError, "it broke");
        let mut seen = Seen::default();
        assert_eq!(seen.failed_ending(&error), None);
        seen.note(CREATED.as_bytes());
        let data = check_ending(&seen.failed_ending(&error).expect("an event"), "response.failed");
        assert_eq!(data["response"]["error"], json!({"code": "server_error", "message": "it broke"}));
        assert_eq!((&data["sequence_number"], &data["response"]["status"]), (&json!(1), &json!("failed")));
        assert!(facts(&data.to_string()).error);
    }

    #[test]
    fn an_error_is_an_event_or_a_response_that_failed() {
        assert!(facts(r#"{"type":"error","code":"server_error","message":"m","param":null}"#).error);
        assert!(facts(r#"{"type":"response.failed","response":{"status":"failed","error":{"code":"c"}}}"#).error);
        assert!(facts(r#"{"error":{"message":"m","type":"t"}}"#).error, "as a body");
    }
}
