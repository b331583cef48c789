//! Server-sent events, cut into whole events at any chunking.
//! <https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream>
//!
//! Lines end at LF, CRLF or CR and nowhere else: U+2028 is text. Bytes are never copied while a chunk
//! ends where an event ends, which is how providers send them.

use std::borrow::Cow;
use std::ops::Range;

use bytes::{Bytes, BytesMut};

use crate::limits::SSE_EVENT_BYTES_MAX;

/// An event larger than [`SSE_EVENT_BYTES_MAX`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("an event of the stream is larger than {SSE_EVENT_BYTES_MAX} bytes")]
pub struct EventTooLarge;

/// Cuts a stream into whole events.
#[derive(Debug, Default)]
pub struct Decoder {
    /// The beginning of an event whose end has not arrived.
    pending: Bytes,
    /// The last chunk ended in the CR of a blank line: an LF at the start of the next belongs to it.
    swallow_lf: bool,
}

/// Whole events as they stand in the stream, and where each lies.
#[derive(Debug)]
pub struct Events {
    /// The bytes, terminators included.
    pub bytes: Bytes,
    /// One range an event.
    pub ranges: Vec<Range<usize>>,
}

impl Decoder {
    /// Takes the next chunk and gives the events that it completes.
    ///
    /// # Errors
    ///
    /// [`EventTooLarge`] when an unfinished event outgrows the limit; the stream cannot be followed any further.
    pub fn push(&mut self, chunk: Bytes) -> Result<Events, EventTooLarge> {
        let buffer = if self.pending.is_empty() { chunk } else { join(&self.pending, &chunk) };
        let mut ranges = Vec::with_capacity(1);
        let (mut start, mut swallow_lf) = (0, self.swallow_lf);
        let bytes = &buffer[..];
        if swallow_lf && bytes.first() == Some(&b'\n') {
            start = 1;
            ranges.push(0..1);
        }
        swallow_lf &= bytes.is_empty();
        while let Some(end) = event_end(bytes, start) {
            swallow_lf = end == bytes.len() && bytes[end - 1] == b'\r';
            ranges.push(start..end);
            start = end;
        }
        self.swallow_lf = swallow_lf;
        self.pending = buffer.slice(start..);
        if self.pending.len() > SSE_EVENT_BYTES_MAX {
            return Err(EventTooLarge);
        }
        Ok(Events { bytes: buffer.slice(..start), ranges })
    }

    /// The stream ended: what is left counts as an event, since some providers omit the last blank line.
    pub fn finish(&mut self) -> Events {
        let bytes = std::mem::take(&mut self.pending);
        let ranges = if bytes.is_empty() { Vec::new() } else { vec![0..bytes.len(); 1] };
        Events { bytes, ranges }
    }
}

fn join(head: &Bytes, tail: &Bytes) -> Bytes {
    let mut both = BytesMut::with_capacity(head.len() + tail.len());
    both.extend_from_slice(head);
    both.extend_from_slice(tail);
    both.freeze()
}

/// Where the event that begins at `start` ends, its blank line included; `None` if that has not arrived.
fn event_end(bytes: &[u8], start: usize) -> Option<usize> {
    let mut line = start;
    loop {
        let at = line + memchr::memchr2(b'\n', b'\r', &bytes[line..])?;
        let next = match (bytes[at], bytes.get(at + 1)) {
            (b'\r', Some(b'\n')) => at + 2,
            // A CR at the very end may be half of a CRLF; after a blank line that makes no difference.
            (b'\r', None) if at > line => return None,
            _ => at + 1,
        };
        if at == line {
            return Some(next);
        }
        line = next;
    }
}

/// The data of one event: its `data` lines joined by LF; `None` for comments and other fields only.
pub fn data(event: &[u8]) -> Option<Cow<'_, [u8]>> {
    let mut found: Option<Cow<'_, [u8]>> = None;
    let event = event.strip_prefix(b"\xef\xbb\xbf").unwrap_or(event);
    let mut start = 0;
    for end in memchr::memchr2_iter(b'\n', b'\r', event).chain([event.len()]) {
        let line = &event[std::mem::replace(&mut start, end + 1)..end];
        let Some(value) = line.strip_prefix(b"data") else { continue };
        let value = match value.first() {
            None => value,
            Some(b':') => value[1..].strip_prefix(b" ").unwrap_or(&value[1..]),
            Some(_) => continue,
        };
        found = Some(match found {
            None => Cow::Borrowed(value),
            Some(before) => Cow::Owned([&*before, b"\n", value].concat()),
        });
    }
    found
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Feeds `stream` in pieces that end at `cuts` and returns every event's data and all bytes passed on.
    fn decode(stream: &[u8], cuts: &[usize]) -> (Vec<Vec<u8>>, Vec<u8>) {
        let mut decoder = Decoder::default();
        let (mut datas, mut passed) = (Vec::new(), Vec::new());
        let mut take = |events: Events| {
            passed.extend_from_slice(&events.bytes);
            datas.extend(events.ranges.into_iter().filter_map(|r| data(&events.bytes[r]).map(Cow::into_owned)));
        };
        let mut from = 0;
        for &cut in cuts.iter().chain([&stream.len()]) {
            take(decoder.push(Bytes::copy_from_slice(&stream[from..cut])).unwrap());
            from = cut;
        }
        take(decoder.finish());
        (datas, passed)
    }

    #[track_caller]
    fn check(stream: &str, expected: &[&str]) {
        let whole = decode(stream.as_bytes(), &[]);
        let texts: Vec<_> = whole.0.iter().map(|d| String::from_utf8_lossy(d)).collect();
        assert_eq!(texts, expected, "{stream:?}");
        assert_eq!(whole.1, stream.as_bytes());
    }

    #[test]
    fn lines_end_at_lf_crlf_and_cr_and_nowhere_else() {
        check("data: a\n\ndata: b\r\n\r\ndata:c\r\r", &["a", "b", "c"]);
        check("data: one\u{2028}line\u{85}\n\n", &["one\u{2028}line\u{85}"]);
    }

    #[test]
    fn several_data_lines_are_one_event() {
        check("data: a\ndata: b\nid: 7\n\n", &["a\nb"]);
    }

    #[test]
    fn comments_and_foreign_fields_carry_no_data() {
        check(": ping\n\nevent: x\nretry: 5\n\ndatabase: no\n\ndata\n\n", &[""]);
    }

    #[test]
    fn a_last_event_without_its_blank_line_still_counts() {
        check("data: a\n\ndata: [DONE]\n", &["a", "[DONE]"]);
        check("data: [DONE]", &["[DONE]"]);
    }

    #[test]
    fn a_complete_event_is_never_held_back() {
        for event in ["data: a\n\n", "data: a\r\n\r\n", "data: a\r\r"] {
            let events = Decoder::default().push(Bytes::copy_from_slice(event.as_bytes())).unwrap();
            assert_eq!(events.bytes, event.as_bytes());
        }
    }

    #[test]
    fn an_endless_event_is_given_up() {
        let mut decoder = Decoder::default();
        let chunk = Bytes::from(vec![b'x'; SSE_EVENT_BYTES_MAX]);
        assert!(decoder.push(chunk.clone()).is_ok());
        assert_eq!(decoder.push(chunk).unwrap_err(), EventTooLarge);
    }

    proptest! {
        #[test]
        fn any_chunking_decodes_alike(
            events in prop::collection::vec(("[a-zé\u{2028}:{} ]{0,12}", prop::sample::select(vec!["\n", "\r\n", "\r"]), any::<bool>()), 0..8),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
        ) {
            let mut stream = Vec::new();
            for (text, end, comment) in events {
                if comment { stream.extend_from_slice(format!(": c{end}").as_bytes()); }
                stream.extend_from_slice(format!("data: {text}{end}{end}").as_bytes());
            }
            let mut cuts: Vec<usize> = cuts.iter().map(|c| c.index(stream.len() + 1)).collect();
            cuts.sort_unstable();
            prop_assert_eq!(decode(&stream, &cuts), decode(&stream, &[]));
        }
    }
}
