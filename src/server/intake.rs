//! Reads a request's body within its bounds: size, memory of all bodies together, places for those
//! that are waited for, and patience; decodes it if it
//! came encoded, so that everybody behind this sees what it says.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

use bytes::Bytes;
use http::HeaderMap;
use http::header::CONTENT_LENGTH;
use http_body::Body as _;
use http_body_util::BodyExt;
use hyper::body::Incoming;

use super::admission::{Admission, Arriving, no_room};
use crate::decoding::decode;
use crate::ids::KeyId;
use crate::limits::{BODY_READ_IDLE_TIMEOUT, BODY_READ_TIMEOUT, Limits};
use crate::memory::{HeldBytes, Pieces};
use crate::wire::encoding::{DecodeError, Encoding};
use crate::wire::errors::{ApiError, Code};

/// The whole body as it was before it was encoded, and the memory set aside for it.
///
/// # Errors
///
/// 413 `body_too_large`, 415 for an encoding that is not known, 408 when the client falls silent, 503 `overloaded`,
/// 400 when the body breaks off or is not of its encoding.
pub async fn body(
    headers: &HeaderMap,
    mut incoming: Incoming,
    admission: &Admission,
    limits: &Limits,
    key: Option<&KeyId>,
) -> Result<(Bytes, HeldBytes), ApiError> {
    let encoding = Encoding::of(headers);
    let encoding = encoding.map_err(|error| ApiError::new(Code::UnsupportedMediaType, error.to_string()))?;
    let declared = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if let Some(length) = declared {
        within(length, limits)?;
    }
    let mut pieces = Pieces::new(admission.hold(), declared);
    let read = async {
        let mut place = None;
        while let Some(piece) = next(&mut incoming, admission, key, &mut place).await? {
            within(pieces.length() + piece.len(), limits)?;
            pieces.push(piece).map_err(no_room)?;
        }
        Ok(())
    };
    tokio::time::timeout(BODY_READ_TIMEOUT, read).await.unwrap_or_else(|_| Err(too_slow()))?;
    let (bytes, held) = pieces.whole();
    match encoding {
        None => Ok((bytes, held)),
        Some(encoding) => decode(encoding, bytes, limits.body_bytes, held).await.map_err(|error| match error {
            DecodeError::TooLarge => too_large(limits),
            DecodeError::NoRoom(full) => no_room(full),
            error => ApiError::new(Code::InvalidBody, format!("the body cannot be decoded: {error}")),
        }),
    }
}

/// The next piece; `place` is taken once one has to be waited for.
async fn next<'a>(
    incoming: &mut Incoming,
    admission: &'a Admission,
    key: Option<&KeyId>,
    place: &mut Option<Arriving<'a>>,
) -> Result<Option<Bytes>, ApiError> {
    loop {
        // Most bodies arrive with their head: a timer is only set for what is still on its way.
        let here = poll_fn(|cx| Poll::Ready(Pin::new(&mut *incoming).poll_frame(cx))).await;
        let frame = match here {
            Poll::Ready(frame) => Ok(frame),
            Poll::Pending if place.is_none() => {
                *place = Some(admission.wait_for_body(key)?);
                continue;
            }
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
    if length <= limits.body_bytes { Ok(()) } else { Err(too_large(limits)) }
}

fn too_large(limits: &Limits) -> ApiError {
    let message = format!("the body is larger than the limit of {} bytes", limits.body_bytes);
    ApiError::new(Code::BodyTooLarge, message)
}
