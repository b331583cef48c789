//! Who is shown to call a provider: several keys of one row, signatures, tokens of service accounts.

use std::sync::atomic::{AtomicU64, Ordering};

use farthing::simulator::{Provider, Reply};
use ring::signature::{RSA_PKCS1_2048_8192_SHA256, RsaKeyPair, UnparsedPublicKey};
use ring::{digest, hmac};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject;
use serde_json::{Value, json};

use crate::support::{ASK, Fake, Seen, Setup, World, ask, luna};

const PEM: &str = include_str!("support/service-account.pem");

/// The smallest question of a conversation of its own.
fn another(number: usize) -> String {
    ask(json!({"messages": [{"role": "user", "content": format!("question {number}")}]}))
}

/// Asks in conversations of their own until some call has failed; all of them are answered.
async fn until_a_call_fails(world: &World) -> usize {
    for number in 0..200 {
        let got = world.chat(another(number)).await;
        assert_eq!(got.status, 200, "{}", got.text());
        if world.fates().iter().any(|fate| fate != "completed") {
            return number + 1;
        }
    }
    panic!("no conversation took the way that fails");
}

#[tokio::test]
async fn a_key_that_is_dead_is_left_for_the_next_at_once_and_rests() {
    let world = Setup::of(luna([Reply::text("ok")]).requires_key("sk-the-good-one"))
        .file("bad", "sk-the-bad-one")
        .file("good", "sk-the-good-one")
        .row("keys: [{ key: file:bad }, { key: file:good }]")
        .dispatch("retries: 0")
        .start()
        .await;
    let asked = until_a_call_fails(&world).await;
    for number in 0..20 {
        assert_eq!(world.chat(another(1000 + number)).await.status, 200);
    }
    let failed = world.attempts().into_iter().filter(|attempt| attempt.fate == "failed").count();
    assert_eq!(
        (failed, world.attempts().len()),
        (1, asked + 21),
        "a row for each attempt, and no second try of that key"
    );
    let told = world.logged("key_rests", 1).await;
    assert_eq!((&told["provider"], &told["key"], &told["status"]), (&json!("sim"), &json!(1), &json!(401)));
    assert_eq!(told["seconds"], 300);
    assert!(!world.log_text().contains("sk-the"));
    world.the_ledger_holds_the_invoice();
}

#[tokio::test]
async fn a_key_that_is_limited_rests_while_another_answers_and_a_region_that_is_down_likewise() {
    let limited = Reply::status(429).with_header("retry-after", "60");
    for (name, reply) in [("limited", Some(limited)), ("down", None)] {
        let first = Provider::openai().model(crate::support::script("gpt-5.6-luna", reply));
        let world = Setup::of(first).and("spare", luna([Reply::text("ok")])).tiers("").dispatch("retries: 1");
        let url = if name == "down" { "http://127.0.0.1:1/v1" } else { "URL_OF_sim" };
        let world = world
            .rows(&format!(
                "  sim: {{ protocol: openai, vendor: openai, models: ['*'], dispatch: {{ circuit: {{ failures: 1 }} }}, \
                 keys: [{{ base_url: '{url}' }}, {{ base_url: URL_OF_spare, weight: 1 }}] }}\n"
            ))
            .start()
            .await;
        let asked = until_a_call_fails(&world).await;
        for number in 0..10 {
            assert_eq!(world.chat(another(1000 + number)).await.status, 200);
        }
        assert_eq!(world.attempts().len(), asked + 11, "{name} was called once");
        assert_eq!(world.others[0].arrivals(), asked as u64 + 10);
        let seconds = if name == "down" { 30 } else { 60 };
        assert_eq!(world.logged("key_rests", 1).await["seconds"], seconds, "{name}");
    }
}

#[tokio::test]
async fn a_conversation_keeps_to_one_way_and_conversations_are_shared_out() {
    let world = Setup::of(luna([Reply::text("ok")]))
        .and("spare", luna([Reply::text("ok")]))
        .tiers("")
        .rows(
            "  sim: { protocol: openai, vendor: openai, models: ['*'], keys: [{ base_url: URL_OF_sim }, \
             { base_url: URL_OF_spare }] }\n",
        )
        .start()
        .await;
    let arrivals = || [world.provider.arrivals(), world.others[0].arrivals()];
    for number in 0..30 {
        let mut messages = vec![json!({"role": "user", "content": format!("conversation {number}")})];
        let mut ways = Vec::new();
        for _ in 0..3 {
            let before = arrivals();
            assert_eq!(world.chat(ask(json!({"messages": messages}))).await.status, 200);
            ways.push(arrivals()[0] > before[0]);
            messages
                .extend([json!({"role": "assistant", "content": "ok"}), json!({"role": "user", "content": "go on"})]);
        }
        assert!(ways.iter().all(|way| *way == ways[0]), "{ways:?}");
    }
    assert!(arrivals().iter().all(|arrivals| *arrivals > 9), "{:?}", arrivals());
}

#[tokio::test]
async fn the_only_key_rests_too_where_another_target_answers() {
    let world = Setup::of(luna([Reply::text("ok")]).requires_key("another"))
        .and("spare", luna([Reply::text("ok")]))
        .tiers("lightweight: [sim/gpt-5.6-luna, spare/gpt-5.6-luna]")
        .start()
        .await;
    let body = ASK.replace("gpt-5.6-luna", "lightweight");
    for _ in 0..5 {
        assert_eq!(world.chat(body.clone()).await.status, 200);
    }
    assert_eq!((world.provider.arrivals(), world.others[0].arrivals()), (1, 5));
    let alone = Setup::of(luna([Reply::text("ok")]).requires_key("another")).start().await;
    for _ in 0..3 {
        assert_eq!(alone.chat(ASK).await.code(), "provider_credentials");
    }
    assert_eq!(alone.provider.arrivals(), 3, "the last hope is always tried");
}

#[tokio::test]
async fn a_team_s_providers_bind_every_attempt() {
    let broken = || luna([Reply::status(503)]);
    let world = Setup::of(broken())
        .and("spare", broken())
        .and("forbidden", luna([Reply::text("ok")]))
        .tiers("lightweight: [sim/gpt-5.6-luna, spare/gpt-5.6-luna, forbidden/gpt-5.6-luna]")
        .more("teams: { narrow: { providers: [sim, spare] }, none: { providers: [] }, wide: {} }")
        .start()
        .await;
    for asked in ["lightweight", "gpt-5.6-luna", "auto", "forbidden/gpt-5.6-luna", "sim/gpt-5.6-luna"] {
        for team in ["narrow", "none"] {
            let got = world.chat_as(ASK.replace("gpt-5.6-luna", asked), &[("x-farthing-team", team)]).await;
            assert!(got.status >= 400, "{asked} of {team}: {}", got.text());
        }
    }
    assert_eq!(world.others[1].arrivals(), 0, "no retry, fallback or exact name leads out of them");
    let called = world.attempts();
    assert!(called.iter().all(|attempt| !attempt.target.starts_with("forbidden")) && !called.is_empty());
    let wide = world.chat_as(ASK.replace("gpt-5.6-luna", "lightweight"), &[("x-farthing-team", "wide")]).await;
    assert_eq!((wide.status, world.others[1].arrivals()), (200, 1));
}

/// A token endpoint of Google's that believes whoever signs with the key of this test, and gives tokens with numbers.
async fn tokens(seconds: u64) -> Fake {
    Fake::answering(move |seen, number| {
        let form =
            seen.body.strip_prefix("grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion=");
        match form.is_some_and(is_signed) {
            true => (200, json!({"access_token": format!("ya29.token-{number}"), "expires_in": seconds}).to_string()),
            false => (400, json!({"error": "invalid_grant"}).to_string()),
        }
    })
    .await
}

/// Whether a statement says what Google wants to hear, in the account's own hand.
fn is_signed(statement: &str) -> bool {
    let [head, claims, signature] = statement.split('.').collect::<Vec<_>>()[..] else { return false };
    let claims: Value = serde_json::from_slice(&from_base64url(claims)).expect("JSON");
    let der = PrivatePkcs8KeyDer::from_pem_slice(PEM.as_bytes()).expect("PEM");
    let key = RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()).expect("a key");
    let said = &statement[..statement.len() - signature.len() - 1];
    let key = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key.public());
    claims["iss"] == "farthing@p.iam.gserviceaccount.com"
        && claims["scope"] == "https://www.googleapis.com/auth/cloud-platform"
        && claims["exp"].as_u64() == claims["iat"].as_u64().map(|at| at + 3600)
        && serde_json::from_slice::<Value>(&from_base64url(head)).expect("JSON")["alg"] == "RS256"
        && key.verify(said.as_bytes(), &from_base64url(signature)).is_ok()
}

fn from_base64url(text: &str) -> Vec<u8> {
    let digit = |byte| "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_".find(char::from(byte));
    let bits: Vec<bool> = text
        .bytes()
        .flat_map(|byte| (0..6).rev().map(move |bit| digit(byte).expect("a digit") >> bit & 1 == 1))
        .collect();
    bits.chunks_exact(8).map(|byte| byte.iter().fold(0, |byte, bit| byte << 1 | u8::from(*bit))).collect()
}

/// A gateway in front of Vertex, whose tokens come from `endpoint` and which wants `token`.
async fn vertex(endpoint: &Fake, provider: Provider) -> World {
    let account = json!({
        "type": "service_account", "client_email": "farthing@p.iam.gserviceaccount.com", "private_key": PEM,
        "private_key_id": "k1", "project_id": "p", "token_uri": format!("http://{}/token", endpoint.address),
    });
    Setup::of(provider)
        .file("account.json", &account.to_string())
        .tiers("")
        .dispatch("retries: 1")
        .rows("  vertex: { preset: vertex, base_url: URL_OF_sim, key: file:account.json, models: ['*'], vendor: openai }\n")
        .start()
        .await
}

#[tokio::test]
async fn a_service_account_is_shown_by_one_token_for_all_calls() {
    let endpoint = tokens(3600).await;
    let world = vertex(&endpoint, luna([Reply::text("ok")]).requires_key("ya29.token-1")).await;
    let bodies: Vec<String> = (0..8).map(another).collect();
    let asked = bodies.into_iter().map(|body| world.chat(body));
    for got in futures_of(asked).await {
        assert_eq!(got, 200);
    }
    assert_eq!(endpoint.seen().len(), 1, "all waited for one asking");
    assert_eq!(endpoint.seen()[0].path, "/token");
}

/// Awaits all at once.
async fn futures_of(asked: impl Iterator<Item = impl Future<Output = crate::support::Got>>) -> Vec<u16> {
    let mut asked: Vec<_> = asked.map(Box::pin).collect();
    let mut statuses = vec![0; asked.len()];
    std::future::poll_fn(|cx| {
        for (one, status) in asked.iter_mut().zip(&mut statuses) {
            if *status == 0
                && let std::task::Poll::Ready(got) = one.as_mut().poll(cx)
            {
                *status = got.status;
            }
        }
        if statuses.contains(&0) { std::task::Poll::Pending } else { std::task::Poll::Ready(()) }
    })
    .await;
    statuses
}

#[tokio::test]
async fn a_token_that_is_over_or_not_believed_any_more_is_had_anew() {
    let endpoint = tokens(0).await;
    let world = vertex(&endpoint, luna([Reply::text("ok")])).await;
    for _ in 0..3 {
        assert_eq!(world.chat(ASK).await.status, 200);
    }
    assert_eq!(endpoint.seen().len(), 3, "each was over at once");
    let endpoint = tokens(3600).await;
    let world = vertex(&endpoint, luna([Reply::text("ok")]).requires_key("ya29.token-2")).await;
    assert_eq!(world.chat(ASK).await.code(), "provider_credentials");
    assert_eq!(world.chat(ASK).await.status, 200);
    assert_eq!(endpoint.seen().len(), 2);
}

#[tokio::test]
async fn without_a_token_nothing_leaves_and_a_token_is_told_to_nobody() {
    let closed = Fake::answering(|_, _| (403, "{}".to_owned())).await;
    let world = vertex(&closed, luna([Reply::text("ok")])).await;
    let got = world.chat(ASK).await;
    assert_eq!((got.status, got.code(), world.provider.arrivals()), (502, "provider_error".to_owned(), 0));
    assert_eq!(world.fates(), ["failed", "failed"]);
    let echo = json!({"error": {"message": "bad request with ya29.token-1", "type": "x", "param": null, "code": null}});
    let endpoint = tokens(3600).await;
    let world = vertex(&endpoint, luna([Reply::status(400).with_body(&echo)])).await;
    let got = world.chat(ASK).await;
    assert!(!got.text().contains("ya29") && !world.log_text().contains("ya29"), "{}", got.text());
}

/// What AWS writes down of a request, signed with this key, as its documentation has it.
fn signature_of(seen: &Seen, secret: &str, names: &str) -> String {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let sha256 = |text: &str| hex(digest::digest(&digest::SHA256, text.as_bytes()).as_ref());
    let headers: String = names.split(';').map(|name| format!("{name}:{}\n", seen.header(name))).collect();
    let canonical = format!("POST\n{}\n\n{headers}\n{names}\n{}", seen.path, sha256(&seen.body));
    let time = seen.header("x-amz-date");
    let scope = format!("{}/eu-west-1/bedrock/aws4_request", &time[..8]);
    let to_sign = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{}", sha256(&canonical));
    let mac =
        |key: &[u8], text: &str| hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes()).as_ref().to_vec();
    let key = scope.split('/').fold(format!("AWS4{secret}").into_bytes(), |key, word| mac(&key, word));
    hex(&mac(&key, &to_sign))
}

#[tokio::test]
async fn calls_are_signed_with_aws_s_keys_each_anew() {
    let answer = json!({
        "id": "c", "object": "chat.completion", "created": 1, "model": "m", "usage": {"prompt_tokens": 1, "completion_tokens": 1,
        "total_tokens": 2}, "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "ok"}}],
    });
    let numbers = AtomicU64::new(0);
    let bedrock = Fake::answering(move |_, _| match numbers.fetch_add(1, Ordering::Relaxed) {
        0 => (503, "{}".to_owned()),
        _ => (200, answer.to_string()),
    })
    .await;
    let world = Setup::of(luna([Reply::text("unused")]))
        .file("id", "AKIAFARTHING")
        .file("secret", "wJalr/secret+of+aws")
        .file("session", "session-token-of-aws")
        .tiers("")
        .rows(&format!(
            "  bedrock: {{ preset: bedrock, base_url: 'http://{}/openai/v1', region: eu-west-1, models: ['*'], vendor: openai, \
             aws: {{ access_key_id: file:id, secret_access_key: file:secret, session_token: file:session }} }}\n",
            bedrock.address
        ))
        .start()
        .await;
    let got = world.chat(ASK).await;
    assert_eq!(got.status, 200, "{}", got.text());
    let seen = bedrock.seen();
    assert_eq!(seen.len(), 2, "a retry");
    for one in &seen {
        assert_eq!(one.path, "/openai/v1/chat/completions");
        assert_eq!(one.header("x-amz-security-token"), "session-token-of-aws");
        let names = "content-type;host;x-amz-date;x-amz-security-token";
        let signature = signature_of(one, "wJalr/secret+of+aws", names);
        let date = &one.header("x-amz-date")[..8];
        let expected = format!(
            "AWS4-HMAC-SHA256 Credential=AKIAFARTHING/{date}/eu-west-1/bedrock/aws4_request, SignedHeaders={names}, \
             Signature={signature}"
        );
        assert_eq!(one.header("authorization"), expected);
    }
    assert!(!world.log_text().contains("of-aws") && !world.log_text().contains("secret+of"));
}
