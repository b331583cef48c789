//! What is passed on as it comes: whose the objects are that it leaves behind, what it needs, what the ledger has of it, and
//! that nothing of it is kept on the way.

use std::fs;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc;
use std::time::Duration;

use farthing::ledger::audit::sha256;
use farthing::simulator::{Provider, Reply};
use http::Method;
use hyper::body::Bytes;
use rusqlite::types::Value as Cell;
use serde_json::json;

use crate::process::Served;
use crate::support::{Got, Setup, World, script, whole};

const DATA: (&str, &str) = ("x-farthing-team", "data");
const OPS: (&str, &str) = ("x-farthing-team", "ops");
const FORM: (&str, &str) = ("content-type", "multipart/form-data; boundary=b");
const SPEECH: &[u8] = b"\xff\xfb\x90\x00 sound \x00 and no text";

fn provider() -> Provider {
    Provider::openai()
        .model(script("gpt-5.6-luna", [Reply::text("ok")]))
        .model(script("tts-1", [Reply::raw("audio/mpeg", [&SPEECH[..6], &SPEECH[6..]])]))
        .model(script("whisper-1", [Reply::text("what was heard")]))
        .model(script("omni-moderation-latest", [Reply::text("fine")]))
}

fn setup() -> Setup {
    Setup::of(provider()).tiers("lightweight: [sim/gpt-5.6-luna]")
}

async fn call(world: &World, method: Method, path: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Got {
    whole(world.send(method, path, headers, body.into()).await).await
}

fn form(name: &str, value: &str, file: &str) -> String {
    format!(
        "--b\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n--b\r\nContent-Disposition: form-data; \
         name=\"file\"; filename=\"f\"\r\nContent-Type: application/octet-stream\r\n\r\n{file}\r\n--b--\r\n"
    )
}

async fn upload(world: &World, team: (&str, &str), file: &str) -> String {
    let got = call(world, Method::POST, "/v1/files", &[team, FORM], form("purpose", "batch", file)).await;
    assert_eq!(got.status, 200, "{}", got.text());
    got.json()["id"].as_str().expect("an id").to_owned()
}

fn statuses(world: &World) -> Vec<String> {
    world.requests().into_iter().map(|row| row.status).collect()
}

#[tokio::test]
async fn a_file_is_its_team_s_and_is_nowhere_for_others() {
    let world = setup().start().await;
    let id = upload(&world, DATA, "{\"a\":1}\n\u{e4}").await;
    let sent = world.provider.requests().remove(0);
    assert_eq!((&*sent.path, sent.header("content-type")), ("/v1/files", Some(FORM.1)));
    assert_eq!(&*sent.body, form("purpose", "batch", "{\"a\":1}\n\u{e4}").as_bytes());
    let (path, content) = (format!("/v1/files/{id}"), format!("/v1/files/{id}/content"));
    for path in [&path, &content] {
        let got = call(&world, Method::GET, path, &[OPS], "").await;
        assert_eq!((got.status, &*got.code()), (404, "not_found"), "{}", got.text());
    }
    assert_eq!(call(&world, Method::DELETE, &path, &[OPS], "").await.status, 404);
    assert_eq!(world.provider.arrivals(), 1, "for others nobody is asked");
    assert_eq!(call(&world, Method::GET, &path, &[DATA], "").await.json()["bytes"], 10);
    let got = call(&world, Method::GET, &content, &[DATA], "").await;
    assert_eq!((got.text(), got.header("content-length")), ("{\"a\":1}\n\u{e4}", "10"));
    let got = call(&world, Method::DELETE, &path, &[DATA], "").await;
    assert_eq!((got.status, &got.json()["deleted"]), (200, &json!(true)));
    assert_eq!(call(&world, Method::GET, &path, &[DATA], "").await.status, 404);
    assert!(world.attempts().is_empty(), "nothing of it is charged for");
    let surfaces = world.rows("select distinct surface from requests_v1");
    assert_eq!(surfaces, [[Cell::Text("passthrough".to_owned())]]);
    assert_eq!(statuses(&world).iter().filter(|status| *status == "passed").count(), 4);
}

#[tokio::test]
async fn a_batch_reads_its_own_team_s_file_and_what_it_writes_is_theirs() {
    let world = setup().start().await;
    let lines = json!({"custom_id": "a", "body": {"model": "gpt-5.6-luna"}}).to_string();
    let file = upload(&world, DATA, &lines).await;
    let body =
        json!({"input_file_id": file, "endpoint": "/v1/chat/completions", "completion_window": "24h"}).to_string();
    let got = call(&world, Method::POST, "/v1/batches", &[OPS], body.clone()).await;
    assert_eq!((got.status, &got.json()["error"]["param"]), (404, &json!("input_file_id")), "{}", got.text());
    let got = call(&world, Method::POST, "/v1/batches", &[DATA], body).await;
    assert_eq!(got.status, 200, "{}", got.text());
    let (id, output) = (got.json()["id"].clone(), got.json()["output_file_id"].clone());
    let batch = format!("/v1/batches/{}", id.as_str().expect("an id"));
    assert_eq!(call(&world, Method::GET, &batch, &[OPS], "").await.status, 404);
    let row = &world.attempts()[0];
    assert_eq!((&*row.fate, row.cost, row.high), ("completed", None, None), "it is charged for later: {row:?}");
    for _ in 0..2 {
        assert_eq!(call(&world, Method::GET, &batch, &[DATA], "").await.json()["status"], "completed");
    }
    let booked = world.rows("select cost_nano > 0, input_tokens, output_tokens, source, export from attempts_v1");
    let (number, text) = (Cell::Integer, |word: &str| Cell::Text(word.to_owned()));
    assert_eq!(booked, [[number(1), number(40), number(7), text("reported"), text("the object itself")]]);
    let output = format!("/v1/files/{}/content", output.as_str().expect("an id"));
    assert_eq!(call(&world, Method::GET, &output, &[DATA], "").await.text(), lines);
    assert_eq!(call(&world, Method::GET, &output, &[OPS], "").await.status, 404);
}

#[tokio::test]
async fn sound_goes_both_ways_and_what_it_costs_is_unknown_and_not_nothing() {
    let other = Provider::openai().model(script("whisper-1", [Reply::text("elsewhere")]));
    let world = setup().and("other", other).start().await;
    let body = json!({"model": "sim/tts-1", "input": "hi", "voice": "alloy"}).to_string();
    let got = call(&world, Method::POST, "/v1/audio/speech", &[DATA], body).await;
    assert_eq!((got.status, &*got.body, got.header("content-type")), (200, SPEECH, "audio/mpeg"));
    assert_eq!(world.provider.requests()[0].json()["model"], "tts-1");
    let got =
        call(&world, Method::POST, "/v1/audio/transcriptions", &[DATA, FORM], form("model", "whisper-1", "x")).await;
    assert_eq!(got.json()["text"], "what was heard", "{}", got.text());
    let rows = world.attempts();
    let told: Vec<_> = rows.iter().map(|row| (&*row.target, &*row.fate, row.cost)).collect();
    assert_eq!(told, [("sim/tts-1", "completed", None), ("sim/whisper-1", "completed", None)]);
    assert_eq!(statuses(&world), ["ok", "ok"]);
    let got = call(&world, Method::POST, "/v1/audio/speech", &[DATA], r#"{"model":"auto","input":"hi"}"#).await;
    assert_eq!((got.status, &*got.code()), (404, "model_not_found"), "{}", got.text());
    let got =
        call(&world, Method::POST, "/v1/moderations", &[DATA], r#"{"input":"hi","model":"omni-moderation-latest"}"#)
            .await;
    assert_eq!((got.status, world.attempts().len()), (200, 2), "what costs nothing has no attempt: {}", got.text());
}

#[tokio::test]
async fn what_nobody_can_bound_needs_its_grant() {
    let hash = |secret: &str| sha256(secret.as_bytes());
    let keys = format!(
        "keys:\n  - {{ sha256: {}, team: data }}\n  - {{ sha256: {}, team: data, may: {{ unbounded: true }} }}\n",
        hash("plain"),
        hash("granted")
    );
    let speech = json!({"model": "tts-1", "input": "hi"}).to_string();
    let world = setup().more(&keys).start().await;
    for (header, status) in [(("authorization", "Bearer plain"), 403), (("x-api-key", "granted"), 200)] {
        let got = call(&world, Method::POST, "/v1/audio/speech", &[header], speech.clone()).await;
        assert_eq!(got.status, status, "{header:?}");
    }
    let got = call(&world, Method::POST, "/v1/audio/speech", &[], speech.clone()).await;
    assert_eq!((got.status, &*got.code()), (401, "invalid_api_key"), "{}", got.text());
    assert_eq!(world.provider.arrivals(), 1);

    let budget = "teams: { data: { budget: { usd: 1, every: day } } }";
    let world = setup().more(budget).start().await;
    let got = call(&world, Method::POST, "/v1/audio/speech", &[DATA], speech).await;
    assert_eq!((got.status, &*got.code()), (400, "unbounded_cost"), "{}", got.text());
    assert_eq!(world.provider.arrivals(), 0);
}

#[tokio::test]
async fn responses_and_conversations_are_asked_for_where_they_are_kept() {
    let world = setup().start().await;
    let conversation = call(&world, Method::POST, "/v1/conversations", &[DATA], "{}").await;
    assert!(conversation.json()["id"].as_str().is_some_and(|id| id.starts_with("conv_")), "{}", conversation.text());
    let body = json!({"model": "gpt-5.6-luna", "input": "hi"}).to_string();
    let made = call(&world, Method::POST, "/v1/responses", &[DATA], body).await;
    let path = format!("/v1/responses/{}", made.json()["id"].as_str().expect("an id"));
    let got = call(&world, Method::GET, &path, &[DATA], "").await;
    assert_eq!((got.status, &got.json()["output"]), (200, &made.json()["output"]), "{}", got.text());
    let items = format!("{path}/input_items?limit=5");
    assert_eq!(call(&world, Method::GET, &items, &[DATA], "").await.json()["object"], "list");
    assert!(world.provider.requests().iter().any(|sent| sent.path == items), "the query goes with it");
    for (method, path) in [
        (Method::GET, path.clone()),
        (Method::DELETE, path.clone()),
        (Method::GET, items),
        (Method::POST, format!("{path}/cancel")),
    ] {
        let asked = world.provider.arrivals();
        assert_eq!(call(&world, method.clone(), &path, &[OPS], "").await.status, 404, "{method} {path}");
        assert_eq!(world.provider.arrivals(), asked);
    }
    let got = call(&world, Method::POST, &format!("{path}/cancel"), &[DATA], "").await;
    assert_eq!(got.status, 400, "the provider's own word: {}", got.text());
    assert_eq!(call(&world, Method::DELETE, &path, &[DATA], "").await.status, 200);
    assert_eq!(call(&world, Method::GET, &path, &[DATA], "").await.status, 404);
    world.the_ledger_holds_the_invoice();
}

#[tokio::test]
async fn what_is_not_allowed_is_not_served_in_the_words_of_its_path() {
    let world = setup().server("drain_timeout: 5s, cors: { origins: [\"https://app.example\"] }").start().await;
    for (method, path, status, code) in [
        (Method::GET, "/v1/files", 403, "not_granted"),
        (Method::GET, "/v1/batches?limit=2", 403, "not_granted"),
        (Method::GET, "/v1/organization/users", 404, "not_found"),
        (Method::POST, "/v1/vector_stores", 404, "not_found"),
        (Method::PUT, "/v1/files/file-1", 405, "method_not_allowed"),
        (Method::GET, "/v1/embeddings", 405, "method_not_allowed"),
        (Method::GET, "/v1/responses", 405, "method_not_allowed"),
        (Method::GET, "/v1/files/..%2fx", 404, "not_found"),
        (Method::GET, "/embeddings", 405, "method_not_allowed"),
    ] {
        let got = call(&world, method.clone(), path, &[], "").await;
        assert_eq!((got.status, &*got.code()), (status, code), "{method} {path}: {}", got.text());
        assert_eq!(status == 405, !got.header("allow").is_empty(), "{method} {path}");
        let got = call(&world, method, path, &[("anthropic-version", "2023-06-01")], "").await;
        let is_known = path.contains("embeddings") || path.contains("responses");
        assert_eq!(got.json()["type"] == "error", !is_known, "{path}: {}", got.text());
    }
    for path in ["/v1/embeddings", "/files/file-1", "/v1/v1/responses/resp_1", "/v1/audio/speech"] {
        let asks = [("origin", "https://app.example"), ("access-control-request-method", "POST")];
        let got = call(&world, Method::OPTIONS, path, &asks, "").await;
        assert_eq!((got.status, got.header("access-control-allow-origin")), (204, asks[0].1), "{path}");
    }
    assert_eq!(call(&world, Method::HEAD, "/", &[], "").await.status, 200);
    assert_eq!(world.provider.arrivals(), 0);
}

#[tokio::test]
async fn an_upload_beyond_its_limit_is_refused_whether_it_says_so_or_not() {
    let world = setup().more("limits: { upload_bytes: 1KiB }").start().await;
    let got = call(&world, Method::POST, "/v1/files", &[FORM], form("purpose", "batch", &"x".repeat(2000))).await;
    assert_eq!((got.status, &*got.code()), (413, "body_too_large"), "{}", got.text());
    assert_eq!(world.provider.arrivals(), 0);
    let mut stream = TcpStream::connect(world.gateway.listen).expect("a connection");
    let piece = "x".repeat(1500);
    let head =
        "POST /v1/files HTTP/1.1\r\nhost: localhost\r\ncontent-type: text/plain\r\ntransfer-encoding: chunked\r\n\r\n";
    write!(stream, "{head}{:x}\r\n{piece}\r\n", piece.len()).expect("it is taken");
    let mut line = String::new();
    tokio::task::spawn_blocking(move || {
        BufReader::new(stream).read_line(&mut line).expect("an answer");
        assert!(line.starts_with("HTTP/1.1 413 "), "{line}");
    })
    .await
    .expect("it is answered");
}

/// A provider that does as it is told with one connection after the other.
fn upstream(mut each: impl FnMut(Head, TcpStream) + Send + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("an address").port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let head = Head::read(&mut stream);
            each(head, stream);
        }
    });
    port
}

/// The head of a request, and its length.
struct Head {
    length: usize,
}

impl Head {
    /// Reads it byte by byte, so that nothing of the body is taken.
    fn read(stream: &mut TcpStream) -> Self {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).expect("a head");
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).expect("a head is text").to_ascii_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        Self { length: length.map_or(0, |length| length.parse().expect("a length")) }
    }
}

fn gateway(port: u16) -> (tempfile::TempDir, Served) {
    let folder = tempfile::tempdir().expect("a folder");
    let config = folder.path().join("farthing.yaml");
    let text = format!(
        "server: {{ listen: 127.0.0.1:0, admin_listen: 127.0.0.1:0 }}\nproviders:\n  sim: {{ protocol: openai, vendor: openai, \
         base_url: \"http://127.0.0.1:{port}/v1\", models: [\"*\"] }}\n"
    );
    fs::write(&config, text).expect("a file");
    (folder, Served::start(&config))
}

/// The most memory that a process has had resident, in bytes.
fn most_resident(served: &Served) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", served.id())).expect("a process");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a high-water mark");
    line.trim().trim_end_matches(" kB").trim().parse::<u64>().expect("a number") << 10
}

static PIECE: [u8; 64 << 10] = [b'x'; 64 << 10];
const LARGE: usize = 96 << 20;
/// Buffers on the way, of all sockets together; far less than [`LARGE`].
const ON_THE_WAY: u64 = 24 << 20;

#[test]
fn an_upload_takes_no_memory_however_slowly_it_is_taken() {
    let grown = upload_of(LARGE);
    assert!(grown < ON_THE_WAY, "{grown} bytes for an upload of {LARGE}");
}

#[test]
fn a_download_takes_no_memory() {
    let grown = download_of(LARGE);
    assert!(grown < ON_THE_WAY, "{grown} bytes for a download of {LARGE}");
}

/// `cargo test --test it -- passing_through::half_a --ignored --nocapture` says how much.
#[test]
#[ignore = "takes seconds, and shows what the smaller ones do"]
fn half_a_gigabyte_takes_no_more_memory_than_less_either_way() {
    const HALF: usize = 500_000_000;
    let (up, down) = (upload_of(HALF), download_of(HALF));
    println!("{HALF} bytes: {up} bytes of memory for an upload, {down} for a download");
    assert!(up < ON_THE_WAY && down < ON_THE_WAY, "{up} and {down} bytes for {HALF}");
}

/// By how much the most memory grows for an upload that its provider is slow to take.
fn upload_of(bytes: usize) -> u64 {
    let (go, gone) = mpsc::channel::<()>();
    let port = upstream(move |head, mut stream| {
        gone.recv().expect("it is told to go on");
        let mut left = head.length;
        let mut piece = PIECE;
        while left > 0 {
            let most = left.min(piece.len());
            left -= stream.read(&mut piece[..most]).expect("the rest");
        }
        let answer = "{\"id\":\"file-1\",\"object\":\"file\"}";
        let length = answer.len();
        write!(stream, "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{answer}")
            .expect("it is taken");
    });
    let (_folder, served) = gateway(port);
    let before = most_resident(&served);
    let mut client = TcpStream::connect(&served.listen).expect("a connection");
    write!(
        client,
        "POST /v1/files HTTP/1.1\r\nhost: localhost\r\ncontent-type: text/plain\r\ncontent-length: {bytes}\r\n\r\n"
    )
    .expect("a head");
    // Until nobody takes any more; where all of it is taken, that shows in memory.
    client.set_write_timeout(Some(Duration::from_millis(200))).expect("a timeout");
    let mut sent = 0;
    let mut told = Some(go);
    while sent < bytes {
        match client.write(&PIECE[..PIECE.len().min(bytes - sent)]) {
            Ok(taken) => sent += taken,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                if let Some(go) = told.take() {
                    go.send(()).expect("the provider waits");
                }
            }
            Err(error) => panic!("{error}"),
        }
    }
    if let Some(go) = told {
        go.send(()).expect("the provider waits");
    }
    let mut line = String::new();
    BufReader::new(client).read_line(&mut line).expect("an answer");
    assert!(line.starts_with("HTTP/1.1 200 "), "{line}");
    most_resident(&served) - before
}

/// By how much it grows for a download.
fn download_of(bytes: usize) -> u64 {
    let port = upstream(move |head, mut stream| {
        // Whoever closes before it has read all of it resets the connection.
        stream.read_exact(&mut vec![0; head.length]).expect("a body");
        let kind = "content-type: audio/mpeg";
        write!(stream, "HTTP/1.1 200 OK\r\n{kind}\r\ncontent-length: {bytes}\r\n\r\n").expect("it is taken");
        let mut left = bytes;
        while left > 0 {
            let most = left.min(PIECE.len());
            // A client that has enough leaves.
            if stream.write_all(&PIECE[..most]).is_err() {
                return;
            }
            left -= most;
        }
    });
    let (_folder, served) = gateway(port);
    let before = most_resident(&served);
    let mut client = TcpStream::connect(&served.listen).expect("a connection");
    let body = json!({"model": "tts-1", "a": 1}).to_string();
    let length = body.len();
    write!(client, "POST /v1/audio/speech HTTP/1.1\r\nhost: localhost\r\ncontent-length: {length}\r\n\r\n{body}")
        .expect("a call");
    let mut reader = BufReader::new(client);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert!(reader.read_line(&mut head).expect("a head") > 0);
    }
    assert!(head.starts_with("HTTP/1.1 200 ") && head.contains(&format!("content-length: {bytes}")), "{head}");
    let mut left = bytes;
    let mut piece = PIECE;
    while left > 0 {
        let most = left.min(piece.len());
        let read = reader.read(&mut piece[..most]).expect("the rest");
        assert!(read > 0);
        left -= read;
    }
    most_resident(&served) - before
}

#[test]
fn an_answer_that_breaks_off_does_not_look_whole() {
    let port = upstream(|head, mut stream| {
        stream.read_exact(&mut vec![0; head.length]).expect("a body");
        write!(
            stream,
            "HTTP/1.1 200 OK\r\ncontent-type: audio/mpeg\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n"
        )
        .expect("it is taken");
    });
    let (_folder, served) = gateway(port);
    let mut client = TcpStream::connect(&served.listen).expect("a connection");
    write!(
        client,
        "POST /v1/audio/speech HTTP/1.1\r\nhost: localhost\r\ncontent-length: 17\r\n\r\n{{\"model\":\"tts-1\"}}"
    )
    .expect("a call");
    let mut answer = Vec::new();
    // However the connection ends.
    drop(client.read_to_end(&mut answer));
    let answer = String::from_utf8(answer).expect("text");
    assert!(answer.contains("hello") && !answer.ends_with("0\r\n\r\n"), "{answer}");
}
