//! What goes wrong after the first byte: told in the stream, never hidden behind a `[DONE]`, and settled.

use std::time::Duration;

use farthing::simulator::Reply;

use crate::support::{ASK_STREAM, Got, PATIENCE, Setup, World, luna};

const CHUNK: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"},\"finish_reason\":null}]}\n\n";
const FINISH: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";

/// Streams `reply`, which breaks: the client must get `events` whole events and then one error with `code`.
async fn check(reply: Reply, events: usize, code: &str) -> (World, Got) {
    check_in(Setup::of(luna([reply])), events, code).await
}

async fn check_in(setup: Setup, events: usize, code: &str) -> (World, Got) {
    let world = setup.start().await;
    let response = world.post(ASK_STREAM, &[]).await;
    let got = tokio::time::timeout(PATIENCE, crate::support::whole(response)).await.expect("an end");
    assert_eq!((got.status, got.last_error()), (200, code.to_owned()), "{}", got.text());
    let datas = got.datas();
    assert_eq!(datas.len(), events + 1, "{}", got.text());
    for data in datas {
        serde_json::from_str::<serde_json::Value>(data).unwrap_or_else(|error| panic!("{error}: torn {data:?}"));
    }
    assert!(got.text().ends_with("}\n\n"), "{}", got.text());
    assert_eq!(world.provider.arrivals(), 1, "nothing is repeated once the client has seen a byte");
    let (row, request) = (world.attempts().remove(0), world.requests().remove(0));
    assert_eq!((row.fate.as_str(), row.cost, request.status.as_str()), ("interrupted", None, code));
    assert!(world.metric("farthing_errors_total", code).await >= 1.0);
    world.provider.settled().await.expect("the invoice is final");
    world.the_ledger_holds_the_invoice();
    (world, got)
}

#[tokio::test]
async fn a_provider_that_falls_silent_is_a_timeout_in_the_stream() {
    let silent = Setup::of(luna([Reply::tokens(5).stalls_after(3)]));
    let rules = "retries: 1, idle_timeout: 200ms, first_byte_timeout: 1h";
    let (world, _) = check_in(silent.dispatch(rules), 3, "provider_timeout").await;
    world.provider.hung_up(1).await.expect("the provider's call is given up");
}

#[tokio::test]
async fn time_that_is_up_ends_a_stream_however_lively() {
    let lively = || luna([Reply::tokens(1_000).gap(Duration::from_millis(20))]);
    let world = Setup::of(lively()).dispatch("retries: 1, total_timeout: 600ms").start().await;
    let got = world.chat(ASK_STREAM).await;
    assert_eq!((got.last_error(), world.fates()), ("provider_timeout".to_owned(), vec!["interrupted".to_owned()]));
    world.provider.hung_up(1).await.expect("the provider's call is given up");
    let world = World::new(lively(), "").await;
    let got = world.chat_as(ASK_STREAM, &[("x-farthing-deadline", "600")]).await;
    assert_eq!((got.last_error(), world.fates()), ("provider_timeout".to_owned(), vec!["interrupted".to_owned()]));
    world.provider.hung_up(1).await.expect("the provider's call is given up");
    world.the_ledger_holds_the_invoice();
}

#[tokio::test]
async fn an_event_without_an_end_is_given_up() {
    let endless = format!("data: {}", "x".repeat(9 << 20));
    check(Reply::raw_events([CHUNK.to_owned(), endless]), 1, "provider_error").await;
}

#[tokio::test]
async fn a_connection_that_breaks_in_mid_stream_is_an_error_in_the_stream() {
    check(Reply::tokens(5).resets_after(3), 3, "provider_error").await;
}

#[tokio::test]
async fn a_stream_that_just_ends_is_an_error_in_the_stream() {
    check(Reply::tokens(5).ends_after(3), 3, "provider_error").await;
    // A terminator does not make up for it, but it is the provider's word.
    check(Reply::tokens(5).ends_after(6), 6, "provider_error").await;
}

#[tokio::test]
async fn no_torn_event_reaches_the_client() {
    check(Reply::tokens(5).ends_mid_event(3), 3, "provider_error").await;
    for torn in [
        "d",
        "da",
        "data:",
        "data: ",
        "data: {",
        ": keep-ali",
        "event: err",
        "id: 7\nda",
        "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"caf\u{e9}",
    ] {
        for ending in ["", "\n"] {
            let reply = Reply::raw_events([CHUNK.to_owned(), format!("{torn}{ending}")]);
            let (_, got) = check(reply, 1, "provider_error").await;
            assert!(got.text().starts_with(CHUNK), "{torn:?}: {}", got.text());
            assert!(got.text()[CHUNK.len()..].starts_with("data: {\"error\":"), "{torn:?}: {}", got.text());
        }
    }
}

#[tokio::test]
async fn a_last_event_that_lacks_only_its_blank_line_is_whole() {
    for ending in ["", "\n", "\r\n"] {
        let unfinished = Reply::raw_events([CHUNK.to_owned(), format!("{}{ending}", CHUNK.trim_end())]);
        check(unfinished, 2, "provider_error").await;
        check(Reply::raw_events([format!("{}{ending}", CHUNK.trim_end())]), 1, "provider_error").await;
        for last in [FINISH.to_owned(), format!("{FINISH}data: [DONE]\n\n")] {
            let reply = Reply::raw_events([CHUNK.to_owned(), format!("{}{ending}", last.trim_end())]);
            let world = World::new(luna([reply]), "").await;
            let got = world.chat(ASK_STREAM).await;
            assert!(got.text().replace("\r\n", "\n").contains(FINISH.trim_end()), "{ending:?}: {}", got.text());
            assert_eq!(world.fates(), ["completed"]);
        }
    }
}

#[tokio::test]
async fn half_a_character_before_a_break_is_not_passed_on() {
    let crab = "\u{1F980}".as_bytes();
    let torn = [b"data: {\"choices\":[{\"delta\":{\"content\":\"".as_slice(), &crab[..2]].concat();
    let (_, got) = check(Reply::raw_events([CHUNK.as_bytes().to_vec(), torn]), 1, "provider_error").await;
    assert!(got.text().starts_with(CHUNK));
}

#[tokio::test]
async fn an_error_event_of_the_provider_passes_and_is_the_last_word() {
    let world = World::new(luna([Reply::tokens(5).fails_after(3)]), "").await;
    let got = world.chat(ASK_STREAM).await;
    let datas = got.datas();
    assert_eq!(datas.len(), 4, "{}", got.text());
    assert!(datas[3].contains("The server had an error while processing your request"), "{}", got.text());
    assert!(!got.text().contains("[DONE]") && !got.text().contains("x-farthing-cost-usd"), "{}", got.text());
    let row = &world.attempts()[0];
    assert_eq!((row.fate.as_str(), row.cost), ("interrupted", None));
    assert_eq!(world.requests()[0].status, "provider_error");
    world.provider.settled().await.expect("the invoice is final");
    world.the_ledger_holds_the_invoice();
}

#[tokio::test]
async fn behind_an_error_event_usage_is_booked_and_nothing_goes_on() {
    const ERROR: &str = "data: {\"error\":{\"message\":\"boom\",\"type\":\"server_error\"}}\n\n";
    const USAGE: &str =
        "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":1000,\"completion_tokens\":500,\"total_tokens\":1500}}\n\n";
    const DONE: &str = "data: [DONE]\n\n";
    let in_one = vec![[CHUNK, ERROR, CHUNK, USAGE, DONE].concat()];
    let apart = [CHUNK, ERROR, CHUNK, USAGE, DONE, CHUNK].map(str::to_owned).to_vec();
    let unended = [CHUNK, ERROR, USAGE].map(str::to_owned).to_vec();
    for pieces in [in_one, apart, unended] {
        let world = World::new(luna([Reply::raw_events(pieces.clone()).billed(1000, 500)]), "").await;
        let got = world.chat(ASK_STREAM).await;
        assert_eq!(got.text(), [CHUNK, ERROR].concat(), "{pieces:?}");
        let row = world.attempts().remove(0);
        assert_eq!((&*row.fate, &*row.source, row.cost), ("interrupted", "reported", Some(800_000)), "{pieces:?}");
        assert_eq!((row.output_tokens, &*world.requests()[0].status), (Some(500), "provider_error"));
        world.the_ledger_holds_the_invoice();
    }
    // A provider that goes on talking, or says nothing more, keeps nobody waiting.
    let silent = Reply::raw_events([CHUNK, ERROR, CHUNK]).stalls_after(2);
    let world = World::new(luna([silent]), "").await;
    assert_eq!(world.chat(ASK_STREAM).await.text(), [CHUNK, ERROR].concat());
    assert_eq!(world.fates(), ["interrupted"]);
}

#[tokio::test]
async fn a_finished_answer_without_a_terminator_passes_and_is_settled() {
    let world = World::new(luna([Reply::tokens(5).without_done()]), "").await;
    let got = world.chat(ASK_STREAM).await;
    assert!(!got.text().contains("[DONE]") && !got.text().contains("\"error\""), "{}", got.text());
    assert_eq!(got.datas().len(), 7, "role, words and finish: {}", got.text());
    let row = &world.attempts()[0];
    assert_eq!((row.fate.as_str(), row.source.as_str()), ("completed", "reported"));
    assert_eq!(row.cost, Some(world.provider.invoice().total().0));
}

#[tokio::test]
async fn one_of_two_answers_is_not_enough() {
    let body = ASK_STREAM.replace("\"stream\"", "\"n\":2,\"stream\"");
    let second = FINISH.replace("\"index\":0", "\"index\":1");
    for (pieces, fate) in [(vec![CHUNK, FINISH], "interrupted"), (vec![CHUNK, FINISH, &second], "completed")] {
        let world = World::new(luna([Reply::raw_events(pieces.iter().map(|piece| piece.to_string()))]), "").await;
        let got = world.chat(body.clone()).await;
        assert_eq!(world.fates(), [fate], "{}", got.text());
    }
}

#[tokio::test]
async fn a_provider_that_lingers_after_the_terminator_keeps_nobody_waiting() {
    let pieces = [format!("{CHUNK}{FINISH}"), "data: [DONE]\n\n".to_owned(), ": bye\n\n".to_owned()];
    let world = World::new(luna([Reply::raw_events(pieces).stalls_after(2)]), "").await;
    let mut stream = world.stream(ASK_STREAM).await;
    assert_eq!(stream.take(4).await.last().map(String::as_str), Some("data: [DONE]\n\n"));
    // The provider is silent until it is released, and no timeout of this row is shorter than a minute.
    assert_eq!(stream.rest().await, Vec::<String>::new());
    assert_eq!(world.fates(), ["completed"]);
}

#[tokio::test]
async fn nothing_follows_the_terminator() {
    let pieces = [format!("{CHUNK}{FINISH}data: [DONE]\n\n{CHUNK}"), CHUNK.to_owned()];
    let world = World::new(luna([Reply::raw_events(pieces)]), "").await;
    let got = world.chat(ASK_STREAM).await;
    assert_eq!(got.datas().len(), 3, "{}", got.text());
    assert!(got.text().ends_with("data: [DONE]\n\n"));
}
