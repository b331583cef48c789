//! Content encodings of bodies: which one a body has, and what it says without it.
//! <https://www.rfc-editor.org/rfc/rfc9110#section-8.4>
//!
//! Decoding is bounded while it runs: what comes out is measured before room is made for it, so that a small body
//! which unfolds into a huge one stops at the limit. One body is one encoding, complete, with nothing behind it.

use std::io::{self, Read};

use brotli_decompressor::{BrotliDecompressStream, BrotliResult, BrotliState, StandardAlloc};
use bytes::Bytes;
use http::header::CONTENT_ENCODING;
use http::{HeaderMap, HeaderValue};

/// How a body is encoded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Encoding {
    /// <https://www.rfc-editor.org/rfc/rfc1952>
    Gzip,
    /// <https://www.rfc-editor.org/rfc/rfc8878>
    Zstd,
    /// <https://www.rfc-editor.org/rfc/rfc7932>
    Brotli,
}

/// An encoding that is not known here, or several over one another.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("this content encoding is not taken; wanted one of `gzip`, `zstd`, `br`, or none")]
pub struct UnknownEncoding;

/// Why a body cannot be decoded.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DecodeError<E> {
    /// It says more than it may.
    #[error("it is too large")]
    TooLarge,
    /// It breaks off.
    #[error("it breaks off")]
    Truncated,
    /// It is not of its encoding.
    #[error("it is not of the encoding that it names")]
    Malformed,
    /// It goes on behind its end.
    #[error("something follows its end")]
    Trailing,
    /// There is no room for it.
    #[error("there is no room for it")]
    NoRoom(E),
}

/// Windows beyond this are refused: HTTP's own bound for zstd. <https://www.rfc-editor.org/rfc/rfc9659>
const ZSTD_WINDOW_LOG_MAX: u32 = 23;
/// How much is decoded at a time, in bytes.
const STEP_BYTES: usize = 32 << 10;

impl Encoding {
    /// The encoding of the body under these headers; `None` if it stands there as it is.
    ///
    /// # Errors
    ///
    /// [`UnknownEncoding`], also for several.
    pub fn of(headers: &HeaderMap) -> Result<Option<Self>, UnknownEncoding> {
        let mut named = headers.get_all(CONTENT_ENCODING).iter().map(HeaderValue::as_bytes).map(<[u8]>::trim_ascii);
        let Some(name) = named.next() else { return Ok(None) };
        if named.next().is_some() {
            return Err(UnknownEncoding);
        }
        let names = |known: &[&str]| known.iter().any(|known| name.eq_ignore_ascii_case(known.as_bytes()));
        match name {
            _ if names(&["identity", ""]) => Ok(None),
            _ if names(&["gzip", "x-gzip"]) => Ok(Some(Self::Gzip)),
            _ if names(&["zstd"]) => Ok(Some(Self::Zstd)),
            _ if names(&["br"]) => Ok(Some(Self::Brotli)),
            _ => Err(UnknownEncoding),
        }
    }

    /// What `encoded` says, at most `bytes_max`; `grow` is asked for room before it is taken.
    ///
    /// # Errors
    ///
    /// [`DecodeError`]; nothing that was decoded until then is given out.
    pub fn decode<E>(
        self,
        encoded: &[u8],
        bytes_max: usize,
        grow: impl FnMut(usize) -> Result<(), E>,
    ) -> Result<Bytes, DecodeError<E>> {
        let mut output = Output { bytes: Vec::new(), bytes_max, grow };
        let rest = match self {
            Self::Gzip => {
                let mut reader = flate2::bufread::GzDecoder::new(encoded);
                output.take_all(&mut reader)?;
                reader.into_inner()
            }
            Self::Zstd => {
                let malformed = |_| DecodeError::Malformed;
                let mut reader = zstd::stream::read::Decoder::with_buffer(encoded).map_err(malformed)?.single_frame();
                reader.window_log_max(ZSTD_WINDOW_LOG_MAX).map_err(malformed)?;
                output.take_all(&mut reader)?;
                reader.finish()
            }
            Self::Brotli => {
                let mut reader = Brotli::new(encoded);
                output.take_all(&mut reader)?;
                reader.encoded
            }
        };
        if rest.is_empty() { Ok(output.bytes.into()) } else { Err(DecodeError::Trailing) }
    }
}

/// What has been decoded.
struct Output<F> {
    bytes: Vec<u8>,
    bytes_max: usize,
    grow: F,
}

impl<E, F: FnMut(usize) -> Result<(), E>> Output<F> {
    fn take_all(&mut self, reader: &mut impl Read) -> Result<(), DecodeError<E>> {
        let mut step = [0; STEP_BYTES];
        loop {
            let length = reader.read(&mut step).map_err(|error| match error.kind() {
                io::ErrorKind::UnexpectedEof => DecodeError::Truncated,
                _ => DecodeError::Malformed,
            })?;
            if length == 0 {
                return Ok(());
            }
            self.take(&step[..length])?;
        }
    }

    fn take(&mut self, step: &[u8]) -> Result<(), DecodeError<E>> {
        let length = self.bytes.len() + step.len();
        if length > self.bytes_max {
            return Err(DecodeError::TooLarge);
        }
        let room = self.bytes.capacity();
        if length > room {
            let wanted = (2 * room).max(length).min(self.bytes_max);
            (self.grow)(wanted - room).map_err(DecodeError::NoRoom)?;
            self.bytes.reserve_exact(wanted - self.bytes.len());
        }
        self.bytes.extend_from_slice(step);
        Ok(())
    }
}

/// Reads brotli off a slice, and knows where it ends.
struct Brotli<'a> {
    encoded: &'a [u8],
    state: Box<BrotliState<StandardAlloc, StandardAlloc, StandardAlloc>>,
}

impl<'a> Brotli<'a> {
    fn new(encoded: &'a [u8]) -> Self {
        let alloc = StandardAlloc::default;
        // Strict: no windows beyond those of the standard, which are at most 16 MiB.
        Self { encoded, state: Box::new(BrotliState::new_strict(alloc(), alloc(), alloc())) }
    }
}

impl Read for Brotli<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let (mut available, mut read, mut room, mut written, mut total) = (self.encoded.len(), 0, buffer.len(), 0, 0);
        let result = BrotliDecompressStream(
            &mut available,
            &mut read,
            self.encoded,
            &mut room,
            &mut written,
            buffer,
            &mut total,
            &mut self.state,
        );
        self.encoded = &self.encoded[read..];
        match result {
            BrotliResult::ResultFailure => Err(io::ErrorKind::InvalidData.into()),
            BrotliResult::NeedsMoreInput if written == 0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(written),
        }
    }
}

#[cfg(test)]
mod tests;
