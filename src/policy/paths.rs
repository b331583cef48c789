//! Paths that a text mentions, held against globs.
//!
//! A path is a word with a `/`, a `\` or a `.` in it, without the quotes, brackets and punctuation around it; with and
//! without the place behind it (`:12`, `#L3`, `(12`). Both slashes are the same, and so are small and capital letters: some
//! file systems do not tell them apart. A glob that does not begin with `/` matches at any depth, since agents name files
//! from wherever they stand.
//!
//! Most globs have letters that stand in whatever they match. The text is searched for those of all rules at once, and
//! only words that have them meet the globs that they belong to.

use std::borrow::Cow;
use std::fmt;

use aho_corasick::AhoCorasick;
use globset::GlobMatcher;

use crate::limits::POLICY_PATH_BYTES_MAX;

use super::patterns::path_pattern;
use super::wider::covers;

/// The globs of one rule.
#[derive(Clone)]
pub struct Paths {
    written: Vec<String>,
    globs: Vec<GlobMatcher>,
}

impl fmt::Debug for Paths {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.written.fmt(f)
    }
}

impl Paths {
    /// Compiles globs in which `*` stays within a folder and `**` does not.
    ///
    /// # Errors
    ///
    /// What is wrong with the glob at this index.
    pub fn new(written: &[&str]) -> Result<Self, (usize, String)> {
        let compile = |(index, text): (usize, &&str)| path_pattern(&anywhere(text)).map_err(|why| (index, why));
        let globs = written.iter().enumerate().map(compile).collect::<Result<_, _>>()?;
        Ok(Self { written: written.iter().map(|text| (*text).to_owned()).collect(), globs })
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.globs.len()
    }

    pub(super) fn cover(&self, other: &Self) -> bool {
        let covered = |narrow: &String| {
            let narrow = anywhere(narrow);
            self.written.iter().zip(&self.globs).any(|(wide, glob)| covers(glob, &anywhere(wide), &narrow))
        };
        other.written.iter().all(covered)
    }
}

/// A glob that does not begin with `/` matches at any depth.
fn anywhere(glob: &str) -> Cow<'_, str> {
    if glob.starts_with('/') || glob.starts_with("**") { glob.into() } else { format!("**/{glob}").into() }
}

/// The globs of several rules, each of which is a bit.
#[derive(Clone)]
pub(super) struct Mentions {
    globs: Vec<(GlobMatcher, u64)>,
    /// The letters that globs need; `None` where no glob needs any.
    letters: Option<AhoCorasick>,
    /// The globs that need these letters, by the index of the letters.
    by_letters: Vec<Vec<usize>>,
    /// Globs that need no letters.
    any: Vec<usize>,
    of_any: u64,
}

impl Mentions {
    /// Puts the globs of rules together.
    pub fn new<'p>(rules: impl IntoIterator<Item = (&'p Paths, u64)>) -> Result<Self, String> {
        let (mut globs, mut any) = (Vec::new(), Vec::new());
        let (mut letters, mut by_letters): (Vec<String>, Vec<Vec<usize>>) = (Vec::new(), Vec::new());
        for (paths, rule) in rules {
            for (written, glob) in paths.written.iter().zip(&paths.globs) {
                let index = globs.len();
                globs.push((glob.clone(), rule));
                let needed = needed_letters(written).to_ascii_lowercase();
                if needed.is_empty() {
                    any.push(index);
                } else if let Some(known) = letters.iter().position(|known| *known == needed) {
                    by_letters[known].push(index);
                } else {
                    letters.push(needed);
                    by_letters.push(vec![index]);
                }
            }
        }
        let build = || AhoCorasick::builder().ascii_case_insensitive(true).build(&letters).map_err(|e| e.to_string());
        let of_any = globs.iter().fold(0, |all, (_, rule)| all | rule);
        Ok(Self { letters: (!letters.is_empty()).then(build).transpose()?, globs, by_letters, any, of_any })
    }

    /// Which of the rules in `asked` have a path in a text that comes in parts.
    pub fn found_in<'t>(&self, parts: impl Iterator<Item = &'t str>, asked: u64) -> u64 {
        let mut search = Search { mentions: self, asked: asked & self.of_any, found: 0, tried: Vec::new(), path: 0 };
        for part in parts {
            let may_match = !self.any.is_empty() || self.letters.as_ref().is_some_and(|letters| letters.is_match(part));
            if may_match && search.is_open() {
                search.part(part);
            }
        }
        search.found
    }
}

struct Search<'m> {
    mentions: &'m Mentions,
    asked: u64,
    found: u64,
    /// The last path that had each of the letters, so that no glob is held against it twice.
    tried: Vec<u32>,
    path: u32,
}

impl Search<'_> {
    fn is_open(&self) -> bool {
        self.asked & !self.found != 0
    }

    fn part(&mut self, text: &str) {
        let between = |c: char| {
            c.is_whitespace()
                || matches!(c, '"' | '\'' | '`' | '<' | '>' | '|' | ',' | ';' | '=')
                || matches!(
                    c,
                    '“' | '”'
                        | '„'
                        | '‘'
                        | '’'
                        | '«'
                        | '»'
                        | '—'
                        | '、'
                        | '，'
                        | '。'
                        | '；'
                        | '：'
                        | '（'
                        | '）'
                )
        };
        for word in text.split(between) {
            if word.contains(['/', '\\', '.']) && word.len() <= POLICY_PATH_BYTES_MAX {
                self.readings(word);
                if !self.is_open() {
                    return;
                }
            }
        }
    }

    /// Holds everything that a word can mean against the globs.
    fn readings(&mut self, word: &str) {
        self.try_word(word);
        if word.contains('\\') {
            // A line break within JSON within a text. That `\n` may begin the name of a file has been tried above.
            word.split("\\n").flat_map(|word| word.split("\\t")).flat_map(|word| word.split("\\r")).for_each(|word| {
                self.try_word(word);
            });
        }
        if !word.is_ascii() {
            // In scripts without spaces a path touches the words around it.
            word.split(|c: char| !c.is_ascii()).for_each(|word| self.try_word(word));
        }
    }

    fn try_word(&mut self, word: &str) {
        let word = bare(word);
        if word.contains(['/', '\\', '.']) {
            self.try_globs(word);
            let short = without_place(word);
            if short.len() < word.len() {
                self.try_globs(bare(short));
            }
        }
    }

    fn try_globs(&mut self, path: &str) {
        let path = if path.contains('\\') { Cow::Owned(path.replace('\\', "/")) } else { Cow::Borrowed(path) };
        let path = path.strip_prefix("./").unwrap_or(&path);
        let mentions = self.mentions;
        self.tried.resize(mentions.by_letters.len(), 0);
        self.path = self.path.wrapping_add(1);
        mentions.any.iter().for_each(|glob| self.try_glob(*glob, path));
        for found in mentions.letters.iter().flat_map(|letters| letters.find_overlapping_iter(path)) {
            let letters = found.pattern().as_usize();
            if std::mem::replace(&mut self.tried[letters], self.path) != self.path {
                mentions.by_letters[letters].iter().for_each(|glob| self.try_glob(*glob, path));
            }
        }
    }

    fn try_glob(&mut self, index: usize, path: &str) {
        let (glob, rule) = &self.mentions.globs[index];
        if self.asked & !self.found & rule != 0 && glob.is_match(path) {
            self.found |= rule;
        }
    }
}

/// A word without what surrounds a path in prose and in a link.
fn bare(word: &str) -> &str {
    let word = word.trim_start_matches(['(', '[', '{', '*']);
    // `[name](path)`
    let word = word.rsplit_once("](").map_or(word, |(_, target)| target);
    word.trim_end_matches(['.', ':', '!', '?', ')', ']', '}', '*', '…', '\\', '#'])
}

/// A path without the place in the file behind it, such as `:12:5`, `:3-9`, `#L3` or `(12`.
fn without_place(mut path: &str) -> &str {
    while let Some((before, place)) = path.rsplit_once([':', '#', '?', '('])
        && !place.contains(['/', '\\'])
    {
        path = before;
    }
    path
}

/// The most letters in a row that stand in whatever a glob matches; none where that is hard to tell.
fn needed_letters(glob: &str) -> &str {
    // What a class or an escape makes of the rest is not worth finding out.
    let plain = glob.split(['[', '\\']).next().unwrap_or_default();
    let mut longest = "";
    let mut depth = 0_usize;
    let mut from = 0;
    for (at, c) in plain.char_indices().chain([(plain.len(), '*')]) {
        if matches!(c, '*' | '?' | '/' | '{' | '}' | ',') {
            if depth == 0 && at - from > longest.len() {
                longest = &plain[from..at];
            }
            from = at + c.len_utf8();
        }
        match c {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    longest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(glob: &str, text: &str, expected: bool) {
        let paths = Paths::new(&[glob]).unwrap();
        let found = Mentions::new([(&paths, 1)]).unwrap().found_in([text].into_iter(), 1) != 0;
        assert_eq!(found, expected, "{glob} in {text:?}");
    }

    #[test]
    fn a_glob_covers_narrower_ones_at_any_depth() {
        for (wide, narrow, expected) in [
            ("migrations/**", "**/migrations/**", true),
            ("**/migrations/**", "db/migrations/*.sql", true),
            ("*.SQL", "*.sql", true),
            ("*.sql", "db/orders.sql", true),
            ("*", "/etc/app.conf", true),
            ("db/*", "db/x.sql", true),
            ("/srv/*.sql", "db/*.sql", false),
            ("db/*.sql", "/srv/*.sql", false),
        ] {
            let [wide_paths, narrow_paths] = [wide, narrow].map(|glob| Paths::new(&[glob]).unwrap());
            assert_eq!(wide_paths.cover(&narrow_paths), expected, "{wide}, {narrow}");
        }
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
            "see db/migrations/0007_orders.sql#L3",
            "see https://git.example/blob/main/db/migrations/0007_orders.sql#L3-L9",
            "db/migrations/0007_orders.sql:3-9",
            "db/migrations/0007_orders.sql(12,5): error",
            "db/migrations/0007_orders.sql?raw",
            "db/migrations/0007_orders.sql’s first line",
            "db\\migrations\\0007_orders.sql",
            "C:\\shop\\db\\migrations\\0007_orders.sql:12",
            "Migrations/0007_ORDERS.SQL",
            r#"{\"path\":\"db/migrations/0007_orders.sql\"}"#,
            r#"{\"text\":\"done\nmigrations/0007_orders.sql\nend\"}"#,
            "请看db/migrations/0007_orders.sql吗",
        ] {
            check("**/migrations/*.sql", text, true);
            check("migrations/*.sql", text, true);
            check("*.sql", text, true);
            check("**/migrations/[0-9]*.{sql,py}", text, true);
        }
    }

    #[test]
    fn a_star_stays_in_its_folder_and_a_leading_slash_at_the_root() {
        check("migrations/*.sql", "migrations/old/1.sql", false);
        check("migrations/**/*.sql", "migrations/old/1.sql", true);
        check("/etc/*.conf", "edit /etc/app.conf", true);
        check("/etc/*.conf", "edit root/etc/app.conf", false);
        check("*.sql", "the sql of it", false);
        check("*", "a/b", true);
        check("*", "no path", false);
    }

    #[test]
    fn the_letters_that_a_glob_needs_are_outside_of_everything_that_varies() {
        for (glob, expected) in [
            ("**/migrations/*.sql", "migrations"),
            ("*.sql", ".sql"),
            ("{a,b}/longer", "longer"),
            ("{longest,a}x", "x"),
            ("a[b]ccc", "a"),
            (r"a\[ccc", "a"),
            ("**/*", ""),
            ("{a}", ""),
        ] {
            assert_eq!(needed_letters(glob), expected, "{glob}");
        }
    }

    #[test]
    fn one_pass_finds_the_paths_of_every_rule() {
        let rules = [["*.sql"], ["migrations/*"], ["*.py"]].map(|globs| Paths::new(&globs).unwrap());
        let mentions = Mentions::new(rules.iter().enumerate().map(|(rule, paths)| (paths, 1 << rule))).unwrap();
        let found = |text, asked| mentions.found_in([text].into_iter(), asked);
        assert_eq!(found("see migrations/1.sql", u64::MAX), 0b11);
        assert_eq!(found("see migrations/1.sql", 0b110), 0b10);
        assert_eq!(found("see a.rs", u64::MAX), 0);
    }
}
