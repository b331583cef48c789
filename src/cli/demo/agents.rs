//! The demo's agents: sessions side by side, the turns of each in order, over real HTTP.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use indicatif::ProgressBar;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::simulator::Replay;
use crate::simulator::workload::{Label, Workload};
use crate::wire::openai_chat;

/// Sessions that run side by side.
const SESSIONS_AT_ONCE: usize = 8;

/// What the agents will send.
pub struct Script {
    sessions: Vec<Arc<Session>>,
}

struct Session {
    headers: Vec<(&'static str, String)>,
    turns: Vec<Turn>,
}

struct Turn {
    body: Bytes,
    /// Where the workload says that it belongs; the gateway is not told.
    label: Option<Label>,
}

/// What the agents saw.
#[derive(Clone, Default)]
pub struct Played {
    /// Requests that were answered in full.
    pub answered: usize,
    /// Requests that were not.
    pub failed: usize,
    /// The labels of requests by the id that the gateway gave them.
    pub labels: BTreeMap<String, Label>,
    /// The bodies of requests by the same ids, which sort by time.
    pub sent: BTreeMap<String, Bytes>,
}

impl Script {
    /// The built-in workload.
    pub fn of_workload(workload: &Workload) -> Self {
        let session = |session: &crate::simulator::workload::Session| {
            let turns = session.turns.iter().map(|turn| Turn { body: turn.body.clone(), label: Some(turn.label) });
            Arc::new(Session { headers: session.headers(), turns: turns.collect() })
        };
        Self { sessions: workload.sessions.iter().map(session).collect() }
    }

    /// Recorded sessions: one request for each assistant turn, model `auto`, team `replay`.
    pub fn of_replay(replay: &Replay) -> Self {
        let session = |session: &crate::simulator::ReplaySession| {
            let headers = vec![("x-farthing-team", "replay".to_owned()), ("x-farthing-run", session.id.clone())];
            let turns = session.bodies("auto").map(|body| Turn { body: Bytes::from(body), label: None });
            Arc::new(Session { headers, turns: turns.collect() })
        };
        Self { sessions: replay.sessions.iter().map(session).collect() }
    }

    /// How many sessions there are.
    pub fn sessions(&self) -> usize {
        self.sessions.len()
    }

    /// How many requests they have together.
    pub fn requests(&self) -> usize {
        self.sessions.iter().map(|session| session.turns.len()).sum()
    }

    /// Sends everything to the gateway at `address`.
    pub async fn play(&self, address: SocketAddr, bar: &ProgressBar) -> Played {
        let client: Client<HttpConnector, Full<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
        let places = Arc::new(Semaphore::new(SESSIONS_AT_ONCE));
        let mut running = JoinSet::new();
        for session in &self.sessions {
            let (session, places, client, bar) =
                (Arc::clone(session), Arc::clone(&places), client.clone(), bar.clone());
            running.spawn(async move {
                let _place = places.acquire().await;
                let mut played = Played::default();
                for turn in &session.turns {
                    let answer = send(&client, address, &session.headers, turn).await.unwrap_or_default();
                    match answer.complete {
                        true => played.answered += 1,
                        false => played.failed += 1,
                    }
                    played.sent.extend(answer.id.clone().map(|id| (id, turn.body.clone())));
                    played.labels.extend(answer.id.zip(turn.label));
                    bar.inc(1);
                }
                played
            });
        }
        let mut all = Played::default();
        while let Some(ended) = running.join_next().await {
            let played = ended.unwrap_or(Played { failed: 1, ..Played::default() });
            all.answered += played.answered;
            all.failed += played.failed;
            all.labels.extend(played.labels);
            all.sent.extend(played.sent);
        }
        all
    }
}

impl Played {
    /// Sends the same bodies in the same order to the provider at `address`, all of them to `model`. False if one of them
    /// is not answered.
    pub async fn send_again(&self, address: SocketAddr, model: &str) -> bool {
        let client: Client<HttpConnector, Full<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
        for body in self.sent.values() {
            let Ok(view) = openai_chat::read(body) else { return false };
            let Range { start, end } = view.model_at;
            let body = [&body[..start], format!("\"{model}\"").as_bytes(), &body[end..]].concat().into();
            let answer = send(&client, address, &[], &Turn { body, label: None }).await;
            if !answer.is_some_and(|answer| answer.complete) {
                return false;
            }
        }
        true
    }
}

/// What came back for one request.
#[derive(Default)]
struct Answer {
    /// `x-request-id`.
    id: Option<String>,
    /// Whether it is a whole document, or a stream with its terminator.
    complete: bool,
}

/// One request; `None` if nothing came back.
async fn send(
    client: &Client<HttpConnector, Full<Bytes>>,
    address: SocketAddr,
    headers: &[(&'static str, String)],
    turn: &Turn,
) -> Option<Answer> {
    let mut request =
        Request::post(format!("http://{address}/v1/chat/completions")).header("content-type", "application/json");
    for (name, value) in headers {
        request = request.header(*name, value);
    }
    let response = client.request(request.body(Full::new(turn.body.clone())).ok()?).await.ok()?;
    let (head, body) = response.into_parts();
    let id = head.headers.get("x-request-id").and_then(|id| id.to_str().ok()).map(str::to_owned);
    let Ok(read) = body.collect().await.map(http_body_util::Collected::to_bytes) else {
        return Some(Answer { id, complete: false });
    };
    let is_stream =
        head.headers.get("content-type").is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"));
    let complete = head.status.is_success() && (!is_stream || read.ends_with(b"data: [DONE]\n\n"));
    Some(Answer { id, complete })
}
