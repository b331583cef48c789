//! Clients: one that reads replies whole or event by event, and one that writes bytes by hand.

use std::net::SocketAddr;

use http::{HeaderMap, Response};
use http_body_util::BodyExt;
use hyper::body::{Bytes, Incoming};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::PATIENCE;

/// A complete reply.
pub struct Got {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Got {
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("replies are text")
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error} in {}", self.text()))
    }

    pub fn header(&self, name: &str) -> &str {
        header(&self.headers, name)
    }

    /// `error.code`; empty if there is none.
    pub fn code(&self) -> String {
        self.json()["error"]["code"].as_str().unwrap_or_default().to_owned()
    }

    /// The payloads of a stream's events, comments left out.
    pub fn datas(&self) -> Vec<&str> {
        self.text().split("\n\n").filter_map(|event| event.strip_prefix("data: ")).collect()
    }

    /// The cost that the comment before `[DONE]` states.
    pub fn cost_comment(&self) -> Option<&str> {
        let comment = self.text().strip_suffix("\n\ndata: [DONE]\n\n")?.rsplit("\n\n").next()?;
        comment.strip_prefix(": x-farthing-cost-usd: ")?.lines().next()
    }

    /// The code of the error event that a broken stream ends with; there must be no `[DONE]`.
    #[track_caller]
    pub fn last_error(&self) -> String {
        assert!(!self.text().contains("[DONE]"), "a broken stream has no terminator: {}", self.text());
        let last = self.datas().last().copied().unwrap_or_default();
        let event: Value = serde_json::from_str(last).unwrap_or_else(|error| panic!("{error} in {last:?}"));
        let error = &event["error"];
        for member in ["message", "type", "param", "code"] {
            assert!(error.get(member).is_some(), "`{member}` in {event}");
        }
        error["code"].as_str().unwrap_or_default().to_owned()
    }
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// Reads a reply to its end.
pub async fn whole(response: Response<Incoming>) -> Got {
    let (head, body) = response.into_parts();
    let body = timeout(PATIENCE, body.collect()).await.expect("an end in time").expect("a complete body").to_bytes();
    Got { status: head.status.as_u16(), headers: head.headers, body }
}

/// A stream that is read event by event.
pub struct Events {
    body: Incoming,
    buffer: Vec<u8>,
}

impl Events {
    pub fn of(response: Response<Incoming>) -> Self {
        Self { body: response.into_body(), buffer: Vec::new() }
    }

    /// The next event, its blank line included; `None` at the end of the stream.
    pub async fn next(&mut self) -> Option<String> {
        loop {
            if let Some(at) = self.buffer.windows(2).position(|pair| pair == b"\n\n") {
                let event = self.buffer.drain(..at + 2).collect();
                return Some(String::from_utf8(event).expect("events are text"));
            }
            let frame = timeout(PATIENCE, self.body.frame()).await.expect("the next event in time")?;
            self.buffer.extend_from_slice(&frame.expect("an unbroken body").into_data().expect("data"));
        }
    }

    /// The next `count` events.
    pub async fn take(&mut self, count: usize) -> Vec<String> {
        let mut events = Vec::new();
        for number in 1..=count {
            events.push(self.next().await.unwrap_or_else(|| panic!("the stream ended before event {number}")));
        }
        events
    }

    /// Whatever has not been read, to the end.
    pub async fn rest(&mut self) -> Vec<String> {
        let mut events = Vec::new();
        while let Some(event) = self.next().await {
            events.push(event);
        }
        assert!(self.buffer.is_empty(), "a torn event: {:?}", String::from_utf8_lossy(&self.buffer));
        events
    }
}

/// Writes `pieces` by hand, one after the other, and reads until the other side closes. What cannot be
/// written because the other side has closed is left out, as a client that reads last would.
pub async fn raw<B: AsRef<[u8]>>(address: SocketAddr, pieces: impl IntoIterator<Item = B>) -> String {
    let mut stream = TcpStream::connect(address).await.expect("a listening door");
    stream.set_nodelay(true).expect("an open connection");
    for piece in pieces {
        if stream.write_all(piece.as_ref()).await.is_err() {
            break;
        }
    }
    let mut answer = Vec::new();
    let read = timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("an end in time");
    let answer = String::from_utf8_lossy(&answer).into_owned();
    // A client that was still sending may find a reset behind the answer.
    assert!(read.is_ok() || !answer.is_empty(), "{read:?}");
    answer
}
