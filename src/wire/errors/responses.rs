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

pub(super) fn said(written: Written) -> Said {
    let failed = written.response.and_then(|response| response.error);
    match written.error.or(failed) {
        Some(error) => chat::said(Written { error: Some(error), ..Written::default() }),
        // The event, whose `type` says that it is one.
        None => {
            let (code, message, param) = (written.code.0, written.message, written.param);
            Said { kind: None, code, message, param, status: None }.with_status(chat::status)
        }
    }
}
