//! What must hold of every input, whoever made it: one property a target.
//!
//! A property panics where it does not hold. The fuzz targets search for such inputs; the integration tests
//! replay those that are kept in `corpus/`, so that what was found once stays found.

pub mod translation;

use std::borrow::Cow;
use std::sync::{Arc, LazyLock};
use std::time::Instant;

use bytes::Bytes;
use farthing::call::{Attribution, Call, CallFacts, Surface};
use farthing::config;
use farthing::cost::{Book, Most, Terms, cost_of, upper_bound};
use farthing::dialect::Dialect;
use farthing::ids::{ModelId, ProviderId, RequestId, TeamId};
use farthing::memory::Memory;
use farthing::plan::ModelRef;
use farthing::policy::{self, Expected, rules};
use farthing::problem::Problem;
use farthing::prompt::json::WholeNumber;
use farthing::prompt::outline::Outline;
use farthing::prompt::view::{UsageInStream, View};
use farthing::providers::Row;
use farthing::providers::places::Places;
use farthing::reply::usage::{ServiceTier, Usage};
use farthing::wire::body::BodyError;
use farthing::wire::messages_request;
use farthing::wire::openai_chat;
use farthing::wire::openai_texts;
use farthing::wire::responses_request;
use farthing::wire::sse::{self, Decoder, Events};
use farthing::wire::tap;
use farthing::wire::vendors::Habits;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

/// What stands between the figures of an input and its text.
const SPLIT: u8 = b'|';
/// The value of every environment variable that a configuration may name.
const SECRET: &str = "sk-only-the-provider-may-see-this";

/// A stream decodes alike however it is cut, to what the specification says, and every byte of it goes on.
///
/// The input: lengths of chunks, one a byte, then `|`, then the stream.
pub fn sse(input: &[u8]) {
    let (lengths, stream) = split(input);
    let whole = decoded(stream, &[]);
    assert_eq!(decoded(stream, lengths), whole, "cut in pieces it reads differently");
    assert_eq!(whole.0, stream, "bytes were lost or made up");
    assert_eq!(whole.1, by_the_line(stream), "it reads differently line by line");
}

/// A body is taken only if it is a JSON object, and leaves as it came but for the declared edits.
pub fn body(input: &[u8]) {
    match messages_request::read(input) {
        Ok(view) => {
            assert!(is_object(input), "taken as a message although it is no JSON object");
            assert!(input.get(view.model_at.clone()).is_some_and(|model| model.starts_with(b"\"")), "no name there");
            assert!(view.system_at.is_none_or(|at| input.get(at).is_some()), "the prompt is outside the body");
        }
        Err(BodyError::Json(error)) => {
            assert!(error.what == "nested too deeply" || !is_object(input), "refused although it is JSON: {error}");
        }
        Err(_) => {}
    }
    match responses_request::read(input) {
        Ok(view) => {
            assert!(is_object(input), "taken as a response's request although it is no JSON object");
            assert!(input.get(view.model_at).is_some_and(|model| model.starts_with(b"\"")), "no name there");
        }
        Err(BodyError::Json(error)) => {
            assert!(error.what == "nested too deeply" || !is_object(input), "refused although it is JSON: {error}");
        }
        Err(_) => {}
    }
    let view = match openai_chat::read(input) {
        Ok(view) => view,
        Err(BodyError::Json(error)) => {
            assert!(error.what == "nested too deeply" || !is_object(input), "refused although it is JSON: {error}");
            return;
        }
        Err(_) => return,
    };
    assert!(is_object(input), "taken although it is no JSON object");
    for model in [view.model.as_str(), "another \"model\"\u{2028}"] {
        for row in [&ROWS.0, &ROWS.1] {
            leaves_as_declared(input, &view, model, row);
        }
    }
}

/// A reply is read only if it is a JSON object, and what it says adds up, whichever vendor sent it, in any dialect.
pub fn reply(input: &[u8]) {
    let chat = ["openai", "groq", "gemini"].map(|vendor| (vendor, Dialect::Chat));
    let others = [("openai", Dialect::Responses), ("anthropic", Dialect::Messages)];
    for (vendor, dialect) in chat.into_iter().chain(others) {
        let facts = match tap::whole(input, dialect, Habits::of(vendor)) {
            Ok(facts) => facts,
            Err(error) => {
                assert!(error.what == "nested too deeply" || !is_object(input), "refused although it is JSON: {error}");
                return;
            }
        };
        assert!(is_object(input), "read although it is no JSON object");
        assert!(facts.text_bytes <= input.len() as u64);
        assert!(facts.finished <= facts.choices || dialect != Dialect::Chat, "an answer ended that there is not");
        if let Some(usage) = facts.usage {
            let parts = usage.cached_input_tokens.saturating_add(usage.cache_write_tokens);
            let parts = parts.saturating_add(usage.cache_write_1h_tokens);
            assert!(parts <= usage.input_tokens, "{vendor}: {usage:?}");
            assert!(usage.reasoning_tokens <= usage.output_tokens, "{vendor}: {usage:?}");
        }
    }
}

/// A configuration is taken or refused, the same way each time; problems lie inside the file and repeat no secret.
pub fn config(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    // What other files hold is not the input's affair.
    if text.contains("file:") {
        return;
    }
    let parse = || config::parse("fuzz.yaml", text, "/nonexistent".as_ref(), &|_| Some(SECRET.to_owned()));
    match (parse(), parse()) {
        (Ok(one), Ok(other)) => {
            let printed = format!("{one:?}");
            assert_eq!(printed, format!("{other:?}"));
            assert!(!printed.contains(SECRET), "a secret is printed");
        }
        (Err(problems), Err(again)) => {
            assert_eq!(problems, again);
            assert!(!problems.is_empty(), "refused without a reason");
            for problem in problems {
                assert!(!problem.to_string().contains(SECRET), "a secret is repeated: {problem}");
                assert!(problem.line as usize <= lines(text), "outside the file: {problem}");
                assert!(!problem.to_string().contains(char::is_control), "more than a line: {problem}");
            }
        }
        _ => panic!("the same text is taken once and refused once"),
    }
}

/// A price file is taken or refused; what is taken prices tokens within its bounds.
///
/// The input: a discount and counts of tokens, one a byte, then `|`, then the file.
pub fn prices(input: &[u8]) {
    let (figures, text) = split(input);
    let Ok(text) = std::str::from_utf8(text) else { return };
    let rows = match Book::parse("fuzz.yaml", text) {
        Ok(rows) => rows,
        Err(problems) => {
            assert!(!problems.is_empty(), "refused without a reason");
            for problem in problems {
                assert!(problem.line as usize <= lines(text), "outside the file: {problem}");
                assert!(!problem.to_string().contains(char::is_control), "more than a line: {problem}");
            }
            return;
        }
    };
    let usage = usage_of(figures);
    let discount_ppm = u32::from(figures.first().copied().unwrap_or(0)) * 4_000;
    for row in &rows.0 {
        for tier in [ServiceTier::Standard, ServiceTier::Batch, ServiceTier::Flex, ServiceTier::Priority] {
            let cost = cost_of(&row.price, &usage, tier, discount_ppm);
            let (input, output) = (usage.input_tokens, usage.output_tokens);
            let high = upper_bound(
                &row.price,
                Most { input_tokens: input, output_tokens: output, hears: true },
                &[tier],
                discount_ppm,
            );
            if let Ok(cost) = cost {
                assert!(high.is_none_or(|high| cost <= high), "{cost} is more than {high:?}");
                assert!(cost.0 >= 0 && (row.price.terms != Terms::Free || cost.0 == 0));
            }
        }
    }
    let book = Book::builtin().with_user_rows(rows.clone());
    for row in &rows.0 {
        let from = row.price.from.unwrap_or_default();
        assert_eq!(book.price(&row.vendor, &row.model, from).map(|price| &**price), Some(&row.price));
    }
}

/// A policy is taken or refused, the same way each time; problems lie inside the file; what is taken holds together, and
/// its rules read any text.
pub fn policy(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let parse = || policy::parse("fuzz.md", text);
    let (policy, warnings) = match (parse(), parse()) {
        (Ok(one), Ok(other)) => {
            assert_eq!(format!("{one:?}"), format!("{other:?}"));
            one
        }
        (Err(problems), Err(again)) => {
            assert_eq!(problems, again);
            assert!(!problems.is_empty(), "refused without a reason");
            problems.iter().for_each(|problem| lies_inside(problem, text));
            return;
        }
        _ => panic!("the same text is taken once and refused once"),
    };
    warnings.iter().for_each(|warning| lies_inside(warning, text));
    for (index, task) in policy.tasks.iter().enumerate() {
        assert!(!task.id.is_empty() && !task.text.is_empty(), "{task:?}");
        assert!(task.at.line as usize <= lines(text), "outside the file: {task:?}");
        assert!(!policy.tasks[..index].iter().any(|earlier| earlier.id == task.id), "{task:?} is there twice");
    }
    for test in &policy.tests {
        assert!(!matches!(&test.expected, Expected::Task(id) if policy.task(id).is_none()), "{test:?}");
    }
    let facts = rules::Facts { last_user_turn: &[text], tools: &[text], ..rules::Facts::default() };
    policy.rules.first_match(&facts);
}

fn lies_inside(problem: &Problem, text: &str) {
    assert!(problem.line as usize <= lines(text), "outside the file: {problem}");
    assert!(!problem.to_string().contains(char::is_control), "more than a line: {problem}");
}

/// What stands in front of the first [`SPLIT`] and what behind it; all of it is text where there is none.
fn split(input: &[u8]) -> (&[u8], &[u8]) {
    match input.iter().position(|byte| *byte == SPLIT) {
        Some(at) => (&input[..at], &input[at + 1..]),
        None => (&[], input),
    }
}

/// All bytes that go on, and the data of each event, when `stream` comes in chunks of these lengths and a rest.
fn decoded(stream: &[u8], lengths: &[u8]) -> (Vec<u8>, Vec<Vec<u8>>) {
    let mut decoder = Decoder::default();
    let (mut passed, mut datas) = (Vec::new(), Vec::new());
    let mut take = |events: Events| {
        let mut end = 0;
        for range in events.ranges {
            assert_eq!(std::mem::replace(&mut end, range.end), range.start, "events overlap or leave gaps");
            datas.extend(sse::data(&events.bytes[range]).map(|data| data.into_owned()));
        }
        assert_eq!(end, events.bytes.len(), "bytes that belong to no event");
        passed.extend_from_slice(&events.bytes);
    };
    let mut rest = Bytes::copy_from_slice(stream);
    for length in lengths {
        let chunk = rest.split_to(usize::from(*length).min(rest.len()));
        take(decoder.push(chunk).expect("inputs are small"));
    }
    take(decoder.push(rest).expect("inputs are small"));
    take(decoder.finish());
    (passed, datas)
}

/// The data of each event, read line by line as the specification tells it; a last event may lack its blank line.
fn by_the_line(stream: &[u8]) -> Vec<Vec<u8>> {
    let (mut events, mut event, mut begun) = (Vec::new(), None::<Vec<u8>>, false);
    let mut rest = stream;
    while !rest.is_empty() {
        let end = rest.iter().position(|byte| matches!(byte, b'\n' | b'\r')).unwrap_or(rest.len());
        let (line, behind) = rest.split_at(end);
        let terminator = if behind.starts_with(b"\r\n") { 2 } else { behind.len().min(1) };
        rest = &behind[terminator..];
        if line.is_empty() {
            events.extend(event.take());
            begun = false;
            continue;
        }
        // A byte order mark is let pass before any event, not only before the first.
        let line = if begun { line } else { line.strip_prefix("\u{feff}".as_bytes()).unwrap_or(line) };
        begun = true;
        let colon = line.iter().position(|byte| *byte == b':').unwrap_or(line.len());
        if &line[..colon] == b"data" {
            let value = line.get(colon + 1..).unwrap_or_default();
            let value = value.strip_prefix(b" ").unwrap_or(value);
            match &mut event {
                None => event = Some(value.to_vec()),
                Some(lines) => lines.extend(b"\n".iter().chain(value)),
            }
        }
    }
    events.extend(event);
    events
}

/// Whether somebody else's strict reader takes it for a JSON object.
fn is_object(input: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(input) else { return false };
    serde_json::from_str::<&RawValue>(text).is_ok_and(|value| value.get().starts_with('{'))
}

/// A row that asks for usage and one that does not.
static ROWS: LazyLock<(Row, Row)> = LazyLock::new(|| {
    let row = |metering: &str| {
        let row =
            format!("protocol: openai, base_url: \"http://127.0.0.1:9/v1\", models: [\"*\"], metering: {metering}");
        let config = config::parse("rows", &format!("providers: {{ row: {{ {row} }} }}"), "".as_ref(), &|_| None);
        Row::new(&config.expect("a valid configuration").providers[0], Places::new(1))
    };
    (row("inject"), row("observe"))
});

/// Holds what leaves for `model` against the body that came in.
fn leaves_as_declared(input: &[u8], view: &View, model: &str, row: &Row) {
    let call = call_of(input, view);
    let target = ModelRef { provider: ProviderId::from("row"), model: ModelId::from(model) };
    let outbound = row.prepare(&call, &target, None);
    let out = outbound.pieces().concat();
    let names_model = view.model != model;
    let asks_usage = view.stream && std::ptr::eq(row, &ROWS.0) && view.usage_in_stream != UsageInStream::Asked;
    let declared = match (names_model, asks_usage) {
        (false, false) => "",
        (true, false) => "model",
        (false, true) => "usage",
        (true, true) => "model,usage",
    };
    assert_eq!(outbound.edits, declared);
    assert_eq!(outbound.withhold_usage, asks_usage);

    let mut edits = Vec::new();
    if names_model {
        edits.push((view.model_at.clone(), json!(model).to_string()));
    }
    if asks_usage {
        edits.push(match &view.usage_in_stream {
            UsageInStream::Declined { at, with } => (at.clone(), (*with).to_owned()),
            _ => (view.model_at.end..view.model_at.end, openai_chat::ASK_FOR_USAGE_MEMBER.to_owned()),
        });
    }
    // From the back, so that the places in front stay where they are; behind the model's name, where both meet.
    edits.sort_by_key(|(at, _)| std::cmp::Reverse((at.start, at.end)));
    let mut expected = input.to_vec();
    for (at, with) in edits {
        expected.splice(at, with.into_bytes());
    }
    assert_eq!(out, expected, "something else than the declared edits was changed");

    let read = openai_chat::read(&out).expect("what leaves can be read");
    assert_eq!(read.model, model);
    assert!(!asks_usage || read.usage_in_stream == UsageInStream::Asked, "usage is not asked for");
    let facts = |view: &View| View {
        model: String::new(),
        model_at: 0..0,
        usage_in_stream: UsageInStream::Unsaid,
        system_at: None,
        output_limits_at: [None, None],
        outline: Outline {
            user_turns: view.outline.user_turns,
            wants_json: view.outline.wants_json,
            ..Outline::default()
        },
        ..view.clone()
    };
    assert_eq!(facts(&read), facts(view), "an edit changed what else the body says");
    let limited = row.prepare(&call, &target, Some(7)).pieces().concat();
    let read_limited = openai_chat::read(&limited).expect("what leaves with a limit can be read").output_limit;
    match view.output_limit {
        WholeNumber::Is(limit) => assert_eq!(read_limited, WholeNumber::Is(limit.min(7)), "a limit is only lowered"),
        WholeNumber::Absent => assert_eq!(read_limited, WholeNumber::Is(7), "the limit is told"),
        WholeNumber::Odd => {}
    }
    let text = |body: &[u8], view: &View| view.system_at.clone().map(|at| body[at].to_vec());
    assert_eq!(text(&out, &read), text(input, view));
    assert_eq!(read.outline.chain, view.outline.chain, "an edit made another conversation of it");
    assert_eq!(texts(&out, &read.outline), texts(input, &view.outline), "an edit moved what is read of it");
    says_the_same(input, &out, model, asks_usage);
}

/// Everything that is read of a conversation, whole and clipped.
fn texts(body: &[u8], outline: &Outline) -> Vec<String> {
    let turns = outline.last_user.iter().chain(&outline.previous_user);
    let contents = turns.chain(&outline.instructions).chain(&outline.tool_results);
    let contents = contents.flat_map(|at| {
        let whole = openai_texts::parts(body, at).into_iter().map(Cow::into_owned);
        whole.chain([openai_texts::clipped(body, at, (7, 5)).into_owned()])
    });
    contents.chain(outline.tools.iter().map(|at| openai_texts::string(body, at).into_owned())).collect()
}

/// The same to another reader, where it can read such bodies at all.
fn says_the_same(input: &[u8], out: &[u8], model: &str, asks_usage: bool) {
    let parse = serde_json::from_slice::<Map<String, Value>>;
    let (Ok(mut before), Ok(after)) = (parse(input), parse(out)) else { return };
    before["model"] = json!(model);
    if asks_usage {
        let options = before.entry("stream_options").or_insert(Value::Null);
        if !options.is_object() {
            *options = json!({});
        }
        options["include_usage"] = json!(true);
    }
    assert_eq!(before, after);
}

fn call_of(body: &[u8], view: &View) -> Call {
    let now = Instant::now();
    let facts = CallFacts {
        id: RequestId::new(),
        arrived: now,
        read: now,
        at_ms: 0,
        surface: Surface::ChatCompletions,
        body_bytes: body.len(),
        view: view.clone(),
        who: Attribution::of_team(TeamId::from("default")),
        pinned_tier: None,
        session: None,
        deadline: None,
        on_short: None,
    };
    let held = Memory::new(usize::MAX).hold();
    Call {
        facts: Arc::new(facts),
        body: Bytes::copy_from_slice(body),
        kept_at: None,
        beta: false,
        headers: Vec::new(),
        held,
    }
}

/// How many lines a text has for YAML, which ends them at LF, CRLF and CR; the one behind the last end included.
fn lines(text: &str) -> usize {
    1 + text.replace("\r\n", "\n").matches(['\n', '\r']).count()
}

/// Tokens from up to eight bytes: small figures, and powers of two for which no budget is enough.
fn usage_of(figures: &[u8]) -> Usage {
    let figure = |at: usize| match figures.get(at).copied().unwrap_or(0) {
        small @ 0..192 => u64::from(small) * 1_000,
        large => u64::MAX >> (255 - large),
    };
    Usage {
        input_tokens: figure(1),
        cached_input_tokens: figure(2),
        cache_write_tokens: figure(3),
        cache_write_1h_tokens: figure(4),
        output_tokens: figure(5),
        reasoning_tokens: figure(6),
        ..Usage::default()
    }
}
