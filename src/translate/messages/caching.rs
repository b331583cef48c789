//! What a provider of Messages is told to cache for clients that do not say.
//!
//! Nothing is cached there unasked. Two markers of the four that a request may have are enough: one behind the tools and the
//! instructions, which other conversations share, and one behind everything where the conversation goes on (it has tools, or
//! has been continued), which the next turn begins with. Who marks anything is left alone: at most four, an hour before
//! five minutes, is then the client's own business.
//! <https://platform.claude.com/docs/en/build-with-claude/prompt-caching>

use std::ops::Range;

use memchr::memmem;

use crate::prompt::json::{JsonError, Scanner};

use super::super::effort::Claude;
use super::super::read::members;
use super::super::{Caching, Untranslatable};

const FIVE_MINUTES: &str = r#"{"type":"ephemeral"}"#;
const HOUR: &str = r#"{"type":"ephemeral","ttl":"1h"}"#;

/// What is marked, and how.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Marks {
    /// The marker behind tools and instructions.
    pub(super) head: &'static str,
    /// The marker behind everything.
    pub(super) end: &'static str,
    /// Whether the second one stands beside the messages and not in them, so that they stay as they were when more
    /// follows.
    pub(super) is_beside: bool,
    /// What is shorter is not cached. A token has at least a byte.
    pub(super) bytes_min: usize,
}

impl Marks {
    /// Those for a model; none where only the client marks.
    pub(super) fn of(caching: Caching, vendor: &str, model: &str) -> Option<Self> {
        let head = match caching {
            Caching::AsMarked => return None,
            Caching::Automatic => FIVE_MINUTES,
            Caching::Hour => HOUR,
        };
        // The clouds' own doors do not know the member.
        let is_beside = matches!(vendor, "anthropic" | "azure");
        Some(Self { head, end: FIVE_MINUTES, is_beside, bytes_min: cached_tokens_min(model) })
    }
}

/// The shortest prefix that is cached, in tokens.
fn cached_tokens_min(model: &str) -> usize {
    let is = |family| model.contains(family);
    match Claude::of(model).map(|claude| claude.version) {
        Some((4, 5 | 6)) if is("opus") => 4_096,
        Some((4, 5)) if is("haiku") => 4_096,
        Some((4, 6)) if is("sonnet") => 2_048,
        Some((3, _)) if is("haiku") => 2_048,
        _ => 1_024,
    }
}

/// Whether a client marks anything, in any dialect. Texts have other quotes; what tools are called with may have a key of
/// the name, and then nothing is marked, which costs money and breaks nothing.
pub(in super::super) fn is_marked(json: &[u8]) -> bool {
    ["\"cache_control\"", "\"prompt_cache_breakpoint\""].iter().any(|key| memmem::find(json, key.as_bytes()).is_some())
}

/// What is put into the body of a client of Messages, and where: texts between the bytes that are there, from front to
/// back. Nothing for a client that marks anything itself, and for a body that is no request.
pub fn insertions(body: &[u8], caching: Caching, vendor: &str, model: &str) -> Vec<(usize, String)> {
    let marks = Marks::of(caching, vendor, model).filter(|_| !is_marked(body));
    let text = simdutf8::basic::from_utf8(body).ok();
    marks.zip(text).and_then(|(marks, text)| place(text, marks).ok()).unwrap_or_default()
}

fn place(body: &str, marks: Marks) -> Result<Vec<(usize, String)>, Untranslatable> {
    let (mut tools, mut system, mut messages) = (None, None, None);
    Scanner::new(body).object::<JsonError>(|s, key| {
        let place = match &*key.decode() {
            "tools" => &mut tools,
            "system" => &mut system,
            "messages" => &mut messages,
            _ => return s.pass(),
        };
        *place = Some(s.skip()?);
        Ok(())
    })?;
    let mut added = Vec::new();
    // Only what goes on is read again to its end.
    let has_tools = tools.clone().is_some_and(|at| last(body, at).is_some());
    let goes_on = has_tools || messages.clone().is_some_and(|at| items(body, at).1 > 1);
    let length = |at: &Option<Range<usize>>| at.as_ref().map_or(0, |at| at.len());
    if length(&tools) + length(&system) >= marks.bytes_min {
        let in_system = system.and_then(|at| behind(body, at, marks.head));
        let in_head = in_system.or_else(|| mark(body, last(body, tools?)?, marks.head));
        added.extend(in_head.into_iter().flatten());
    }
    if !goes_on || body.len() < marks.bytes_min {
        return Ok(added);
    }
    let Some(end) = body.rfind('}') else { return Ok(added) };
    if marks.is_beside {
        added.push((end, format!(r#","cache_control":{}"#, marks.end)));
    } else if let Some(message) = messages.and_then(|at| last(body, at)) {
        let (mut is_users, mut content) = (false, None);
        let mut s = Scanner::new(&body[message.clone()]);
        s.object::<JsonError>(|s, key| {
            let (key, at) = (key.decode(), s.skip()?);
            match &*key {
                "role" => is_users = s.text(at) == "\"user\"",
                "content" => content = Some(message.start + at.start..message.start + at.end),
                _ => {}
            }
            Ok(())
        })?;
        let marked = content.filter(|_| is_users).and_then(|at| behind(body, at, marks.end));
        added.extend(marked.into_iter().flatten());
    }
    added.sort_by_key(|(at, _)| *at);
    Ok(added)
}

/// Marks the last block of a content, which may be a text alone.
fn behind(body: &str, at: Range<usize>, marker: &str) -> Option<Vec<(usize, String)>> {
    match body[at.clone()].as_bytes() {
        // A text that says nothing takes no marker.
        [b'"', b'"'] => None,
        [b'"', ..] => Some(vec![
            (at.start, r#"[{"type":"text","text":"#.to_owned()),
            (at.end, format!(r#","cache_control":{marker}}}]"#)),
        ]),
        _ => mark(body, last(body, at)?, marker),
    }
}

/// Marks an object.
fn mark(body: &str, at: Range<usize>, marker: &str) -> Option<Vec<(usize, String)>> {
    let (mut is_empty, mut has_members) = (false, false);
    let seen = members("content", &body[at.clone()], |key, value| {
        has_members = true;
        is_empty |= key == "text" && value == "\"\"";
        Ok(())
    });
    let is_taken = seen.is_ok() && has_members && !is_empty;
    is_taken.then(|| vec![(at.end - 1, format!(r#","cache_control":{marker}"#))])
}

/// The last item of an array.
fn last(body: &str, at: Range<usize>) -> Option<Range<usize>> {
    items(body, at).0
}

/// The last item of an array, and how many there are; none of what is no array.
fn items(body: &str, at: Range<usize>) -> (Option<Range<usize>>, usize) {
    let mut s = Scanner::new(&body[at.clone()]);
    let (mut last, mut count) = (None, 0);
    if s.peek() != Some(b'[') {
        return (last, count);
    }
    let read = s.array::<JsonError>(|s| {
        let item = s.skip()?;
        last = Some(at.start + item.start..at.start + item.end);
        count += 1;
        Ok(())
    });
    if read.is_ok() { (last, count) } else { (None, 0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SONNET: &str = "claude-sonnet-4-5";

    fn with(body: &str, caching: Caching, vendor: &str) -> String {
        let mut text = body.to_owned();
        for (at, added) in insertions(body.as_bytes(), caching, vendor, SONNET).into_iter().rev() {
            text.insert_str(at, &added);
        }
        text
    }

    #[track_caller]
    fn check(body: &str, caching: Caching, vendor: &str, expected: &str) {
        let long = "x".repeat(1_024);
        assert_eq!(with(&body.replace('%', &long), caching, vendor), expected.replace('%', &long), "{body}");
    }

    #[test]
    fn instructions_and_end_are_marked_and_every_other_byte_stays() {
        check(
            r#"{"model": "m","system":"%\u00e4" ,"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b"}] }"#,
            Caching::Automatic,
            "anthropic",
            r#"{"model": "m","system":[{"type":"text","text":"%\u00e4","cache_control":{"type":"ephemeral"}}] ,"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b"}] ,"cache_control":{"type":"ephemeral"}}"#,
        );
        check(
            r#"{"model":"m","system":[{"type":"text","text":"a"},{"text":"%","type":"text" } ],"tools":[{}],"messages":[]}"#,
            Caching::Hour,
            "anthropic",
            r#"{"model":"m","system":[{"type":"text","text":"a"},{"text":"%","type":"text" ,"cache_control":{"type":"ephemeral","ttl":"1h"}} ],"tools":[{}],"messages":[],"cache_control":{"type":"ephemeral"}}"#,
        );
    }

    #[test]
    fn a_question_that_stands_alone_is_not_marked_to_its_end() {
        check(
            r#"{"model":"m","system":[{"type":"text","text":"%"}],"messages":[{"role":"user","content":"%"}]}"#,
            Caching::Automatic,
            "anthropic",
            r#"{"model":"m","system":[{"type":"text","text":"%","cache_control":{"type":"ephemeral"}}],"messages":[{"role":"user","content":"%"}]}"#,
        );
    }

    #[test]
    fn tools_are_marked_where_there_are_no_instructions() {
        check(
            r#"{"model":"m","tools":[{"name":"a"},{"name":"%"}],"system":"","messages":[]}"#,
            Caching::Automatic,
            "anthropic",
            r#"{"model":"m","tools":[{"name":"a"},{"name":"%","cache_control":{"type":"ephemeral"}}],"system":"","messages":[],"cache_control":{"type":"ephemeral"}}"#,
        );
    }

    #[test]
    fn clouds_are_told_in_the_last_block_of_a_user() {
        check(
            r#"{"model":"m","tools":[{}],"messages":[{"role":"user","content":"%"}]}"#,
            Caching::Automatic,
            "bedrock",
            r#"{"model":"m","tools":[{}],"messages":[{"role":"user","content":[{"type":"text","text":"%","cache_control":{"type":"ephemeral"}}]}]}"#,
        );
        let prefilled =
            r#"{"model":"m","messages":[{"role":"user","content":"%"},{"role":"assistant","content":"{"}]}"#;
        check(prefilled, Caching::Automatic, "bedrock", prefilled);
    }

    #[test]
    fn who_marks_or_is_short_is_left_alone() {
        let marked = r#"{"model":"m","system":[{"type":"text","text":"%","cache_control":{"type":"ephemeral","ttl":"1h"}}],"messages":[]}"#;
        check(marked, Caching::Automatic, "anthropic", marked);
        let short = r#"{"model":"m","system":"be brief","messages":[{"role":"user","content":"hi"}]}"#;
        check(short, Caching::Automatic, "anthropic", short);
        let asked = r#"{"model":"m","system":"%","messages":[]}"#;
        check(asked, Caching::AsMarked, "anthropic", asked);
    }

    #[test]
    fn a_text_about_markers_marks_nothing() {
        assert!(!is_marked(br#"{"text":"set \"cache_control\" there"}"#));
        assert!(is_marked(br#"{"cache_control" : {}}"#));
    }

    #[test]
    fn the_shortest_prefix_is_the_models() {
        for (model, tokens) in [
            ("claude-opus-4-6", 4_096),
            ("claude-haiku-4-5-20251001", 4_096),
            ("claude-sonnet-4-6", 2_048),
            ("claude-opus-5-5", 1_024),
            ("claude-3-5-haiku-latest", 2_048),
            ("somebody-elses", 1_024),
        ] {
            assert_eq!(cached_tokens_min(model), tokens, "{model}");
        }
    }
}
