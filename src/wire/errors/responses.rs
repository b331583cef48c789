//! Errors of OpenAI's Responses: a body is as everywhere at OpenAI; in a stream an event of its own has the members
//! bare, or a response that failed has them.
//! <https://platform.openai.com/docs/api-reference/responses-streaming/error>

use serde_json::json;

use super::{ApiError, Said, Written, chat};

pub(super) fn body(error: &ApiError) -> String {
    chat::body(error)
}

/// `sequence` is the number of the event in its stream.
pub(super) fn event(error: &ApiError, sequence: u64) -> String {
    let event = json!({
        "type": "error",
        "sequence_number": sequence,
        "code": error.code.as_str(),
        "message": error.message,
        "param": error.param,
    });
    format!("event: error\ndata: {event}\n\n")
}

/// The code of a response that failed, for something that is told by this one elsewhere. Its codes are a closed list, on
/// which hardly more stands than that the server is at fault. Two that are not on it are OpenAI's own all the same, and
/// agents act by them. <https://platform.openai.com/docs/api-reference/responses/object#responses/object-error>
pub fn failed_code(code: &str) -> &str {
    match code {
        "rate_limit_exceeded" | "invalid_prompt" | "context_length_exceeded" | "insufficient_quota" => code,
        _ => "server_error",
    }
}

pub(super) fn said(written: Written) -> Said {
    let failed = written.response.and_then(|response| response.error);
    match written.error.or(failed) {
        Some(error) => chat::said(Written { error: Some(error), ..Written::default() }),
        // The event, whose `type` says that it is one.
        None => {
            let (code, message, param) = (written.code.0, written.message, written.param);
            Said { kind: None, code, message, param, status: None, ..Said::default() }.with_status(chat::status)
        }
    }
}
