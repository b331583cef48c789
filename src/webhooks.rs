//! Tells others what becomes of budgets: one message a webhook, at least once, never on the path of a request.
//!
//! Each webhook has a queue and a task of its own: messages go out in order, and one that is not taken is sent again
//! later and later. Messages hold names and amounts, never a prompt or a secret. After a restart the next request that
//! spends tells again what holds then, with the same `id`.

use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Request};
use http_body_util::Full;
use jiff::Timestamp;
use ring::hmac;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;

use crate::budget::{News, What, WhenNear};
use crate::config::Webhook;
use crate::limits::{WEBHOOK_MESSAGES_MAX, WEBHOOK_TRIES_MAX};
use crate::providers::plain_client;
use crate::telemetry::log::{Log, now_ms};

/// How long one try may take, connecting included.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The pause behind the first try; each is twice as long as the one before, up to the longest.
const PAUSE: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(300);

/// Tells news as they come, in the log and to every webhook. Ends when nobody can have any more.
pub async fn tell(mut news: mpsc::Receiver<News>, webhooks: Vec<Webhook>, log: Log) {
    let mut queues = Vec::new();
    let mut senders = tokio::task::JoinSet::new();
    for (number, webhook) in (1..).zip(webhooks) {
        let (queue, messages) = mpsc::channel(WEBHOOK_MESSAGES_MAX);
        queues.push((number, queue));
        senders.spawn(send_all(number, webhook, messages, log.clone()));
    }
    while let Some(news) = news.recv().await {
        let message = message(&news);
        log.event("budget", &message);
        if news.what == What::Near && news.charge.budget.when_near == WhenNear::Nothing {
            continue;
        }
        let body = Bytes::from(message.to_string());
        for (number, queue) in &queues {
            if queue.try_send(body.clone()).is_err() {
                log.event("webhook_failed", &json!({ "webhook": number, "why": "too many messages wait" }));
            }
        }
    }
    drop(queues);
    while senders.join_next().await.is_some() {}
}

/// What is told. The same news has the same `id`.
fn message(news: &News) -> Value {
    let News { what, charge, spent, period } = news;
    let what = match what {
        What::Near => "near",
        What::Exhausted => "exhausted",
    };
    let time = |ms: i64| Timestamp::from_millisecond(ms).map_or_else(|_| ms.to_string(), |at| at.to_string());
    let (payer, every) = (charge.payer.to_string(), charge.budget.every.to_string());
    let seen = format!("{what}\n{payer}\n{every}\n{}", period.start_ms);
    let id = Sha256::digest(seen.as_bytes()).iter().take(16).map(|byte| format!("{byte:02x}")).collect::<String>();
    json!({
        "id": id, "type": "budget", "what": what, "payer": payer, "payer_kind": charge.payer.kind(),
        "spent_usd": spent.to_string(), "budget_usd": charge.budget.usd.to_string(), "every": every,
        "near": charge.budget.near.to_string(), "when_near": charge.budget.when_near.to_string(),
        "period_start": time(period.start_ms), "period_end": time(period.end_ms),
    })
}

async fn send_all(number: usize, webhook: Webhook, mut messages: mpsc::Receiver<Bytes>, log: Log) {
    let client = plain_client(TIMEOUT);
    while let Some(body) = messages.recv().await {
        let mut pause = PAUSE;
        for tried in 1..=WEBHOOK_TRIES_MAX {
            let sent = tokio::time::timeout(TIMEOUT, client.request(request(&webhook, &body))).await;
            let why = match sent {
                Ok(Ok(response)) if response.status().is_success() => break,
                Ok(Ok(response)) => format!("status {}", response.status().as_u16()),
                // Its text may name the address.
                Ok(Err(_)) => "no connection".to_owned(),
                Err(_) => "no answer in time".to_owned(),
            };
            log.event("webhook_failed", &json!({ "webhook": number, "why": why, "tries": tried }));
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }
}

fn request(webhook: &Webhook, body: &Bytes) -> Request<Full<Bytes>> {
    let mut request = Request::new(Full::new(body.clone()));
    *request.method_mut() = http::Method::POST;
    *request.uri_mut() = webhook.url.reveal().parse().unwrap_or_default();
    request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Some(secret) = &webhook.secret
        && let Ok(signature) = HeaderValue::try_from(signature(secret.reveal(), now_ms() / 1000, body))
    {
        request.headers_mut().insert("x-farthing-signature", signature);
    }
    request
}

/// `t=<seconds>,v1=<HMAC-SHA256 of "<seconds>.<body>" in hex>`, so that an old message cannot be sent again as a new one.
fn signature(secret: &str, seconds: i64, body: &[u8]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let mut context = hmac::Context::with_key(&key);
    context.update(format!("{seconds}.").as_bytes());
    context.update(body);
    let tag: String = context.sign().as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("t={seconds},v1={tag}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_that_of_time_and_body() {
        // printf '1700000000.{}' | openssl dgst -sha256 -hmac secret
        let expected = "t=1700000000,v1=b8569b78799ff9e3cbff0fc2d63a33a2b57f3282abd07c37ae5e8e7d79a5f163";
        let found = signature("secret", 1_700_000_000, b"{}");
        assert_eq!(found, expected);
        assert_ne!(found, signature("secret", 1_700_000_001, b"{}"));
        assert_ne!(found, signature("other", 1_700_000_000, b"{}"));
    }
}
