//! HTTP/2 to providers: chosen by them under TLS, shared by many calls, and settled like any other connection.
//!
//! The gateway is the real binary here, because only a process of its own can be told whom to trust.

use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use farthing::ledger::open_views;
use h2::server::SendResponse;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use rustls::ServerConfig;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use crate::process::{Served, serving};
use crate::support::{ASK, ASK_STREAM, Authority, Events, Got, PATIENCE, whole};

const ANSWER: &str = r#"{"choices":[{"index":0,"message":{"role":"assistant","content":"hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":1000,"completion_tokens":500,"total_tokens":1500}}"#;
const CHUNK: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"},\"finish_reason\":null}]}\n\n";

/// What the provider does with a call.
#[derive(Clone, Copy, Debug)]
enum Act {
    Answer,
    /// Answers once it is released.
    AnswerLate,
    /// Says that it has not looked at it.
    Refuse,
    /// Takes the body and then gives up.
    ResetAfterBody,
    /// Begins a stream and then gives up.
    ResetInStream,
}

/// A provider that speaks only HTTP/2 under TLS, at most 100 calls in one connection.
struct Provider {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
    calls: watch::Receiver<usize>,
    release: watch::Sender<bool>,
    _serving: JoinSet<()>,
}

impl Provider {
    /// Does `acts` in turn; the last one repeats.
    async fn start(authority: &Authority, acts: Vec<Act>) -> Self {
        let certificate = authority.signs("localhost");
        let builder = ServerConfig::builder_with_provider(rustls::crypto::ring::default_provider().into());
        let builder = builder.with_safe_default_protocol_versions().expect("versions").with_no_client_auth();
        let mut config = builder.with_single_cert(certificate.chain(), certificate.private_key()).expect("a pair");
        config.alpn_protocols = vec![b"h2".to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let (counted, calls) = watch::channel(0);
        let (release, released) = watch::channel(false);
        let connections = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&connections);
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            let mut tasks = JoinSet::new();
            while let Ok((tcp, _)) = listener.accept().await {
                let (acceptor, acts, counted) = (acceptor.clone(), acts.clone(), counted.clone());
                let (released, count) = (released.clone(), Arc::clone(&count));
                tasks.spawn(async move {
                    let Ok(stream) = acceptor.accept(tcp).await else { return };
                    let mut builder = h2::server::Builder::new();
                    let Ok(mut connection) = builder.max_concurrent_streams(100).handshake(stream).await else {
                        return;
                    };
                    count.fetch_add(1, Ordering::Relaxed);
                    let mut calls = JoinSet::new();
                    while let Some(Ok((request, respond))) = connection.accept().await {
                        let mut number = 0;
                        counted.send_modify(|calls| {
                            number = *calls;
                            *calls += 1;
                        });
                        let act = acts[number.min(acts.len() - 1)];
                        calls.spawn(perform(act, request, respond, released.clone()));
                    }
                });
            }
        });
        Self { address, connections, calls, release, _serving: serving }
    }

    async fn called(&mut self, times: usize) {
        let waited = timeout(PATIENCE, self.calls.wait_for(|calls| *calls >= times)).await;
        waited.expect("the calls in time").expect("a provider");
    }
}

async fn perform(
    act: Act,
    request: Request<h2::RecvStream>,
    mut respond: SendResponse<Bytes>,
    mut released: watch::Receiver<bool>,
) {
    if matches!(act, Act::Refuse) {
        return respond.send_reset(h2::Reason::REFUSED_STREAM);
    }
    let mut body = request.into_body();
    while let Some(Ok(piece)) = body.data().await {
        drop(body.flow_control().release_capacity(piece.len()));
    }
    if matches!(act, Act::ResetAfterBody) {
        return respond.send_reset(h2::Reason::INTERNAL_ERROR);
    }
    if matches!(act, Act::AnswerLate) {
        drop(released.wait_for(|released| *released).await);
    }
    let in_stream = matches!(act, Act::ResetInStream);
    let kind = if in_stream { "text/event-stream" } else { "application/json" };
    let response = Response::builder().header("content-type", kind).body(()).expect("a response");
    let Ok(mut sender) = respond.send_response(response, false) else { return };
    if in_stream {
        drop(sender.send_data(Bytes::from_static(CHUNK.as_bytes()), false));
        drop(released.wait_for(|released| *released).await);
        return sender.send_reset(h2::Reason::INTERNAL_ERROR);
    }
    drop(sender.send_data(Bytes::from_static(ANSWER.as_bytes()), true));
}

/// The gateway in front of such a provider.
struct World {
    provider: Provider,
    gateway: Served,
    folder: tempfile::TempDir,
    client: Client<hyper_util::client::legacy::connect::HttpConnector, Full<Bytes>>,
}

impl World {
    async fn new(acts: Vec<Act>) -> Self {
        let authority = Authority::new();
        let provider = Provider::start(&authority, acts).await;
        let folder = tempfile::tempdir().expect("a folder");
        let (config, trusted) = (folder.path().join("farthing.yaml"), folder.path().join("ca.pem"));
        fs::write(&trusted, authority.pem()).expect("a file");
        let text = format!(
            "server: {{ listen: 127.0.0.1:0, admin_listen: 127.0.0.1:0 }}\ndispatch: {{ retries: 1 }}\nproviders:\n  \
             sim: {{ protocol: openai, vendor: openai, base_url: \"https://localhost:{}/v1\", models: [\"*\"] }}\n",
            provider.address.port()
        );
        fs::write(&config, text).expect("a file");
        let gateway = {
            let mut command = serving(&config);
            command.env("SSL_CERT_FILE", &trusted);
            Served::start_with(command)
        };
        Self { provider, gateway, folder, client: Client::builder(TokioExecutor::new()).build_http() }
    }

    async fn chat(&self, body: &'static str) -> Got {
        whole(self.post(body).await).await
    }

    async fn post(&self, body: &'static str) -> Response<Incoming> {
        let uri = format!("http://{}/v1/chat/completions", self.gateway.listen);
        let request = Request::post(uri).body(Full::from(body)).expect("a valid request");
        let response = timeout(PATIENCE, self.client.request(request)).await.expect("an answer in time");
        response.expect("the gateway answers")
    }

    /// Each attempt's fate and status, in order.
    fn fates(&self) -> Vec<String> {
        let views = open_views(&self.folder.path().join("farthing.db")).expect("the views open");
        let sql = "select fate from attempts_v1 order by attempt_id";
        let mut statement = views.prepare(sql).expect("valid SQL");
        let rows = statement.query_map([], |row| row.get(0)).expect("a query");
        rows.collect::<Result<_, _>>().expect("rows")
    }

    /// Stops the gateway, which brings the tables up to date.
    fn stopped(&mut self) -> Vec<String> {
        self.gateway.terminate();
        assert!(self.gateway.end().0.success());
        self.fates()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_over_http_2_is_answered_and_settled() {
    let mut world = World::new(vec![Act::Answer]).await;
    for _ in 0..3 {
        let got = world.chat(ASK).await;
        assert_eq!((got.status, got.text(), got.header("x-farthing-cost-usd")), (200, ANSWER, "0.0008"));
    }
    assert_eq!(world.provider.connections.load(Ordering::Relaxed), 1, "calls share a connection");
    assert_eq!(world.stopped(), ["completed"; 3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_the_provider_has_not_looked_at_is_repeated_and_costs_nothing() {
    let mut world = World::new(vec![Act::Refuse, Act::Answer]).await;
    assert_eq!(world.chat(ASK).await.header("x-farthing-cost-usd"), "0.0008");
    assert_eq!(world.stopped(), ["failed", "completed"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_after_the_body_was_sent_may_be_billed() {
    let mut world = World::new(vec![Act::ResetAfterBody, Act::Answer]).await;
    assert_eq!(world.chat(ASK).await.status, 200);
    assert_eq!(world.stopped(), ["interrupted", "completed"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_in_mid_stream_is_an_error_in_the_stream() {
    let mut world = World::new(vec![Act::ResetInStream]).await;
    let mut events = Events::of(world.post(ASK_STREAM).await);
    assert_eq!(events.next().await.as_deref(), Some(CHUNK));
    world.provider.release.send_replace(true);
    let rest = events.rest().await.concat();
    assert!(rest.contains("\"code\":\"provider_error\"") && !rest.contains("[DONE]"), "{rest}");
    assert_eq!(world.stopped(), ["interrupted"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn more_calls_than_one_connection_takes_do_not_wait_for_one_another() {
    let mut world = World::new(vec![Act::AnswerLate]).await;
    let calls: Vec<_> = (0..150)
        .map(|_| {
            let uri = format!("http://{}/v1/chat/completions", world.gateway.listen);
            let request = Request::post(uri).body(Full::from(ASK)).expect("a valid request");
            let client = world.client.clone();
            tokio::spawn(async move { whole(client.request(request).await.expect("an answer")).await.status })
        })
        .collect();
    // All of them are there before any is answered, although no connection takes more than 100.
    world.provider.called(150).await;
    world.provider.release.send_replace(true);
    for call in calls {
        assert_eq!(call.await.expect("no panic"), 200);
    }
    assert!(world.provider.connections.load(Ordering::Relaxed) >= 2);
    assert_eq!(world.stopped(), vec!["completed"; 150]);
}
