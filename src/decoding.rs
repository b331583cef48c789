//! Decodes bodies that came encoded, of clients and of providers: away from the threads that serve, within the
//! memory of what is in flight, and only so many at a time.

use bytes::Bytes;

use crate::memory::{HeldBytes, MemoryFull};
use crate::wire::encoding::{DecodeError, Encoding};

/// What `encoded` says, at most `bytes_max`, and the memory set aside for it; `held` is that of `encoded`.
///
/// Waits for a place. Dropping the future gives up the waiting; decoding that has begun goes on to its end, and
/// keeps its place until then.
///
/// # Errors
///
/// [`DecodeError`]; both memories are free again.
pub async fn decode(
    encoding: Encoding,
    encoded: Bytes,
    bytes_max: usize,
    held: HeldBytes,
) -> Result<(Bytes, HeldBytes), DecodeError<MemoryFull>> {
    let place = held.decoders().acquire_owned().await;
    let decode = move || {
        let mut room = held.another();
        let decoded = encoding.decode(&encoded, bytes_max, |more| room.grow(more));
        // Only now: whoever asked may be gone, and the encoded body's memory is let go with `held`.
        drop((encoded, held, place));
        decoded.map(|bytes| (bytes, room))
    };
    tokio::task::spawn_blocking(decode).await.unwrap_or(Err(DecodeError::Malformed))
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;
    use crate::limits::DECODERS_MAX;
    use crate::memory::Memory;

    /// Whether `future` is there at once.
    async fn at_once<F: Future>(future: F) -> Option<F::Output> {
        tokio::time::timeout(Duration::ZERO, future).await.ok()
    }

    #[test]
    fn whoever_hangs_up_frees_no_place_while_the_body_is_still_to_be_decoded() {
        // The only thread for such work is busy until it is told.
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_time().max_blocking_threads(1).build().expect("a runtime");
        let (free, busy) = mpsc::channel::<()>();
        runtime.block_on(async {
            drop(tokio::task::spawn_blocking(move || busy.recv()));
            let memory = Memory::new(1 << 20);
            let asked = || decode(Encoding::Gzip, Bytes::from_static(b"no gzip"), 100, memory.hold());
            for _ in 0..DECODERS_MAX {
                assert!(at_once(asked()).await.is_none(), "it is begun and given up");
            }
            assert_eq!(memory.hold().decoders().available_permits(), 0, "every place is taken");
            drop(free);
            let refused = tokio::time::timeout(Duration::from_secs(20), asked()).await.expect("a place");
            assert_eq!(refused.err(), Some(DecodeError::Truncated));
            assert_eq!(memory.held_bytes(), 0);
        });
    }
}
