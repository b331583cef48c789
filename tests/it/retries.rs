//! What goes wrong before the first byte of an answer: passed on, tried again, or told in our words.

use farthing::simulator::{Provider, Reply};
use serde_json::json;

use crate::support::{ASK, ASK_STREAM, Got, PATIENCE, Setup, World, luna, script, whole};

/// Asks once, streaming or not, a provider that does `replies`.
async fn asked(replies: impl IntoIterator<Item = Reply>, body: &str) -> (World, Got) {
    let world = World::new(luna(replies), "").await;
    let got = world.chat(body.to_owned()).await;
    (world, got)
}

#[tokio::test]
async fn an_error_of_the_provider_passes_byte_for_byte_with_its_status() {
    let error = json!({"error": {"message": "no é", "type": "x", "param": "n", "code": 7, "more": [1]}});
    for status in [400, 404, 409, 413, 422, 429, 500, 503, 529] {
        for body in [ASK, ASK_STREAM] {
            let reply = Reply::status(status).with_body(&error).with_header("x-should-retry", "false");
            let (world, got) = asked([reply], body).await;
            assert_eq!((got.status, got.text()), (status, &*error.to_string()));
            assert_eq!(got.header("content-type"), "application/json");
            assert_eq!((world.provider.arrivals(), got.header("x-farthing-cost-usd")), (1, "0"), "{status}");
            let row = &world.attempts()[0];
            assert_eq!((row.fate.as_str(), row.cost, row.high), ("failed", Some(0), Some(0)));
            assert_eq!(row.provider_status, Some(i64::from(status)));
            assert_eq!(world.requests()[0].http_status, Some(i64::from(status)));
        }
    }
}

#[tokio::test]
async fn a_page_of_html_becomes_an_error_of_ours_with_the_same_status() {
    for (status, page) in [(404, "<html>nginx at 10.1.2.3</html>"), (503, "<h1>busy</h1>"), (500, "")] {
        let reply = Reply::status(status).with_html(page).with_header("x-should-retry", "false");
        let (_world, got) = asked([reply], ASK).await;
        assert_eq!((got.status, got.code()), (status, "provider_error".to_owned()));
        assert_eq!(got.header("content-type"), "application/json");
        assert!(!got.text().contains("10.1.2.3"), "{}", got.text());
    }
    let (_world, got) = asked([Reply::status(400).with_body(&json!({"detail": "not this dialect"}))], ASK).await;
    let told = &got.json()["error"];
    assert_eq!((got.status, &told["type"]), (400, &json!("invalid_request_error")));
    assert_eq!(told["message"], "not this dialect");
}

#[tokio::test]
async fn a_redirect_is_neither_followed_nor_repeated_nor_passed_on() {
    let error = json!({"error": {"message": "moved", "type": "x", "code": null}});
    for status in [300, 302, 304, 307] {
        let reply = Reply::status(status).with_header("location", "http://127.0.0.1:1/").with_body(&error);
        let (world, got) = asked([reply, Reply::text("ok")], ASK).await;
        assert_eq!((got.status, got.code(), got.header("location")), (502, "provider_error".to_owned(), ""));
        assert_eq!((world.provider.arrivals(), world.fates()), (1, vec!["failed".to_owned()]));
        assert_eq!(world.attempts()[0].provider_status, Some(i64::from(status)), "the ledger has the provider's own");
        assert_eq!((&*world.requests()[0].status, world.requests()[0].http_status), ("provider_error", Some(502)));
    }
}

#[tokio::test]
async fn a_refused_credential_is_never_relayed_whatever_form_the_refusal_takes() {
    let error = json!({"error": {"message": "Incorrect API key provided: sk-se****cret.", "type": "invalid_request_error",
        "param": null, "code": "invalid_api_key"}});
    let event = format!("data: {error}\n\n");
    for (name, reply) in [
        ("401", Reply::status(401).with_body(&error)),
        ("403", Reply::status(403).with_body(&error).with_header("retry-after", "1")),
        ("an error in a success", Reply::status(200).with_body(&error)),
        ("an error as the first event", Reply::raw_events([event])),
    ] {
        let (world, got) = asked([reply], ASK_STREAM).await;
        assert_eq!((got.status, got.code()), (502, "provider_credentials".to_owned()), "{name}");
        assert!(!got.text().contains("sk-se") && !world.log_text().contains("sk-se"), "{name}: {}", got.text());
        assert_eq!(world.provider.arrivals(), 1, "{name}: a credential does not get better by waiting");
        assert_eq!(world.requests()[0].status, "provider_credentials");
    }
}

#[tokio::test]
async fn the_row_s_key_is_sent_and_never_shown() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("key");
    std::fs::write(&file, "sk-secret-of-the-row\n").expect("a file");
    let key = format!("key: file:{}", file.display());
    let right = Setup::of(luna([Reply::text("ok")]).requires_key("sk-secret-of-the-row")).row(&key).start().await;
    assert_eq!(right.chat(ASK).await.status, 200);
    let wrong = Setup::of(luna([Reply::text("ok")]).requires_key("another")).row(&key).start().await;
    let got = wrong.chat(ASK).await;
    assert_eq!((got.status, got.code()), (502, "provider_credentials".to_owned()));
    assert!(!got.text().contains("sk-s") && !wrong.log_text().contains("sk-secret"), "{}", got.text());
}

/// The provider answers with `first`, then well; expects `tries` calls and the status that the client sees.
async fn check_tries(first: Reply, dispatch: &str, tries: u64, status: u16) -> (World, Got) {
    let world = Setup::of(luna([first, Reply::text("ok")])).dispatch(dispatch).start().await;
    let got = world.chat(ASK).await;
    assert_eq!((world.provider.arrivals(), got.status), (tries, status), "{}", got.text());
    assert_eq!(world.attempts().len() as u64, tries, "a row for each attempt");
    world.the_ledger_holds_the_invoice();
    (world, got)
}

#[tokio::test]
async fn what_may_pass_by_itself_is_tried_again() {
    for status in [408, 409, 429, 500, 502, 503, 529] {
        let (world, got) = check_tries(Reply::status(status), "retries: 1", 2, 200).await;
        assert_eq!(world.fates(), ["failed", "completed"], "{status}");
        assert_eq!(got.header("x-farthing-cost-usd"), world.provider.invoice().total().to_string());
    }
    for status in [400, 404, 422] {
        check_tries(Reply::status(status), "retries: 3", 1, status).await;
    }
    check_tries(Reply::status(500), "retries: 0", 1, 500).await;
}

#[tokio::test]
async fn a_wait_that_is_asked_for_is_kept_or_passed_on() {
    let busy = |name, value| Reply::status(429).with_header(name, value);
    for (name, value) in [("retry-after-ms", "300"), ("retry-after", "0.3")] {
        check_tries(busy(name, value), "retries: 1", 2, 200).await;
    }
    // A wait that would outlast the call is no wait at all.
    for (name, value) in [("retry-after-ms", "7000"), ("retry-after", "7")] {
        let (_, got) = check_tries(busy(name, value), "retries: 1, total_timeout: 6s", 1, 429).await;
        assert_eq!(got.header(name), value);
    }
    // Longer than `retry_wait`: whoever called decides.
    let (_, got) = check_tries(busy("retry-after", "7"), "retries: 1, retry_wait: 5s", 1, 429).await;
    assert_eq!(got.header("retry-after"), "7");
    let (_, got) = check_tries(busy("retry-after-ms", "5001"), "retries: 1, retry_wait: 5s", 1, 429).await;
    assert_eq!(got.header("retry-after-ms"), "5001");
    // So is a date that is far, in whichever of its forms, and a number that no clock holds.
    let endless = "9".repeat(400);
    for value in ["Sun, 21 Oct 2170 07:28:00 GMT", "Sun Oct 21 07:28:00 2170", "99999999999999999999999999", &*endless]
    {
        let (_, got) = check_tries(busy("retry-after", value), "retries: 1", 1, 429).await;
        assert_eq!(got.header("retry-after"), value);
    }
    // A date that has passed asks for no wait; nonsense says nothing that we count by.
    for value in ["Wed, 21 Oct 2015 07:28:00 GMT", "-1", "soon", "inf", "nan", ""] {
        check_tries(busy("retry-after", value), "retries: 1", 2, 200).await;
    }
}

#[tokio::test]
async fn the_provider_s_own_word_on_retrying_is_kept() {
    let (_, got) = check_tries(Reply::insufficient_quota(), "retries: 3", 1, 429).await;
    assert_eq!(got.code(), "insufficient_quota");
    check_tries(Reply::status(429).with_header("x-should-retry", "false"), "retries: 3", 1, 429).await;
    check_tries(Reply::status(500).with_header("x-should-retry", "true"), "retries: 1", 2, 200).await;
    let quota = json!({"error": {"message": "no money", "type": "insufficient_quota", "code": "insufficient_quota"}});
    let (_, got) = check_tries(Reply::status(200).with_body(&quota), "retries: 3", 1, 429).await;
    assert_eq!(got.text(), quota.to_string());
}

#[tokio::test]
async fn a_connection_that_breaks_before_the_answer_is_tried_again_and_may_be_billed() {
    for body in [ASK, ASK_STREAM] {
        let (world, got) = asked([Reply::text("lost").resets_before_headers(), Reply::text("ok")], body).await;
        assert_eq!((got.status, world.provider.arrivals()), (200, 2));
        assert_eq!(world.fates(), ["interrupted", "completed"]);
        let lost = &world.attempts()[0];
        assert_eq!((lost.low, lost.cost, lost.source.as_str()), (0, None, "unknown"));
        assert!(lost.high.is_some_and(|high| high > 0), "{lost:?}");
        let request = &world.requests()[0];
        assert_eq!((request.cost, request.status.as_str()), (None, "ok"));
        let said = if body == ASK { got.header("x-farthing-cost-usd") } else { got.cost_comment().unwrap_or_default() };
        assert_eq!(said, "unknown", "what cannot be known is not a number");
        world.the_ledger_holds_the_invoice();
    }
}

#[tokio::test]
async fn an_answer_that_has_begun_is_not_asked_for_again() {
    for (body, lost) in [
        (ASK, Reply::text("lost").resets_after(0)),
        (ASK_STREAM, Reply::text("lost").resets_after(0)),
        (ASK, Reply::status(200).with_header("x-wide", &"v".repeat(2 << 20))),
    ] {
        let (world, got) = asked([lost, Reply::text("ok")], body).await;
        assert_eq!((got.status, got.code()), (502, "provider_error".to_owned()), "{}", got.text());
        assert!(got.text().contains("cannot be read"), "{}", got.text());
        assert_eq!(
            got.header("x-should-retry"),
            "false",
            "what may be billed is not to be repeated by the client either"
        );
        assert_eq!((world.provider.arrivals(), world.fates()), (1, vec!["interrupted".to_owned()]));
        world.provider.settled().await.expect("the invoice is final");
        world.the_ledger_holds_the_invoice();
    }
}

#[tokio::test]
async fn nobody_there_is_told_without_an_address() {
    let world = World::new(luna([Reply::text("ok")]), "").await;
    let address = world.provider.address();
    let World { provider, gateway, client, folder: _folder, .. } = world;
    provider.shutdown().await;
    let request = http::Request::post(format!("http://{}/v1/chat/completions", gateway.listen));
    let request = request.body(http_body_util::Full::from(ASK)).expect("a request");
    let got = whole(client.request(request).await.expect("an answer")).await;
    assert_eq!((got.status, got.code()), (502, "provider_error".to_owned()));
    assert!(!got.text().contains(&address.port().to_string()), "{}", got.text());
}

#[tokio::test]
async fn a_slow_first_byte_is_a_timeout_that_is_not_repeated() {
    for body in [ASK, ASK_STREAM] {
        let slow = Reply::text("late").waits(PATIENCE);
        let timeouts = "retries: 2, first_byte_timeout: 250ms, total_timeout: 250ms";
        let world = Setup::of(luna([slow])).dispatch(timeouts).start().await;
        let got = world.chat(body).await;
        assert_eq!((got.status, got.code()), (504, "provider_timeout".to_owned()));
        world.provider.hung_up(1).await.expect("the provider's call is given up");
        assert_eq!(world.provider.arrivals(), 1);
        let row = &world.attempts()[0];
        assert_eq!((row.fate.as_str(), row.low, row.cost), ("interrupted", 0, None));
        assert!(row.high.is_some_and(|high| high > 0), "{row:?}");
        world.provider.settled().await.expect("the invoice is final");
        world.the_ledger_holds_the_invoice();
        assert_eq!(world.requests()[0].status, "provider_timeout");
    }
}

#[tokio::test]
async fn a_head_without_a_first_event_is_a_timeout_too() {
    let mute = Reply::tokens(3).stalls_after(0);
    let world = Setup::of(luna([mute])).dispatch("retries: 2, first_byte_timeout: 250ms").start().await;
    let got = world.chat(ASK_STREAM).await;
    assert_eq!((got.status, got.code(), world.provider.arrivals()), (504, "provider_timeout".to_owned(), 1));
    assert_eq!(world.fates(), ["interrupted"]);
}

#[tokio::test]
async fn a_timeout_is_repeated_where_the_row_allows_it() {
    let slow = Reply::text("late").waits(PATIENCE);
    let rules = "retries: 1, first_byte_timeout: 400ms, retry_after_timeout: true";
    let world = Setup::of(luna([slow, Reply::text("ok")])).dispatch(rules).start().await;
    let got = world.chat(ASK_STREAM).await;
    assert_eq!((got.status, got.cost_comment()), (200, Some("unknown")));
    assert_eq!(world.fates(), ["interrupted", "completed"]);
}

#[tokio::test]
async fn the_client_s_own_deadline_ends_the_call_and_says_nothing_about_the_provider_s_health() {
    let sim = Provider::openai().model(script("gpt-5.6-luna", []).when("hurry", Reply::text("late").waits(PATIENCE)));
    let rules = "retries: 0, circuit: { failures: 1, cool_down: 1h }";
    let world = Setup::of(sim).and("spare", luna([Reply::text("spare")])).dispatch(rules).start().await;
    let hurry = ASK.replace("hi", "hurry");
    let got = world.chat_as(hurry, &[("x-farthing-deadline", "60")]).await;
    assert_eq!((got.status, got.code()), (504, "provider_timeout".to_owned()));
    let got = world.chat(ASK).await;
    assert_eq!(got.header("x-farthing-model"), "sim/gpt-5.6-luna", "one client's haste closes no door for others");
}

#[tokio::test]
async fn an_answer_that_cannot_be_read_is_told_without_its_text_and_may_be_billed() {
    for (kind, text) in [
        ("text/html", "<html>welcome to 10.1.2.3</html>"),
        ("application/json", "{\"choices\": [10.1.2.3"),
        ("application/json", ""),
        ("application/json", "[]"),
        ("text/event-stream", ""),
        ("text/event-stream", ": welcome to 10.1.2.3\n\n"),
    ] {
        let (world, got) = asked([Reply::raw(kind, [text])], ASK_STREAM).await;
        assert_eq!((got.status, got.code()), (502, "provider_error".to_owned()), "{kind} {text:?}");
        assert!(!got.text().contains("10.1.2.3"), "{}", got.text());
        let row = world.attempts().remove(0);
        assert_eq!((&*row.fate, row.cost, row.provider_status), ("interrupted", None, Some(200)), "{kind} {text:?}");
    }
}

#[tokio::test]
async fn an_error_that_is_all_of_a_stream_is_read_without_its_blank_line() {
    let error = r#"{"error":{"message":"full","type":"invalid_request_error","code":"context_length_exceeded"}}"#;
    for ending in ["", "\n", "\n\n"] {
        let (world, got) = asked([Reply::raw_events([format!("data: {error}{ending}")])], ASK_STREAM).await;
        assert_eq!((got.status, got.text()), (400, error), "ended by {ending:?}");
        assert_eq!(world.fates(), ["interrupted"], "a stream that had begun may be billed");
    }
}

#[tokio::test]
async fn numbers_as_codes_count_like_the_status_that_they_name() {
    let error = |code: u16| json!({"error": {"message": "no", "code": code}});
    for (code, tries) in [(429, 2), (503, 2), (400, 1), (402, 1)] {
        let (world, got) =
            asked([Reply::status(200).with_body(&error(code)), Reply::status(code).with_body(&error(code))], ASK).await;
        assert_eq!((got.status, got.text(), world.provider.arrivals()), (code, &*error(code).to_string(), tries));
    }
    let (_world, got) = asked([Reply::status(200).with_body(&error(401))], ASK).await;
    assert_eq!(got.code(), "provider_credentials");
}
