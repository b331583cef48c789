//! Whether one glob matches whatever another does.
//!
//! The narrow glob is turned into examples of what it matches: each of its wildcards stands for nothing and for more than the
//! wide glob can count, made of a letter that no glob has. If the wide glob matches all of these, its own wildcards took
//! them, and would take anything. Sets of letters and escapes are not gone into: there the answer is no.

use globset::GlobMatcher;

/// Stands for any letter.
const LETTER: &str = "\u{1}";

/// More examples, or more alternatives in braces, are not tried.
const EXAMPLES_MAX: usize = 256;

/// Whether `wide`, which is written as `wide_text`, matches whatever `narrow` does; no where that is hard to tell.
pub(super) fn covers(wide: &GlobMatcher, wide_text: &str, narrow: &str) -> bool {
    let is_read = |glob: &str| !glob.contains(['[', ']', '\\']);
    if wide_text == narrow {
        return true;
    }
    if !is_read(wide_text) || !is_read(narrow) {
        return false;
    }
    let name = LETTER.repeat(wide_text.len() + 1);
    let folders = format!("{name}/").repeat(wide_text.matches('/').count() + 2);
    let Some(alternatives) = alternatives(narrow) else { return false };
    alternatives.iter().all(|narrow| {
        let examples = examples(narrow, &name, &folders);
        examples.is_some_and(|examples| examples.iter().all(|path| wide.is_match(path)))
    })
}

/// A glob without braces for each choice that it leaves; `None` for too many.
fn alternatives(glob: &str) -> Option<Vec<String>> {
    let (mut done, mut open) = (Vec::new(), vec![glob.to_owned()]);
    while let Some(glob) = open.pop() {
        // The innermost braces come first: the last that opens before the first that closes.
        let Some(end) = glob.find('}') else {
            done.push(glob);
            continue;
        };
        let start = glob[..end].rfind('{')?;
        for choice in glob[start + 1..end].split(',') {
            open.push(format!("{}{choice}{}", &glob[..start], &glob[end + 1..]));
        }
        if open.len() + done.len() > EXAMPLES_MAX {
            return None;
        }
    }
    Some(done)
}

/// What a glob without braces matches, with every wildcard at its shortest and at its longest; `None` for too many.
fn examples(glob: &str, name: &str, folders: &str) -> Option<Vec<String>> {
    let (mut examples, mut rest, mut after_slash) = (vec![String::new()], glob, true);
    while let Some(next) = rest.chars().next() {
        let deep =
            rest.strip_prefix("**").filter(|behind| after_slash && (behind.is_empty() || behind.starts_with('/')));
        let (stands_for, behind): (Vec<String>, &str) = match deep {
            Some("") => (vec![name.to_owned(), format!("{folders}{name}")], ""),
            Some(behind) => (vec![String::new(), format!("{name}/"), folders.to_owned()], &behind[1..]),
            None if next == '*' => (vec![String::new(), name.to_owned()], &rest[1..]),
            None if next == '?' => (vec![LETTER.to_owned()], &rest[1..]),
            None => (vec![next.to_string()], &rest[next.len_utf8()..]),
        };
        if examples.len() * stands_for.len() > EXAMPLES_MAX {
            return None;
        }
        let longer =
            |example: &String| stands_for.iter().map(move |what| format!("{example}{what}")).collect::<Vec<_>>();
        examples = examples.iter().flat_map(longer).collect();
        after_slash = next == '/' || deep.is_some();
        rest = behind;
    }
    Some(examples)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::patterns::{path_pattern, pattern};

    #[test]
    fn a_glob_covers_what_is_narrower() {
        for (wide, narrow, expected) in [
            ("**/*.sql", "**/migrations/*.sql", true),
            ("**/*.sql", "**/*.{sql,ddl}", false),
            ("**/*.{sql,ddl}", "**/*.sql", true),
            ("**/*.{sql,ddl}", "**/{old,new}/*.{sql,ddl}", true),
            ("**/*.SQL", "**/*.sql", true),
            ("**/migrations/**", "**/db/migrations/*.sql", true),
            ("**/migrations/**", "**/db/migrations", false),
            ("**/db/*", "**/db/x.sql", true),
            ("**/db/**", "**/db/migrations/*.sql", true),
            ("**/db/*.sql", "**/db/migrations/*.sql", false),
            ("**/migrations/*.sql", "**/*.sql", false),
            ("**/*", "**/*", true),
            ("**/*", "/etc/**", true),
            ("**", "/etc/*.conf", true),
            ("/srv/*.sql", "**/db/*.sql", false),
            ("**/?.sql", "**/*.sql", false),
            ("**/?*.sql", "**/*.sql", false),
            ("**/*.sql", "**/?.sql", true),
            ("**/*/*.sql", "**/*.sql", false),
            ("**/[a-z].sql", "**/a.sql", false),
            ("**/[a-z].sql", "**/[a-z].sql", true),
            ("**/*.sql", "**/[ab].sql", false),
        ] {
            assert_eq!(covers(&path_pattern(wide).unwrap(), wide, narrow), expected, "{wide}, {narrow}");
        }
    }

    #[test]
    fn a_name_of_a_tool_is_covered_by_a_wider_one() {
        for (wide, narrow, expected) in [
            ("run_*", "run_sql", true),
            ("run_*", "run_sql_*", true),
            ("*", "run_*", true),
            ("run_sql", "run_*", false),
            ("run_?", "run_*", false),
            ("run_{sql,shell}", "run_sql", true),
            ("run_sql", "run_{sql,shell}", false),
        ] {
            assert_eq!(covers(&pattern(wide).unwrap(), wide, narrow), expected, "{wide}, {narrow}");
        }
    }

    #[test]
    fn what_would_take_too_many_examples_is_not_covered() {
        let many = "{a,b}".repeat(12);
        assert!(!covers(&path_pattern("**/*").unwrap(), "**/*", &many));
    }
}
