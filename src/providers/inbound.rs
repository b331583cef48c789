//! A provider's whole answers and errors: read within their bounds, counted, and decoded where they came encoded
//! although we asked for them as they are.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;

use super::connect::Place;
use super::failure::Failure;
use super::row::is_type;
use crate::decoding::decode;
use crate::memory::{HeldBytes, MemoryFull, Pieces};
use crate::wire::encoding::{DecodeError, Encoding, UnknownEncoding};

/// A provider's body as it arrives. It keeps its place in the connection until it is read or given up.
#[derive(Debug)]
pub struct Arriving {
    body: Incoming,
    /// Most bytes that are read of it where it is read whole.
    bytes_max: usize,
    _place: Place,
}

impl Arriving {
    /// The body of the call that has this place; of which at most so many bytes are read where it is read whole.
    pub fn new(body: Incoming, place: Place, bytes_max: usize) -> Self {
        Self { body, bytes_max, _place: place }
    }
}

impl Arriving {
    /// Whether headers call it JSON, and it is not too large to be read whole.
    pub fn is_json(&self, headers: &HeaderMap) -> bool {
        let is_short = self.body.size_hint().exact().is_none_or(|length| length <= self.bytes_max as u64);
        is_short && is_type(headers, "application/json")
    }
}

impl Body for Arriving {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// How an answer is encoded, as far as that is known.
pub type Encoded = Result<Option<Encoding>, UnknownEncoding>;

/// Reads a body to its end; its memory is held until the last of the bytes given back is let go.
///
/// # Errors
///
/// [`Failure::Unreadable`] or [`Failure::NoRoom`]. An answer that breaks off has begun: asking again could be billed again.
pub async fn read(mut body: Arriving, encoded: Encoded, held: HeldBytes) -> Result<Bytes, Failure> {
    let bytes_max = body.bytes_max;
    let encoding = encoded.map_err(|_| Failure::Unreadable { what: "it is encoded in a way that is not known" })?;
    let expected = body.size_hint().exact().and_then(|length| usize::try_from(length).ok());
    let mut pieces = Pieces::new(held, expected.filter(|length| *length <= bytes_max));
    while let Some(frame) = body.frame().await {
        let Ok(piece) = frame.map_err(|_| Failure::Unreadable { what: "it broke off" })?.into_data() else { continue };
        if pieces.length() + piece.len() > bytes_max {
            return Err(Failure::Unreadable { what: "it is too large" });
        }
        pieces.push(piece).map_err(|_| Failure::NoRoom)?;
    }
    let (bytes, held) = pieces.whole();
    match encoding {
        None => Ok(held.around(bytes)),
        Some(encoding) => match decode(encoding, bytes, bytes_max, held).await {
            Ok((bytes, held)) => Ok(held.around(bytes)),
            Err(DecodeError::NoRoom(MemoryFull)) => Err(Failure::NoRoom),
            Err(DecodeError::TooLarge) => Err(Failure::Unreadable { what: "it is too large" }),
            Err(_) => Err(Failure::Unreadable { what: "it is not of the encoding that it names" }),
        },
    }
}
