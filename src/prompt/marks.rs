//! How two prompts are told apart that should have begun alike, without a word of either being kept.
//!
//! What a provider reads first (tools and the format of the answer, then what stands before the first user turn) leaves a
//! few small hashes, found again by the hash of the whole that the reading of a request has made anyway. When a cached prefix
//! breaks, those of both sides say what changed, and about where. Pure; whoever calls it does so behind the request's back.

use std::collections::HashMap;

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use super::json::{JsonError, Scanner};
use super::outline::Outline;
use super::sketch::masked;
use crate::limits::{MARKED_TOOLS_MAX, MARKS_MAX, SKETCH_TEXT_BYTES_MAX};

/// How finely it is told where instructions part, in bytes: finer than the steps in which providers cache.
const BLOCK_BYTES: usize = 256;

/// Prompts whose beginnings differ, by halves of their hashes ([`half`]): first the one before, then the one that follows it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sides {
    /// Tools and format of the answer.
    pub heads: [u32; 2],
    /// What else stands before the first user turn.
    pub openings: [u32; 2],
}

/// As much of a hash as is remembered of a prompt.
pub fn half(hash: u64) -> u32 {
    (hash >> 32) as u32
}

/// What changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Change {
    /// In one word.
    pub culprit: &'static str,
    /// About how many bytes of the prompt stand before that; `None`: nobody knows.
    pub bytes: Option<u64>,
}

/// Marks of beginnings that went by lately: two generations, of which the older is dropped whole.
#[derive(Default)]
pub struct Marks {
    young: HashMap<u32, Mark>,
    old: HashMap<u32, Mark>,
}

/// Of tools, or of instructions.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Mark {
    /// Of tools: a hash of them in no order. Of instructions: one without hours, ids and numbers.
    loose: u64,
    /// A hash of each tool, or of each block, and where it ends.
    parts: Vec<(u32, u32)>,
    /// Bytes of all that is marked.
    bytes: u64,
}

impl Marks {
    /// Takes note of how a prompt begins.
    pub fn note(&mut self, body: &[u8], outline: &Outline) {
        let (head, opening) = (outline.chain.head.hash, outline.chain.opening);
        self.note_one(half(head), || tools(body, outline));
        self.note_one(half(opening), || instructions(body, outline));
    }

    fn note_one(&mut self, hash: u32, mark: impl FnOnce() -> Mark) {
        if hash == 0 || self.young.contains_key(&hash) {
            return;
        }
        let mark = self.old.remove(&hash).unwrap_or_else(mark);
        if self.young.len() >= MARKS_MAX / 2 {
            std::mem::swap(&mut self.old, &mut self.young);
            self.young.clear();
        }
        self.young.insert(hash, mark);
    }

    /// What changed between two beginnings, in the order in which a provider reads them.
    pub fn explain(&self, sides: &Sides) -> Change {
        if sides.heads[0] != sides.heads[1] {
            let Some([before, after]) = self.both(sides.heads) else { return Change { culprit: "tools", bytes: None } };
            let culprit = match before.loose == after.loose {
                true if before.parts == after.parts => "format",
                true => "tool_order",
                false => "tools",
            };
            return Change { culprit, bytes: Some(before.alike(after)) };
        }
        let Some([before, after]) = self.both(sides.openings) else { return Change { culprit: "system", bytes: None } };
        let culprit = if before.loose == after.loose { "timestamp" } else { "system" };
        let tools = self.of(sides.heads[1]).map(|tools| tools.bytes);
        Change { culprit, bytes: tools.map(|tools| tools + before.alike(after)) }
    }

    fn both(&self, hashes: [u32; 2]) -> Option<[&Mark; 2]> {
        Some([self.of(hashes[0])?, self.of(hashes[1])?])
    }

    fn of(&self, hash: u32) -> Option<&Mark> {
        static NOTHING: Mark = Mark { loose: 0, parts: Vec::new(), bytes: 0 };
        if hash == 0 { Some(&NOTHING) } else { self.young.get(&hash).or_else(|| self.old.get(&hash)) }
    }
}

impl Mark {
    fn add(&mut self, part: &[u8]) {
        self.bytes += part.len() as u64;
        self.parts.push((xxh3_64(part) as u32, u32::try_from(self.bytes).unwrap_or(u32::MAX)));
    }

    /// How many bytes are the same from the beginning on.
    fn alike(&self, other: &Self) -> u64 {
        let same = self.parts.iter().zip(&other.parts).take_while(|(one, two)| one == two);
        same.last().map_or(0, |((_, end), _)| u64::from(*end))
    }
}

/// Tool by tool; those beyond the bound are marked together.
fn tools(body: &[u8], outline: &Outline) -> Mark {
    let mut mark = Mark::default();
    let text = outline.tools_at.clone().and_then(|at| body.get(at)).and_then(|text| Scanner::from_bytes(text).ok());
    let Some(mut scanner) = text else { return mark };
    let read = scanner.array::<JsonError>(|s| {
        let at = s.skip()?;
        let tool = s.text(at).as_bytes();
        mark.loose = mark.loose.wrapping_add(xxh3_64(tool));
        if mark.parts.len() < MARKED_TOOLS_MAX {
            mark.add(tool);
        }
        Ok(())
    });
    // The same text was read before.
    debug_assert!(read.is_ok(), "tools are a list");
    mark
}

/// Block by block, up to a bound; what is beyond it counts as it stands.
fn instructions(body: &[u8], outline: &Outline) -> Mark {
    let mut mark = Mark::default();
    for at in &outline.instructions {
        let text = body.get(at.clone()).unwrap_or_default();
        let left = SKETCH_TEXT_BYTES_MAX.saturating_sub(mark.bytes as usize).min(text.len());
        let (read, beyond) = text.split_at(left);
        read.chunks(BLOCK_BYTES).for_each(|block| mark.add(block));
        mark.loose = xxh3_64_with_seed(beyond, xxh3_64_with_seed(&masked(read).0, mark.loose));
    }
    mark
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prompt::outline::Speaker;

    /// A body of tools, a format and two messages, with where they stand.
    fn body(tools: &[&str], format: &str, system: &str) -> (String, Outline) {
        let (mut body, mut outline) = (String::new(), Outline::default());
        let tool = |name: &&str| serde_json::json!({"type": "function", "function": {"name": name, "parameters": {}}});
        let tools = serde_json::json!(tools.iter().map(tool).collect::<Vec<_>>()).to_string();
        body.push_str(&tools);
        outline.tools_at = Some(0..body.len());
        outline.chain.head.with(1, &tools);
        outline.chain.head.with(2, &serde_json::json!({ "type": format }).to_string());
        for (speaker, text) in [(Speaker::Instructions, system), (Speaker::User, "hello")] {
            let start = body.len();
            body.push_str(&serde_json::json!(text).to_string());
            outline.message(speaker, &body[start..], &body[start..], Some(start..body.len()));
        }
        (body, outline)
    }

    #[track_caller]
    fn check(before: &(String, Outline), after: &(String, Outline), culprit: &str, bytes: std::ops::Range<u64>) {
        let (mut marks, mut sides) = (Marks::default(), Sides { heads: [0; 2], openings: [0; 2] });
        for (place, (body, outline)) in [before, after].into_iter().enumerate() {
            (sides.heads[place], sides.openings[place]) = (half(outline.chain.head.hash), half(outline.chain.opening));
            marks.note(body.as_bytes(), outline);
        }
        let found = marks.explain(&sides);
        assert_eq!(found.culprit, culprit);
        assert!(bytes.contains(&found.bytes.expect("both sides are known")), "{found:?}");
        let unknown = Marks::default().explain(&sides);
        assert!(matches!(unknown, Change { culprit: "tools" | "system", bytes: None }), "{unknown:?}");
    }

    #[test]
    fn what_changed_at_the_beginning_of_a_prompt_is_told_with_about_where() {
        let long = "Answer in one line, and name the table that you looked at. ".repeat(100);
        let at = |hour: &str| format!("{long} It is {hour}. {long}");
        let tools = ["query", "restart", "ticket"];
        let plain = body(&tools, "text", &long);
        check(&plain, &body(&["query", "ticket", "restart"], "text", &long), "tool_order", 40..80);
        check(&plain, &body(&["query", "restart"], "text", &long), "tools", 80..150);
        check(&plain, &body(&tools, "json_object", &long), "format", 120..240);
        check(&plain, &body(&[], "text", &long), "tools", 0..1);
        check(&body(&tools, "text", &at("10:02")), &body(&tools, "text", &at("9:57")), "timestamp", 5_600..6_100);
        check(&body(&tools, "text", &at("ten")), &body(&tools, "text", &at("nine")), "system", 5_600..6_100);
        check(
            &body(&tools, "text", &format!("It is 10:02. {long}")),
            &body(&tools, "text", &format!("It is 11:40. {long}")),
            "timestamp",
            150..400,
        );
        // Tools stand first: they broke it, whatever else changed behind them.
        check(&body(&["a", "b"], "text", &at("10:02")), &body(&["b", "a"], "text", &at("10:03")), "tool_order", 0..1);
    }

    #[test]
    fn what_is_too_long_to_be_read_counts_as_it_stands() {
        let long = "x ".repeat(SKETCH_TEXT_BYTES_MAX);
        let with = |end: &str| body(&["a"], "text", &format!("{long}{end}"));
        check(
            &with("10:02"),
            &with("10:03"),
            "system",
            SKETCH_TEXT_BYTES_MAX as u64..SKETCH_TEXT_BYTES_MAX as u64 + 200,
        );
    }

    #[test]
    fn beginnings_that_are_no_longer_met_are_forgotten() {
        let mut marks = Marks::default();
        for n in 0..MARKS_MAX * 2 {
            let (body, outline) = body(&[], "text", &format!("system {n}"));
            marks.note(body.as_bytes(), &outline);
            assert!(marks.young.len() + marks.old.len() <= MARKS_MAX);
        }
    }
}
