//! One record as bytes: length, checksum, payload; and a mark: how far the journal is on the disk.
//!
//! Both numbers are little-endian `u32`; the checksum is CRC-32 (IEEE) of the payload, sealed with the
//! frame's place, and the payload is a [`Record`] in postcard's wire format, read back without copying its
//! text. A length of zero is never valid, so that a run of zero bytes, as power cuts leave behind, holds no
//! frame. The seal keeps what a search behind a hole finds honest: bytes of another place, of an older file
//! or inside a client's text are no frame.

use crate::ledger::error::LedgerError;
use crate::ledger::journal::Position;
use crate::ledger::record::Record;
use crate::limits::LEDGER_RECORD_BYTES_MAX;

/// Bytes before the payload.
pub(super) const FRAME_HEAD_BYTES: usize = 8;
/// Largest frame, in bytes.
pub(super) const FRAME_BYTES_MAX: usize = FRAME_HEAD_BYTES + LEDGER_RECORD_BYTES_MAX;

/// Set in the length of a mark.
const MARK: u32 = 1 << 31;
/// Mixed into the checksum of a mark, which is never taken for a record.
const MARK_CHECKSUM: u32 = u32::from_le_bytes(*b"mark");
/// A mark's payload: segment and offset.
const MARK_PAYLOAD_BYTES: usize = 12;

/// What the checksums of one segment are sealed with. The ledger's number is told to nobody.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Seal {
    /// The segment's version; the first one has neither seals nor marks.
    pub(super) version: u32,
    pub(super) ledger: i64,
    pub(super) segment: u32,
}

impl Seal {
    fn at(self, offset: u64) -> u32 {
        if !self.has_marks() {
            return 0;
        }
        let mut place = [0; 20];
        place[..8].copy_from_slice(&self.ledger.to_le_bytes());
        place[8..12].copy_from_slice(&self.segment.to_le_bytes());
        place[12..].copy_from_slice(&offset.to_le_bytes());
        crc32fast::hash(&place)
    }

    /// Whether the segment says how far it was synced.
    pub(super) fn has_marks(self) -> bool {
        self.version > 1
    }

    /// Appends a copy of `frame` to `bytes`, which begin at byte `base` of the segment, and seals it.
    pub(super) fn push(self, bytes: &mut Vec<u8>, frame: &[u8], base: u64) {
        let start = bytes.len();
        let offset = base + start as u64;
        bytes.extend_from_slice(frame);
        if let Some(checksum) = bytes.get_mut(start + 4..start + FRAME_HEAD_BYTES) {
            checksum.iter_mut().zip(self.at(offset).to_le_bytes()).for_each(|(byte, seal)| *byte ^= seal);
        }
    }
}

/// The frame that says that everything before `synced` in that segment is on the disk.
pub(super) fn mark(synced: Position) -> [u8; FRAME_HEAD_BYTES + MARK_PAYLOAD_BYTES] {
    let mut frame = [0; FRAME_HEAD_BYTES + MARK_PAYLOAD_BYTES];
    let (head, payload) = frame.split_at_mut(FRAME_HEAD_BYTES);
    payload[..4].copy_from_slice(&synced.segment.to_le_bytes());
    payload[4..].copy_from_slice(&synced.offset.to_le_bytes());
    head[..4].copy_from_slice(&(MARK | MARK_PAYLOAD_BYTES as u32).to_le_bytes());
    head[4..].copy_from_slice(&(crc32fast::hash(payload) ^ MARK_CHECKSUM).to_le_bytes());
    frame
}

/// Writes `record` as a frame, not sealed yet, to the start of `buffer`, which must hold [`FRAME_BYTES_MAX`] bytes.
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
    /// A whole mark.
    Mark(Position),
    /// The start of a frame that is longer than the bytes.
    Partial,
    /// Something that no frame starts with, or a frame with a wrong checksum.
    Damaged,
}

impl Found<'_> {
    /// Bytes of the whole frame; 0 if it is none.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Payload(payload) => FRAME_HEAD_BYTES + payload.len(),
            Self::Mark(_) => FRAME_HEAD_BYTES + MARK_PAYLOAD_BYTES,
            Self::Partial | Self::Damaged => 0,
        }
    }
}

/// Reads the frame at the start of `bytes`, which stand at `offset` of the segment with this `seal`.
pub(super) fn read(bytes: &[u8], seal: Seal, offset: u64) -> Found<'_> {
    let Some((head, rest)) = bytes.split_first_chunk::<FRAME_HEAD_BYTES>() else { return Found::Partial };
    let [l0, l1, l2, l3, c0, c1, c2, c3] = *head;
    let length = u32::from_le_bytes([l0, l1, l2, l3]);
    let is_mark = seal.has_marks() && length == MARK | MARK_PAYLOAD_BYTES as u32;
    let length = if is_mark { MARK_PAYLOAD_BYTES } else { length as usize };
    if length == 0 || length > LEDGER_RECORD_BYTES_MAX {
        return Found::Damaged;
    }
    let Some(payload) = rest.get(..length) else { return Found::Partial };
    let mixed_in = seal.at(offset) ^ if is_mark { MARK_CHECKSUM } else { 0 };
    if crc32fast::hash(payload) != u32::from_le_bytes([c0, c1, c2, c3]) ^ mixed_in {
        return Found::Damaged;
    }
    match *payload {
        [s0, s1, s2, s3, ref place @ ..] if is_mark => Found::Mark(Position {
            segment: u32::from_le_bytes([s0, s1, s2, s3]),
            offset: place.first_chunk().map_or(0, |place| u64::from_le_bytes(*place)),
        }),
        _ => Found::Payload(payload),
    }
}

/// Where the first whole frame starts in `bytes`, which stand at `offset` of the segment.
pub(super) fn first_in(bytes: &[u8], seal: Seal, offset: u64) -> Option<usize> {
    (0..bytes.len()).find(|start| read(&bytes[*start..], seal, offset + *start as u64).bytes() > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{AttemptId, RequestId};
    use crate::ledger::record::{Intent, Record};

    const SEAL: Seal = Seal { version: 2, ledger: 4711, segment: 3 };
    const PLACE: u64 = 32;

    fn frame_at(offset: u64) -> Vec<u8> {
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
        let mut sealed = Vec::new();
        let mut buffer = vec![0; FRAME_BYTES_MAX];
        SEAL.push(&mut sealed, encode(&Record::Intent(intent), &mut buffer).expect("the record is small"), offset);
        sealed
    }

    #[test]
    fn every_cut_of_a_frame_is_partial_and_every_flipped_bit_is_noticed() {
        let mut sealed_mark = Vec::new();
        SEAL.push(&mut sealed_mark, &mark(Position { segment: 3, offset: 99 }), PLACE);
        for whole in [frame_at(PLACE), sealed_mark] {
            assert_eq!(read(&whole, SEAL, PLACE).bytes(), whole.len());
            for cut in 0..whole.len() {
                assert_eq!(read(&whole[..cut], SEAL, PLACE), Found::Partial, "cut at {cut}");
            }
            for bit in 0..whole.len() * 8 {
                let mut flipped = whole.clone();
                flipped[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(read(&flipped, SEAL, PLACE).bytes(), 0, "bit {bit}");
            }
        }
    }

    #[test]
    fn a_mark_is_read_back() {
        let (synced, mut bytes) = (Position { segment: 2, offset: 1 << 33 }, Vec::new());
        SEAL.push(&mut bytes, &mark(synced), PLACE);
        assert_eq!(read(&bytes, SEAL, PLACE), Found::Mark(synced));
    }

    #[test]
    fn a_frame_is_one_at_its_own_place_only() {
        let whole = frame_at(PLACE);
        assert_eq!(read(&whole, SEAL, PLACE + 1), Found::Damaged);
        assert_eq!(read(&whole, Seal { segment: 4, ..SEAL }, PLACE), Found::Damaged);
        assert_eq!(read(&whole, Seal { ledger: 4712, ..SEAL }, PLACE), Found::Damaged);
    }

    #[test]
    fn a_frame_is_found_behind_garbage_and_none_in_zeros() {
        let mut bytes = vec![0xee; 37];
        assert_eq!(first_in(&bytes, SEAL, PLACE), None);
        bytes.extend(frame_at(PLACE + 37));
        assert_eq!(first_in(&bytes, SEAL, PLACE), Some(37));
        assert_eq!(first_in(&[0; 4096], SEAL, PLACE), None);
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
