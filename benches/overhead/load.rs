//! The load generator: keep-alive connections that each write a prebuilt request, read the reply to its
//! end and go on, until the round's requests are used up. It parses no more than it must.

use std::cell::Cell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::LocalSet;

use super::bodies::{Case, MARK};

/// How long one reply may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// What one round saw.
pub struct Round {
    /// Time from the first byte sent to the last byte read, ascending.
    pub latencies: Vec<Duration>,
    /// The whole round.
    pub took: Duration,
}

impl Round {
    /// The median latency.
    pub fn p50(&self) -> Duration {
        self.latencies[self.latencies.len() / 2]
    }
}

/// A request whose user turns are numbered in place.
struct Template {
    bytes: Vec<u8>,
    digits_at: Vec<usize>,
}

/// What is sent, and where to.
pub struct Asked {
    /// The path.
    pub path: &'static str,
    /// The body.
    pub body: String,
}

impl Asked {
    fn chat(body: String) -> Self {
        Self { path: "/v1/chat/completions", body }
    }
}

impl Template {
    fn new(Asked { path, body }: &Asked, address: SocketAddr) -> Self {
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer sk-bench-of-overhead\r\n\
             content-type: application/json\r\naccept: application/json\r\nuser-agent: OpenAI/Python 2.9.0\r\n\
             x-stainless-lang: python\r\nx-stainless-package-version: 2.9.0\r\nx-stainless-os: Linux\r\n\
             x-stainless-arch: x64\r\nx-stainless-runtime: CPython\r\nx-stainless-runtime-version: 3.13.1\r\n\
             x-stainless-async: false\r\nx-stainless-retry-count: 0\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        let digits_at = body.match_indices(MARK).map(|(mark, _)| head.len() + mark + "turn-".len()).collect();
        Self { bytes: [head.as_bytes(), body.as_bytes()].concat(), digits_at }
    }

    fn number(&mut self, turn: u64) {
        let digits = format!("{turn:012}");
        for &at in &self.digits_at {
            self.bytes[at..at + digits.len()].copy_from_slice(digits.as_bytes());
        }
    }
}

/// Sends `requests` requests over `in_flight` connections, one at a time on each; before them the case's first one, if
/// it has one.
///
/// # Errors
///
/// The first reply that was not 200 or did not come.
pub async fn round(address: SocketAddr, case: Case, in_flight: usize, requests: usize) -> io::Result<Round> {
    if let Some(first) = case.first() {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(&Template::new(&Asked::chat(first), address).bytes).await?;
        tokio::time::timeout(PATIENCE, reply(&mut stream, &mut vec![0; 4096])).await??;
    }
    round_of(address, &Asked::chat(case.body()), in_flight, requests).await
}

/// The same for any request.
///
/// # Errors
///
/// The first reply that was not 200 or did not come.
pub async fn round_of(address: SocketAddr, asked: &Asked, in_flight: usize, requests: usize) -> io::Result<Round> {
    let left = Rc::new(Cell::new(requests));
    let connections = LocalSet::new();
    let mut streams = Vec::new();
    for _ in 0..in_flight {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        streams.push(stream);
    }
    let began = Instant::now();
    let tasks: Vec<_> = streams
        .into_iter()
        .map(|stream| connections.spawn_local(connection(stream, Template::new(asked, address), Rc::clone(&left))))
        .collect();
    connections.await;
    let took = began.elapsed();
    let mut latencies = Vec::with_capacity(requests);
    for task in tasks {
        latencies.extend(task.await.map_err(io::Error::other)??);
    }
    latencies.sort_unstable();
    Ok(Round { latencies, took })
}

async fn connection(mut stream: TcpStream, mut template: Template, left: Rc<Cell<usize>>) -> io::Result<Vec<Duration>> {
    let mut latencies = Vec::new();
    let mut buffer = vec![0; 64 << 10];
    while let Some(turn) = left.get().checked_sub(1) {
        left.set(turn);
        template.number(turn as u64);
        let began = Instant::now();
        stream.write_all(&template.bytes).await?;
        tokio::time::timeout(PATIENCE, reply(&mut stream, &mut buffer)).await??;
        latencies.push(began.elapsed());
    }
    Ok(latencies)
}

/// Reads one reply of status 200 to its end.
pub async fn reply(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> io::Result<()> {
    let mut length = 0;
    let mut ends: Option<End> = None;
    loop {
        if length == buffer.len() {
            buffer.resize(length * 2, 0);
        }
        let read = stream.read(&mut buffer[length..]).await?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        length += read;
        let so_far = &buffer[..length];
        if ends.is_none() {
            ends = end_of(so_far)?;
        }
        match ends {
            Some(End::At(end)) if length >= end => return Ok(()),
            Some(End::LastChunk) if so_far.ends_with(b"\r\n0\r\n\r\n") => return Ok(()),
            _ => {}
        }
    }
}

/// Where a reply ends.
enum End {
    At(usize),
    LastChunk,
}

fn end_of(bytes: &[u8]) -> io::Result<Option<End>> {
    let Some(head) = bytes.windows(4).position(|end| end == b"\r\n\r\n") else { return Ok(None) };
    let text = std::str::from_utf8(&bytes[..head]).map_err(io::Error::other)?;
    if !text.starts_with("HTTP/1.1 200") {
        let body = String::from_utf8_lossy(&bytes[head + 4..]);
        return Err(io::Error::other(format!("not a 200: {text}\n{body}")));
    }
    let length = text.split("\r\n").find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    });
    Ok(Some(length.map_or(End::LastChunk, |length| End::At(head + 4 + length))))
}

/// How long a process that listens at `address` takes, from now on, to answer a first request.
///
/// # Errors
///
/// A reply that is not 200, or none for a long time.
pub async fn first_reply(address: SocketAddr) -> io::Result<Duration> {
    let began = Instant::now();
    let mut stream = listens(address).await?;
    stream.write_all(&Template::new(&Asked::chat(Case::Small.body()), address).bytes).await?;
    tokio::time::timeout(PATIENCE, reply(&mut stream, &mut vec![0; 4096])).await??;
    Ok(began.elapsed())
}

/// A connection to a process, once it listens.
///
/// # Errors
///
/// It does not for a long time.
pub async fn listens(address: SocketAddr) -> io::Result<TcpStream> {
    let began = Instant::now();
    loop {
        match TcpStream::connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) if began.elapsed() > PATIENCE => return Err(error),
            Err(_) => tokio::time::sleep(Duration::from_millis(1)).await,
        }
    }
}
