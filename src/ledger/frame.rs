//! One record as bytes: length, checksum, payload.
//!
//! Both numbers are little-endian `u32`; the checksum is CRC-32 (IEEE) of the payload, and the payload
//! is a [`Record`] in postcard's wire format, read back without copying its text. A length of zero is
//! never valid, so that a run of zero bytes, as power cuts leave behind, holds no frame.

use crate::ledger::error::LedgerError;
use crate::ledger::record::Record;
use crate::limits::LEDGER_RECORD_BYTES_MAX;

/// Bytes before the payload.
pub(super) const FRAME_HEAD_BYTES: usize = 8;
/// Largest frame, in bytes.
pub(super) const FRAME_BYTES_MAX: usize = FRAME_HEAD_BYTES + LEDGER_RECORD_BYTES_MAX;

/// Writes `record` as a frame to the start of `buffer`, which must hold [`FRAME_BYTES_MAX`] bytes.
///
/// # Errors
///
/// [`LedgerError::TooLarge`] if the payload exceeds [`LEDGER_RECORD_BYTES_MAX`].
pub(super) fn encode<'b>(record: &Record<'_>, buffer: &'b mut [u8]) -> Result<&'b [u8], LedgerError> {
    let (head, room) = buffer.split_at_mut(FRAME_HEAD_BYTES);
    let payload =
        postcard::to_slice(record, room).map_err(|_| LedgerError::TooLarge { wanted: LEDGER_RECORD_BYTES_MAX })?;
    let length = payload.len();
    head[..4].copy_from_slice(&(length as u32).to_le_bytes());
    head[4..].copy_from_slice(&crc32fast::hash(payload).to_le_bytes());
    Ok(&buffer[..FRAME_HEAD_BYTES + length])
}

/// What stands at the start of some bytes of a journal.
#[derive(PartialEq, Eq, Debug)]
pub(super) enum Found<'a> {
    /// A whole frame with a right checksum.
    Payload(&'a [u8]),
    /// The start of a frame that is longer than the bytes.
    Partial,
    /// Something that no frame starts with, or a frame with a wrong checksum.
    Damaged,
}

/// Reads the frame at the start of `bytes`; its length is that of the payload plus [`FRAME_HEAD_BYTES`].
pub(super) fn read(bytes: &[u8]) -> Found<'_> {
    let Some((head, rest)) = bytes.split_first_chunk::<FRAME_HEAD_BYTES>() else { return Found::Partial };
    let [l0, l1, l2, l3, c0, c1, c2, c3] = *head;
    let length = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
    if length == 0 || length > LEDGER_RECORD_BYTES_MAX {
        return Found::Damaged;
    }
    let Some(payload) = rest.get(..length) else { return Found::Partial };
    if crc32fast::hash(payload) != u32::from_le_bytes([c0, c1, c2, c3]) {
        return Found::Damaged;
    }
    Found::Payload(payload)
}

/// Whether a whole frame starts anywhere in `bytes`: tells damage in the middle from a torn tail.
pub(super) fn any_frame_in(bytes: &[u8]) -> bool {
    (0..bytes.len()).any(|start| matches!(read(&bytes[start..]), Found::Payload(_)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{AttemptId, RequestId};
    use crate::ledger::record::{Intent, Record};

    fn frame() -> Vec<u8> {
        let intent = Intent {
            request: None,
            attempt: AttemptId { request: RequestId::new(), ordinal: 2 },
            at_ms: 7,
            provider: "openai",
            model: "gpt-5.6-luna",
            input_tokens_bound: None,
            output_tokens_bound: Some(9),
            bound: None,
            price_version: None,
        };
        encode(&Record::Intent(intent), &mut vec![0; FRAME_BYTES_MAX]).expect("the record is small").to_vec()
    }

    #[test]
    fn every_cut_of_a_frame_is_partial_and_every_flipped_bit_is_noticed() {
        let whole = frame();
        assert!(matches!(read(&whole), Found::Payload(payload) if payload.len() + FRAME_HEAD_BYTES == whole.len()));
        for cut in 0..whole.len() {
            assert_eq!(read(&whole[..cut]), Found::Partial, "cut at {cut}");
        }
        for bit in 0..whole.len() * 8 {
            let mut flipped = whole.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(!matches!(read(&flipped), Found::Payload(_)), "bit {bit}");
        }
    }

    #[test]
    fn a_frame_is_found_behind_garbage_and_none_in_zeros() {
        let mut bytes = vec![0xee; 37];
        assert!(!any_frame_in(&bytes));
        bytes.extend(frame());
        assert!(any_frame_in(&bytes));
        assert!(!any_frame_in(&[0; 4096]));
    }

    #[test]
    fn a_record_beyond_the_bound_is_refused() {
        let text = "m".repeat(LEDGER_RECORD_BYTES_MAX);
        let intent = Intent {
            request: None,
            attempt: AttemptId { request: RequestId::new(), ordinal: 1 },
            at_ms: 0,
            provider: "p",
            model: &text,
            input_tokens_bound: None,
            output_tokens_bound: None,
            bound: None,
            price_version: None,
        };
        let refused = encode(&Record::Intent(intent), &mut vec![0; FRAME_BYTES_MAX]).expect_err("it is too large");
        assert_eq!(refused.to_string(), "a ledger record has more than 16384 bytes");
    }
}
