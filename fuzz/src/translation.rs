//! What must hold of what is said in another dialect: it is whole, the target's own reader takes it, and the same again is
//! the same.

use farthing::dialect::Dialect;
use farthing::reply::usage::{Apart, Usage};
use farthing::translate::stream::{Stream, UsageChunk};
use farthing::translate::{self, Caching, Dropped, Terms, Told, Untranslatable};
use farthing::wire::body::BodyError;
use farthing::wire::tap;
use farthing::wire::vendors::Habits;
use farthing::wire::{messages_request, openai_chat, responses_request};
use serde_json::Value;

/// Who is translated for, and into what.
const PAIRS: [(Dialect, Dialect); 6] = [
    (Dialect::Chat, Dialect::Messages),
    (Dialect::Messages, Dialect::Chat),
    (Dialect::Responses, Dialect::Messages),
    (Dialect::Messages, Dialect::Responses),
    (Dialect::Responses, Dialect::Chat),
    (Dialect::Chat, Dialect::Responses),
];
const MODELS: [&str; 4] = ["claude-opus-4-6", "gpt-5.6-luna", "claude-sonnet-4-5", "another \"model\"\u{2028}"];
const VENDORS: [&str; 4] = ["anthropic", "openai", "bedrock", "openrouter"];
const CACHING: [Caching; 3] = [Caching::AsMarked, Caching::Automatic, Caching::Hour];

const TOLD: Told<'static> = Told {
    request: br#"{"model":"m","input":"hi","tools":[{"type":"custom","name":"f"}]}"#,
    created_seconds: 1_700_000_000,
    usage: Usage {
        input_tokens: 100,
        cached_input_tokens: 60,
        cache_write_tokens: 10,
        cache_write_1h_tokens: 5,
        output_tokens: 9,
        reasoning_tokens: 4,
        apart: Apart::NONE,
    },
};

/// What a first byte chooses, and the rest.
fn chosen(input: &[u8]) -> Option<(usize, &[u8])> {
    let (choice, rest) = input.split_first()?;
    // Letters, so that inputs are texts: `a` chooses nothing but firsts.
    Some((usize::from(choice.wrapping_sub(b'a')), rest))
}

/// A request is said in another dialect so that the target can read it, or not at all; the same way each time. What is said
/// can be asked for the other way.
///
/// The input: a letter that chooses dialects, model and caching, then the body.
pub fn request(input: &[u8]) {
    let Some((choice, body)) = chosen(input) else { return };
    let (from, to) = PAIRS[choice % 6];
    let place = choice / 6 % 4;
    let caching = CACHING[choice / 24 % CACHING.len()];
    let terms =
        Terms { vendor: VENDORS[place], model: MODELS[place], output_limit: 4_096, caching, usage: UsageChunk::Asked };
    let said = translate::request(from, to, body, &terms);
    assert_eq!(said, translate::request(from, to, body, &terms), "the same body is said in two ways");
    let written = match said {
        Ok(written) => written,
        Err(error) => return is_plain(&error),
    };
    are_plain(&written.dropped);
    assert!(super::is_object(written.body.as_bytes()), "what leaves is no JSON object: {}", written.body);
    let read = match to {
        Dialect::Chat => openai_chat::read(written.body.as_bytes()),
        Dialect::Messages => messages_request::read(written.body.as_bytes()),
        Dialect::Responses => responses_request::read(written.body.as_bytes()),
    };
    match read {
        Ok(view) => assert_eq!(view.model, terms.model),
        Err(BodyError::Json(error)) => assert_eq!(error.what, "nested too deeply", "{}", written.body),
        Err(error) => panic!("{error}: {}", written.body),
    }
    if let Err(error) = translate::request(to, from, written.body.as_bytes(), &terms) {
        is_plain(&error);
    }
}

/// A whole answer is said in another dialect so that a client can read it, with the figures that were settled, or not at all.
///
/// The input: a letter that chooses dialects, then the answer.
pub fn reply(input: &[u8]) {
    let Some((choice, body)) = chosen(input) else { return };
    let (to, from) = PAIRS[choice % 6];
    let said = translate::reply(from, to, body, &TOLD);
    assert_eq!(said, translate::reply(from, to, body, &TOLD), "the same answer is said in two ways");
    let written = match said {
        Ok(written) => written,
        Err(error) => return is_plain(&error),
    };
    are_plain(&written.dropped);
    assert!(super::is_object(written.body.as_bytes()), "what goes out is no JSON object: {}", written.body);
    let vendor = if to == Dialect::Messages { "anthropic" } else { "openai" };
    match tap::whole(written.body.as_bytes(), to, Habits::of(vendor)) {
        Ok(facts) => {
            assert!(!facts.error, "an answer became an error: {}", written.body);
            let usage = facts.usage.expect("the client is told what was used");
            let figures = |usage: &Usage| (usage.input_tokens, usage.cached_input_tokens, usage.output_tokens);
            assert_eq!(figures(&usage), figures(&TOLD.usage), "{}", written.body);
        }
        Err(error) => assert_eq!(error.what, "nested too deeply", "{}", written.body),
    }
}

/// A stream is said in another dialect in whole events, each of its kind, with one end and nothing behind it.
///
/// The input: a letter that chooses dialects, then the data of events, a line each.
pub fn stream(input: &[u8]) {
    let Some((choice, data)) = chosen(input) else { return };
    let (to, from) = PAIRS[choice % 6];
    let chunk = if choice / 6 % 2 == 0 { UsageChunk::Asked } else { UsageChunk::Unasked };
    let Ok(mut stream) = Stream::new(from, to, &TOLD, chunk) else { panic!("{from:?} to {to:?} has no streams") };
    let mut out = String::new();
    let mut ended = Ok(());
    for event in data.split(|byte| *byte == b'\n').filter(|event| !event.is_empty()) {
        ended = stream.event(event, None, &mut out);
        if ended.is_err() || terminators(to, &out) > 0 {
            break;
        }
    }
    if let Err(error) = &ended {
        is_plain(error);
        out.extend(stream.failed("server_error", "it broke"));
    } else if terminators(to, &out) == 0 {
        ended = stream.over(TOLD.usage, &mut out);
    }
    are_events(to, &out);
    let count = terminators(to, &out);
    assert!(count <= 1, "it ends {count} times: {out}");
    if ended.is_ok() && to == Dialect::Chat {
        assert_eq!(count, 1, "it has no end: {out}");
    }
}

/// Events of a text that was written: each one's name, if it has one, and its data.
fn events(out: &str) -> impl Iterator<Item = (Option<&str>, &str)> {
    let events = out.split_terminator("\n\n").filter(|event| !event.starts_with(':'));
    events.map(|event| {
        let (name, data) = match event.strip_prefix("event: ") {
            Some(rest) => rest.split_once('\n').map(|(name, data)| (Some(name), data)).expect("data behind a name"),
            None => (None, event),
        };
        (name, data.strip_prefix("data: ").expect("data"))
    })
}

fn are_events(dialect: Dialect, out: &str) {
    assert!(out.is_empty() || out.ends_with("\n\n"), "half an event: {out}");
    let mut is_over = false;
    for (name, data) in events(out) {
        assert!(!is_over, "something follows the end: {out}");
        assert!(!data.contains('\n'), "more than a line: {out}");
        is_over = is_end(dialect, name, data);
        if data == "[DONE]" {
            continue;
        }
        assert!(super::is_object(data.as_bytes()), "no JSON object: {data}");
        // Others nest as deep as the provider did.
        if let (Some(name), Ok(data)) = (name, serde_json::from_str::<Value>(data)) {
            assert_eq!(data["type"], name);
        }
    }
}

fn is_end(dialect: Dialect, name: Option<&str>, data: &str) -> bool {
    match dialect {
        Dialect::Chat => data == "[DONE]",
        Dialect::Messages => name == Some("message_stop"),
        Dialect::Responses => {
            matches!(name, Some("response.completed" | "response.incomplete" | "response.failed"))
        }
    }
}

fn terminators(dialect: Dialect, out: &str) -> usize {
    events(out).filter(|(name, data)| is_end(dialect, *name, data)).count()
}

/// What clients are told is one line.
fn is_plain(error: &Untranslatable) {
    assert!(!error.to_string().contains(char::is_control), "more than a line: {error}");
}

fn are_plain(dropped: &Dropped) {
    assert!(dropped.list().bytes().all(|byte| (b' '..=b'~').contains(&byte)), "no header: {}", dropped.list());
}
