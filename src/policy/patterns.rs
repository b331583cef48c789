//! Patterns of names and paths, bounded before they are compiled.
//!
//! The compiler of globs calls itself once a brace and gives up with a panic on what is nested too deep, so that a file
//! that people write must not reach it as it is. Everything that takes a pattern from a file compiles it here.

use globset::{Glob, GlobBuilder, GlobMatcher};

use crate::limits::{PATTERN_BRACES_MAX, PATTERN_BYTES_MAX};

/// A pattern in which `*` stands for anything, slashes included.
///
/// # Errors
///
/// What is wrong with it.
pub fn pattern(text: &str) -> Result<GlobMatcher, String> {
    bounded(text)?;
    compiled(Glob::new(text))
}

/// A pattern in which `*` stays within a folder; small and capital letters are the same.
pub(super) fn path_pattern(text: &str) -> Result<GlobMatcher, String> {
    bounded(text)?;
    compiled(GlobBuilder::new(text).literal_separator(true).case_insensitive(true).build())
}

fn compiled(glob: Result<Glob, globset::Error>) -> Result<GlobMatcher, String> {
    glob.map(|glob| glob.compile_matcher()).map_err(|error| error.kind().to_string())
}

fn bounded(text: &str) -> Result<(), String> {
    if text.len() > PATTERN_BYTES_MAX {
        return Err(format!("it has {} bytes; wanted at most {PATTERN_BYTES_MAX}", text.len()));
    }
    let (mut depth, mut deepest) = (0_usize, 0);
    for byte in text.bytes() {
        match byte {
            b'{' => depth += 1,
            b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    if deepest > PATTERN_BRACES_MAX {
        return Err(format!("it has {deepest} braces within each other; wanted at most {PATTERN_BRACES_MAX}"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_bounded_before_it_is_compiled() {
        let braces = |depth: usize| format!("{}a{}", "{".repeat(depth), "}".repeat(depth));
        for (text, expected) in [
            (braces(PATTERN_BRACES_MAX), None),
            (braces(PATTERN_BRACES_MAX + 1), Some("it has 9 braces within each other; wanted at most 8")),
            (braces(300), Some("it has 300 braces within each other; wanted at most 8")),
            (braces(10_000), Some("it has 20001 bytes; wanted at most 1024")),
            ("{a,b}".repeat(200), None),
            ("**/".repeat(340), None),
            ("?".repeat(PATTERN_BYTES_MAX), None),
            ("[".to_owned(), Some("unclosed character class; missing ']'")),
        ] {
            for compiled in [pattern(&text), path_pattern(&text)] {
                assert_eq!(compiled.map(drop).err().as_deref(), expected, "{}…", &text[..text.len().min(20)]);
            }
        }
    }
}
