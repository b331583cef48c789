use bytes::Bytes;

use super::*;
use crate::prompt::edits::{Edit, EditName, splice};
use crate::prompt::view::UsageInStream;

fn view(body: &str) -> View {
    read(body.as_bytes()).unwrap_or_else(|error| panic!("{body}: {error}"))
}

#[track_caller]
fn refused(body: &str, text: &str) {
    assert_eq!(read(body.as_bytes()).unwrap_err().to_string(), text, "{body}");
}

#[test]
fn what_decides_is_found_wherever_it_stands() {
    let view = view(
        r#"{"max_completion_tokens":99,"max_tokens":5,"n":2,"messages":[{"content":[{"type":"text","text":"be brief"}],"role":"developer"},
        {"role":"user","content":[{"type":"image_url","image_url":{"url":"https://x"}},{"file":{"file_id":"f"},"type":"file"}]}],
        "metadata":{"team":"data","run":"r1","user":"u","other":1},"user":"v","tools":[{"type":"function"},{"type":"web_search"}],
        "service_tier":"flex","stream":true,"prompt_cache_key":"triage","model":"gpt-5.6-luna"}"#,
    );
    assert_eq!((&*view.model, view.stream), ("gpt-5.6-luna", true));
    assert_eq!((view.answers, view.output_limit), (WholeNumber::Is(2), WholeNumber::Is(99)));
    assert_eq!((view.attachments.images, view.attachments.references, view.attachments.server_tools), (1, 1, 1));
    assert_eq!(view.claims.team.as_deref(), Some("data"));
    assert_eq!((view.claims.user.as_deref(), view.claims.run.as_deref()), (Some("u"), Some("r1")));
    assert_eq!((view.claims.prompt.as_deref(), view.service_tier.as_deref()), (Some("triage"), Some("flex")));
    assert_eq!(view.messages, 2);
    assert!(view.system_at.is_some());
}

#[test]
fn no_tokens_and_no_answers_are_no_limit() {
    for (members, limit) in [
        (r#""max_completion_tokens":0"#, WholeNumber::Odd),
        (r#""max_tokens":0,"max_completion_tokens":99"#, WholeNumber::Odd),
        (r#""max_tokens":-1"#, WholeNumber::Odd),
        (r#""max_tokens":1"#, WholeNumber::Is(1)),
        (r#""max_tokens":null"#, WholeNumber::Absent),
    ] {
        assert_eq!(view(&format!(r#"{{"model":"m","messages":[],{members}}}"#)).output_limit, limit, "{members}");
    }
    assert_eq!(view(r#"{"model":"m","messages":[],"n":0}"#).answers, WholeNumber::Odd);
}

#[test]
fn what_is_predicted_is_measured() {
    let view = |value: &str| view(&format!(r#"{{"model":"m","messages":[],"prediction":{value}}}"#));
    assert_eq!(view(r#"{"type":"content","content":"abc"}"#).predicted_bytes, 34);
    assert_eq!(view("null").predicted_bytes, 0);
    refused(
        r#"{"model":"m","messages":[],"prediction":null,"prediction":{}}"#,
        "the key `prediction` stands twice in the body",
    );
}

#[test]
fn of_several_names_for_the_user_the_most_telling_counts() {
    let names = [r#""metadata":{"user":"m"}"#, r#""safety_identifier":"s""#, r#""user":"u""#];
    for (from, expected) in [(0, "m"), (1, "s"), (2, "u")] {
        for body in [names[from..].join(","), names[from..].iter().rev().copied().collect::<Vec<_>>().join(",")] {
            let view = view(&format!(r#"{{"model":"m","messages":[],{body}}}"#));
            assert_eq!(view.claims.user.as_deref(), Some(expected), "{body}");
        }
    }
}

#[test]
fn a_key_written_with_escapes_is_the_same_key() {
    assert_eq!(view(r#"{"mod\u0065l":"m","messages":[]}"#).model, "m");
    refused(r#"{"model":"a","mod\u0065l":"b","messages":[]}"#, "the key `model` stands twice in the body");
}

#[test]
fn what_cannot_be_taken_is_named() {
    refused("[]", "the body is not a JSON object: wanted an object at byte 0");
    refused(r#"{"messages":[]}"#, "`model` must be given");
    refused(r#"{"model":"m"}"#, "`messages` must be given");
    refused(r#"{"model":"#, "the body is not a JSON object: wanted a string at byte 9");
    refused(r#"{"model":7,"messages":[]}"#, "`model` must be a string");
    let name = "a name of at most 256 bytes without control characters";
    refused(r#"{"model":"a\u001b[31m","messages":[]}"#, &format!("`model` must be {name}"));
    refused(&format!(r#"{{"model":"{}","messages":[]}}"#, "m".repeat(300)), &format!("`model` must be {name}"));
    refused(r#"{"model":"m","messages":"hi"}"#, "`messages` must be an array");
    refused(r#"{"model":"m","messages":[],"stream":"yes"}"#, "`stream` must be true or false");
    refused(
        r#"{"model":"m","messages":[],"max_tokens":1,"max_tokens":2}"#,
        "the key `max_tokens` stands twice in the body",
    );
    refused(
        r#"{"model":"m","messages":[]} x"#,
        "the body is not a JSON object: found something after the value at byte 28",
    );
    refused("{\"model\":\"\u{e9}", "the body is not a JSON object: the text ends inside a string at byte 12");
}

#[track_caller]
fn asks_for_usage(body: &str, expected: &str) {
    let view = view(body);
    let edit = |at, with: &'static str| Edit { name: EditName::Usage, at, with: Bytes::from_static(with.as_bytes()) };
    let mut edits: Vec<Edit> = match view.usage_in_stream {
        UsageInStream::Asked => vec![],
        UsageInStream::Unsaid => vec![edit(view.model_at.end..view.model_at.end, ASK_FOR_USAGE_MEMBER)],
        UsageInStream::Declined { at, with } => vec![edit(at, with)],
    };
    let body = Bytes::copy_from_slice(body.as_bytes());
    assert_eq!(String::from_utf8(splice(&body, &mut edits).concat()).unwrap(), expected);
}

#[test]
fn usage_is_asked_for_without_disturbing_what_is_there() {
    asks_for_usage(
        r#"{"model":"m","messages":[],"stream":true}"#,
        r#"{"model":"m","stream_options":{"include_usage":true},"messages":[],"stream":true}"#,
    );
    asks_for_usage(
        r#"{"model":"m","messages":[],"stream_options":{}}"#,
        r#"{"model":"m","messages":[],"stream_options":{"include_usage":true}}"#,
    );
    asks_for_usage(
        r#"{"model":"m","messages":[],"stream_options":{"include_obfuscation":false}}"#,
        r#"{"model":"m","messages":[],"stream_options":{"include_usage":true,"include_obfuscation":false}}"#,
    );
    asks_for_usage(
        r#"{"model":"m","messages":[],"stream_options":{"include_usage": false}}"#,
        r#"{"model":"m","messages":[],"stream_options":{"include_usage": true}}"#,
    );
    asks_for_usage(
        r#"{"model":"m","messages":[],"stream_options":null}"#,
        r#"{"model":"m","messages":[],"stream_options":{"include_usage":true}}"#,
    );
    asks_for_usage(
        r#"{"model":"m","messages":[],"stream_options":{"include_usage":true}}"#,
        r#"{"model":"m","messages":[],"stream_options":{"include_usage":true}}"#,
    );
}

#[test]
fn a_deciding_key_in_another_case_is_refused_since_some_readers_take_it_for_the_same() {
    for (key, as_read) in [
        ("Model", "model"),
        ("STREAM", "stream"),
        ("Messages", "messages"),
        ("Max_Tokens", "max_tokens"),
        ("max_completion_Tokens", "max_completion_tokens"),
        ("N", "n"),
        ("Tools", "tools"),
        ("Functions", "functions"),
        ("Stream_Options", "stream_options"),
        ("service_Tier", "service_tier"),
        ("Web_Search_Options", "web_search_options"),
        // Go's reader folds these two letters as well.
        ("\u{17f}tream", "stream"),
        ("max_to\u{212a}ens", "max_tokens"),
        ("\\u004dodel", "model"),
    ] {
        let text =
            format!("a key of the body differs from `{as_read}` only in its case, and some providers read both alike");
        refused(&format!(r#"{{"model":"m","messages":[],"{key}":1}}"#), &text);
    }
    for key in ["models", "nn", "Temperature", "\u{ff2d}odel", ""] {
        view(&format!(r#"{{"model":"m","messages":[],"{key}":1}}"#));
    }
}
