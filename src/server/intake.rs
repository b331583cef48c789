//! Reads a request's body within its bounds: size, memory of all bodies together, and patience.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH};
use http_body::Body as _;
use http_body_util::BodyExt;
use hyper::body::Incoming;

use super::admission::{Admission, HeldBytes};
use crate::limits::{BODY_READ_IDLE_TIMEOUT, BODY_READ_TIMEOUT, Limits};
use crate::wire::errors::{ApiError, Code};

/// The whole body, and the memory set aside for it.
///
/// # Errors
///
/// 413 `body_too_large`, 415 for an encoded body, 408 when the client falls silent, 503 `overloaded`,
/// 400 when the body breaks off.
pub async fn body(
    headers: &HeaderMap,
    mut incoming: Incoming,
    admission: &Arc<Admission>,
    limits: &Limits,
) -> Result<(Bytes, HeldBytes), ApiError> {
    if headers.get(CONTENT_ENCODING).is_some_and(|encoding| !encoding.as_bytes().eq_ignore_ascii_case(b"identity")) {
        return Err(ApiError::new(
            Code::UnsupportedMediaType,
            "encoded request bodies are not taken; send it as it is",
        ));
    }
    let declared = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    let mut held = admission.hold();
    if let Some(length) = declared {
        within(length, limits)?;
    }
    let mut pieces = Pieces::default();
    let read = async {
        while let Some(piece) = next(&mut incoming).await? {
            within(pieces.length() + piece.len(), limits)?;
            // What has arrived counts, not what was announced: announcing costs a client nothing.
            held.grow(piece.len())?;
            pieces.push(piece, declared);
        }
        Ok(())
    };
    tokio::time::timeout(BODY_READ_TIMEOUT, read).await.unwrap_or_else(|_| Err(too_slow()))?;
    Ok((pieces.whole(), held))
}

async fn next(incoming: &mut Incoming) -> Result<Option<Bytes>, ApiError> {
    loop {
        // Most bodies arrive with their head: a timer is only set for what is still on its way.
        let here = poll_fn(|cx| Poll::Ready(Pin::new(&mut *incoming).poll_frame(cx))).await;
        let frame = match here {
            Poll::Ready(frame) => Ok(frame),
            Poll::Pending => tokio::time::timeout(BODY_READ_IDLE_TIMEOUT, incoming.frame()).await,
        };
        let frame = match frame {
            Err(_) => return Err(too_slow()),
            Ok(None) => return Ok(None),
            Ok(Some(Err(_))) => return Err(ApiError::new(Code::InvalidBody, "the body broke off")),
            Ok(Some(Ok(frame))) => frame,
        };
        if let Ok(data) = frame.into_data() {
            return Ok(Some(data));
        }
    }
}

fn too_slow() -> ApiError {
    ApiError::new(Code::RequestTimeout, "the body did not arrive in time")
}

fn within(length: usize, limits: &Limits) -> Result<(), ApiError> {
    if length <= limits.body_bytes {
        return Ok(());
    }
    let message = format!("the body is larger than the limit of {} bytes", limits.body_bytes);
    Err(ApiError::new(Code::BodyTooLarge, message))
}

/// A body that arrives in one piece is never copied.
#[derive(Default)]
struct Pieces {
    first: Bytes,
    joined: BytesMut,
}

impl Pieces {
    fn length(&self) -> usize {
        self.first.len() + self.joined.len()
    }

    fn push(&mut self, piece: Bytes, declared: Option<usize>) {
        if self.length() == 0 {
            self.first = piece;
            return;
        }
        if !self.first.is_empty() {
            self.joined.reserve(declared.unwrap_or(0).max(self.first.len() + piece.len()));
            self.joined.extend_from_slice(&std::mem::take(&mut self.first));
        }
        self.joined.extend_from_slice(&piece);
    }

    fn whole(self) -> Bytes {
        if self.joined.is_empty() { self.first } else { self.joined.freeze() }
    }
}
