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
    pending: BytesMut,
    /// Where in it the line begins that has not ended.
    line: usize,
    /// How far it has been looked at.
    looked: usize,
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
    /// Takes the next chunk and gives the events that it completes. Every byte is looked at once, however
    /// small the chunks are.
    ///
    /// # Errors
    ///
    /// [`EventTooLarge`] when an unfinished event outgrows the limit; the stream cannot be followed any further.
    pub fn push(&mut self, chunk: Bytes) -> Result<Events, EventTooLarge> {
        let (bytes, ranges) = if self.pending.is_empty() {
            let (ranges, end) = self.cut(&chunk);
            self.pending.extend_from_slice(&chunk[end..]);
            (chunk.slice(..end), ranges)
        } else {
            let mut joined = std::mem::take(&mut self.pending);
            joined.extend_from_slice(&chunk);
            let (ranges, end) = self.cut(&joined);
            let whole = joined.split_to(end).freeze();
            self.pending = joined;
            (whole, ranges)
        };
        if self.pending.len() > SSE_EVENT_BYTES_MAX { Err(EventTooLarge) } else { Ok(Events { bytes, ranges }) }
    }

    /// How many bytes wait for the end of their event.
    pub fn pending_bytes(&self) -> usize {
        self.pending.len()
    }

    /// The stream ended: what is left counts as an event, since some providers omit the last blank line.
    pub fn finish(&mut self) -> Events {
        let bytes = std::mem::take(&mut self.pending).freeze();
        let ranges = if bytes.is_empty() { Vec::new() } else { vec![0..bytes.len(); 1] };
        Events { bytes, ranges }
    }

    /// The whole events in `bytes`, and where the last of them ends. Remembers where to go on looking.
    fn cut(&mut self, bytes: &[u8]) -> (Vec<Range<usize>>, usize) {
        let mut ranges = Vec::with_capacity(1);
        let mut start = 0;
        let mut at = Place { line: self.line, looked: self.looked };
        while let Some(end) = event_end(bytes, &mut at) {
            ranges.push(start..end);
            start = end;
        }
        (self.line, self.looked) = (at.line - start, at.looked - start);
        (ranges, start)
    }
}

/// How far a search for the end of an event has come.
struct Place {
    /// The beginning of the current line.
    line: usize,
    /// Nothing before this ends that line.
    looked: usize,
}

/// Where the event ends that goes on at `at`, its blank line included; `None` if that has not arrived. `at` is then
/// where to go on when more has.
fn event_end(bytes: &[u8], at: &mut Place) -> Option<usize> {
    loop {
        let Some(found) = memchr::memchr2(b'\n', b'\r', &bytes[at.looked..]) else {
            at.looked = bytes.len();
            return None;
        };
        let end = at.looked + found;
        let next = match (bytes[end], bytes.get(end + 1)) {
            (b'\r', Some(b'\n')) => end + 2,
            // A CR at the very end may be half of a CRLF. After a blank line that makes no difference: its LF is then
            // an event of its own, without data.
            (b'\r', None) if end > at.line => {
                at.looked = end;
                return None;
            }
            _ => end + 1,
        };
        let is_blank = end == at.line;
        *at = Place { line: next, looked: next };
        if is_blank {
            return Some(next);
        }
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
