//! Which protocol a connection speaks: read off its first bytes, which are then handed on.
//!
//! HTTP/2 without TLS opens with a preface that is no request of HTTP/1; the first byte that differs decides.

use std::io;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt};

/// <https://www.rfc-editor.org/rfc/rfc9113#section-3.4>
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What a connection speaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Protocol {
    /// HTTP/1.0 or HTTP/1.1.
    Http1,
    /// HTTP/2.
    Http2,
}

/// Reads until it is known what `stream` speaks; gives the bytes that were read.
///
/// # Errors
///
/// The stream's own; a stream that ends speaks HTTP/1, whose side then sees the end.
pub async fn read<S: AsyncRead + Unpin>(stream: &mut S) -> io::Result<(Protocol, Bytes)> {
    let mut first = [0; PREFACE.len()];
    let mut length = 0;
    while length < PREFACE.len() {
        let read = stream.read(&mut first[length..]).await?;
        length += read;
        if read == 0 || first[..length] != PREFACE[..length] {
            return Ok((Protocol::Http1, Bytes::copy_from_slice(&first[..length])));
        }
    }
    Ok((Protocol::Http2, Bytes::from_static(PREFACE)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(sent: &[u8], protocol: Protocol) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        for packet in 0..=sent.len() {
            let (mut one, mut other) = sent.split_at(packet);
            let (found, first) = runtime.block_on(read(&mut (&mut one).chain(&mut other))).unwrap();
            assert_eq!(found, protocol, "{:?}, {packet} bytes first", String::from_utf8_lossy(sent));
            assert_eq!([&first, one, other].concat(), sent, "nothing is lost");
        }
    }

    #[test]
    fn only_the_whole_preface_is_http_2_in_however_many_packets_it_comes() {
        check(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n and more", Protocol::Http2);
        check(b"PRI * HTTP/2.0\r\n\r\nSN\r\n\r\n", Protocol::Http1);
        check(b"PRI * HTTP/2.0\r\n\r\n", Protocol::Http1);
        check(b"POST /v1/chat/completions HTTP/1.1\r\n\r\n", Protocol::Http1);
        check(b"P", Protocol::Http1);
        check(b"", Protocol::Http1);
    }
}
