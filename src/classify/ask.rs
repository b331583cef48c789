//! Tells what a person or program asks from what it attached.
//!
//! The last user turn is cut into lines; lines of prose are the ask, all others (log lines, tables, code, JSON, whatever
//! stands in a fence) are material. The *form* of an ask says more about the work than its topic, and must not drown in
//! forty lines of log.

use super::shape::{Shape, shape_of};

/// Bytes of the ask that are looked at: as many from its beginning as from its end.
const ASK_BYTES_MAX: usize = 900;
/// Bytes of material whose words are looked at.
const MATERIAL_BYTES_MAX: usize = 300;

/// A turn, taken apart.
#[derive(Default, Debug)]
pub(super) struct Parts {
    /// The prose, line by line.
    pub ask: String,
    /// The beginning of the material.
    pub material: String,
    /// What shapes the material's lines have.
    pub shapes: Shapes,
}

/// How many lines of material there are, and of which shapes.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Shapes {
    /// Lines.
    pub lines: u32,
    /// Lines of each shape, in the order of [`Shape::ALL`].
    pub of: [u32; Shape::ALL.len()],
}

impl Shapes {
    /// Those of something that is material as a whole: what a tool returned.
    pub fn of_result(text: &str) -> Self {
        let mut shapes = Self::default();
        text.lines().filter(|line| !line.trim().is_empty()).for_each(|line| shapes.add(shape_of(line)));
        shapes
    }

    /// These and others.
    pub fn and(mut self, others: Self) -> Self {
        self.lines += others.lines;
        self.of.iter_mut().zip(others.of).for_each(|(count, more)| *count += more);
        self
    }

    fn add(&mut self, shape: Shape) {
        self.lines += 1;
        for (count, one) in self.of.iter_mut().zip(Shape::ALL) {
            *count += u32::from(shape.is(one));
        }
    }
}

impl Parts {
    /// Takes a user turn apart.
    pub fn of_turn(text: &str) -> Self {
        let mut parts = Self::default();
        let mut fenced = false;
        for line in text.lines() {
            let trimmed = line.trim();
            if trimmed.is_empty() {
                continue;
            }
            let fence = trimmed.starts_with("```");
            let shape = shape_of(line);
            if fence || fenced || !shape.is_prose() {
                parts.add_material(line, shape);
            } else {
                parts.ask.push_str(line);
                parts.ask.push('\n');
            }
            fenced ^= fence;
        }
        parts.ask = clipped(parts.ask);
        parts
    }

    /// Takes something for material as a whole: what a tool returned.
    pub fn add_result(&mut self, text: &str) {
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            self.add_material(line, shape_of(line));
        }
    }

    /// The beginning of the material that several results are.
    pub fn beginning_of(results: &[&str]) -> String {
        let mut parts = Self::default();
        let lines = results.iter().flat_map(|result| result.lines()).filter(|line| !line.trim().is_empty());
        for line in lines {
            parts.add_words(line);
            if parts.material.len() >= MATERIAL_BYTES_MAX {
                break;
            }
        }
        parts.material
    }

    fn add_material(&mut self, line: &str, shape: Shape) {
        self.shapes.add(shape);
        self.add_words(line);
    }

    fn add_words(&mut self, line: &str) {
        if self.material.len() < MATERIAL_BYTES_MAX {
            self.material.push_str(line);
            self.material.push('\n');
        }
    }
}

/// The beginning and the end of what is too long.
fn clipped(mut text: String) -> String {
    let half = ASK_BYTES_MAX / 2;
    if text.len() > ASK_BYTES_MAX {
        let (head, tail) = (text.floor_char_boundary(half), text.ceil_char_boundary(text.len() - half));
        text.replace_range(head..tail, "\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(turn: &str, ask: &str) {
        assert_eq!(Parts::of_turn(turn).ask.trim(), ask, "{turn}");
    }

    #[test]
    fn a_log_is_material_and_the_question_below_it_is_the_ask() {
        check(
            "2026-11-02 02:10:01 ERROR worker-3 lost heartbeat\n2026-11-02 02:10:09 INFO restarted\n\nwhy does it die?",
            "why does it die?",
        );
    }

    #[test]
    fn whatever_stands_in_a_fence_is_material() {
        check(
            "Please look at this:\n```\nthe quick brown fox\n```\nand shorten it",
            "Please look at this:\nand shorten it",
        );
    }

    #[test]
    fn tables_json_code_and_diffs_are_material() {
        check(
            "id|name|amount\n1|a|2\n{\"a\": 1, \"b\": [2]}\ndef f(x):\n    return x + 1;\n@@ -1,2 +1,2 @@\nsum it up",
            "sum it up",
        );
    }

    #[test]
    fn a_long_ask_is_looked_at_from_both_ends() {
        let parts = Parts::of_turn(&format!("first words {} last words", "and so on ".repeat(200)));
        assert!(parts.ask.starts_with("first words") && parts.ask.trim_end().ends_with("last words"));
        assert!(parts.ask.len() <= ASK_BYTES_MAX + 1);
    }
}
