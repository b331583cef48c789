//! Paths that a text mentions, held against globs.
//!
//! A path is a word with a `/` or a `.` in it, without the quotes, brackets and punctuation around it and without the
//! line number behind it. A glob that does not begin with `/` matches at any depth, since agents name files from
//! wherever they stand.

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

use crate::limits::POLICY_PATH_BYTES_MAX;

/// The globs of one rule, compiled.
#[derive(Clone, Debug)]
pub struct Paths {
    written: Vec<String>,
    globs: GlobSet,
}

impl Paths {
    /// Compiles globs in which `*` stays within a folder and `**` does not.
    ///
    /// # Errors
    ///
    /// What is wrong with the glob at this index; `None` if all of them together are too large.
    pub fn new(written: &[&str]) -> Result<Self, (Option<usize>, String)> {
        let mut globs = GlobSetBuilder::new();
        for (index, text) in written.iter().enumerate() {
            let anywhere = if text.starts_with('/') || text.starts_with("**") { "" } else { "**/" };
            let glob = GlobBuilder::new(&format!("{anywhere}{text}")).literal_separator(true).build();
            globs.add(glob.map_err(|error| (Some(index), error.kind().to_string()))?);
        }
        let globs = globs.build().map_err(|error| (None, error.kind().to_string()))?;
        Ok(Self { written: written.iter().map(|text| (*text).to_owned()).collect(), globs })
    }

    /// Whether a path in `text` matches one of them.
    pub fn mentioned_in(&self, text: &str) -> bool {
        mentioned(text).any(|path| self.globs.is_match(path))
    }

    pub(super) fn cover(&self, other: &Self) -> bool {
        let is_any = |glob: &String| matches!(&**glob, "**" | "**/*");
        self.written.iter().any(is_any) || other.written.iter().all(|glob| self.written.contains(glob))
    }
}

/// The words of a text that look like paths.
fn mentioned(text: &str) -> impl Iterator<Item = &str> {
    let between = |c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '`' | '<' | '>' | '|' | ',' | ';' | '=');
    text.split(between).map(path_of).filter(|path| path.contains(['/', '.']) && path.len() <= POLICY_PATH_BYTES_MAX)
}

/// A word without what surrounds a path in prose, in a link and in a compiler's message.
fn path_of(word: &str) -> &str {
    let word = word.trim_start_matches(['(', '[', '{', '“', '‘', '«', '*']);
    // `[name](path)`, and `path:12:5: message`.
    let word = word.rsplit_once("](").map_or(word, |(_, target)| target);
    let word = word.trim_end_matches(['.', ':', '!', '?', ')', ']', '}', '”', '’', '»', '*', '…']);
    let mut path = word;
    while let Some((before, number)) = path.rsplit_once(':')
        && number.bytes().all(|byte| byte.is_ascii_digit())
    {
        path = before;
    }
    path.strip_prefix("./").unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(glob: &str, text: &str, expected: bool) {
        assert_eq!(Paths::new(&[glob]).unwrap().mentioned_in(text), expected, "{glob} in {text:?}");
    }

    #[test]
    fn paths_are_found_in_prose_links_and_messages() {
        for text in [
            "db/migrations/0007_orders.sql",
            "look at `db/migrations/0007_orders.sql`, please",
            "(see db/migrations/0007_orders.sql).",
            "/home/ana/shop/db/migrations/0007_orders.sql:12:5: error: near \"DROP\"",
            "./migrations/0007_orders.sql",
            "[the migration](db/migrations/0007_orders.sql)",
            "--file=db/migrations/0007_orders.sql",
            "diff --git a/db/migrations/0007_orders.sql b/db/migrations/0007_orders.sql",
        ] {
            check("**/migrations/*.sql", text, true);
            check("migrations/*.sql", text, true);
            check("*.sql", text, true);
        }
    }

    #[test]
    fn a_star_stays_in_its_folder_and_a_leading_slash_at_the_root() {
        check("migrations/*.sql", "migrations/old/1.sql", false);
        check("migrations/**/*.sql", "migrations/old/1.sql", true);
        check("/etc/*.conf", "edit /etc/app.conf", true);
        check("/etc/*.conf", "edit root/etc/app.conf", false);
        check("*.sql", "the sql of it", false);
    }
}
