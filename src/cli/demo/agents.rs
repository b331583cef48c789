//! The demo's agents: sessions side by side, the turns of each in order, over real HTTP.

use std::net::SocketAddr;
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
use crate::simulator::workload::Workload;
use crate::task::Tier;

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
    /// The tier that the agent's author pinned for this kind of step.
    tier: Option<Tier>,
}

/// What the agents saw.
#[derive(Clone, Copy, Default)]
pub struct Played {
    /// Requests that were answered in full.
    pub answered: usize,
    /// Requests that were not.
    pub failed: usize,
}

impl Script {
    /// The built-in workload.
    pub fn of_workload(workload: &Workload) -> Self {
        let session = |session: &crate::simulator::workload::Session| {
            let turns = session.turns.iter().map(|turn| Turn { body: turn.body.clone(), tier: Some(turn.label.tier) });
            Arc::new(Session { headers: session.headers(), turns: turns.collect() })
        };
        Self { sessions: workload.sessions.iter().map(session).collect() }
    }

    /// Recorded sessions: one request for each assistant turn, model `auto`, team `replay`.
    pub fn of_replay(replay: &Replay) -> Self {
        let session = |session: &crate::simulator::ReplaySession| {
            let headers = vec![("x-farthing-team", "replay".to_owned()), ("x-farthing-run", session.id.clone())];
            let turns = session.bodies("auto").map(|body| Turn { body: Bytes::from(body), tier: None });
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
                    match send(&client, address, &session.headers, turn).await {
                        Some(_) => played.answered += 1,
                        None => played.failed += 1,
                    }
                    bar.inc(1);
                }
                played
            });
        }
        let mut all = Played::default();
        while let Some(ended) = running.join_next().await {
            let played = ended.unwrap_or(Played { answered: 0, failed: 1 });
            all.answered += played.answered;
            all.failed += played.failed;
        }
        all
    }
}

/// One request; `None` unless its reply is complete: a whole document, or a stream with its terminator.
async fn send(
    client: &Client<HttpConnector, Full<Bytes>>,
    address: SocketAddr,
    headers: &[(&'static str, String)],
    turn: &Turn,
) -> Option<Bytes> {
    let mut request =
        Request::post(format!("http://{address}/v1/chat/completions")).header("content-type", "application/json");
    for (name, value) in headers {
        request = request.header(*name, value);
    }
    if let Some(tier) = turn.tier {
        request = request.header("x-farthing-tier", tier.as_str());
    }
    let response = client.request(request.body(Full::new(turn.body.clone())).ok()?).await.ok()?;
    let (head, body) = response.into_parts();
    let read = body.collect().await.ok()?.to_bytes();
    let is_stream =
        head.headers.get("content-type").is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"));
    let complete = head.status.is_success() && (!is_stream || read.ends_with(b"data: [DONE]\n\n"));
    complete.then_some(read)
}
