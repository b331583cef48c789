//! What stands where nothing is read of it: near misses of headings, bullets and front matter, which would be lost.

use crate::problem::{Place, Problem};
use crate::task::Tier;
use crate::yaml::findings::found;

use super::super::front_matter;
use super::super::headings::{self, Meaning};
use super::super::options;
use super::super::outline::{Bullet, Lines, Unread};
use super::super::words::split_arrow;
use super::{Reader, Section, place_of};

impl Reader<'_> {
    /// Bullets in no section: prose, unless their heading or they themselves look like more.
    pub(super) fn bullets_of_nobody(&mut self, lost: Option<(String, bool)>, bullets: &[Bullet]) {
        let at = bullets.first().map_or(Place { line: 1, column: 1 }, place_of);
        match lost {
            Some((message, true)) => return self.findings.report(at, message),
            Some((message, false)) => self.warnings.push(Problem::at(self.file, at, message)),
            None => {}
        }
        for bullet in bullets {
            let (before, written) = bullet
                .braces
                .as_ref()
                .map_or((&*bullet.text, ""), |braces| (&bullet.text[..braces.from], braces.raw.as_str()));
            if options::names_some(written, &options::TASK) || options::names_some(written, &options::TEST) {
                let message =
                    "the bullet has options and stands in no section; wanted it under a tier or `## Examples`";
                self.findings.report(place_of(bullet), message);
            } else if split_arrow(before).is_some_and(|(_, to)| Tier::parse(&to.to_ascii_lowercase()).is_some()) {
                let message = "the bullet looks like a test and stands in no section; wanted it under `## Examples`";
                self.warnings.push(Problem::at(self.file, place_of(bullet), message));
            } else {
                options::refuse_overlooked(&mut self.findings, before, &options::TASK, place_of(bullet));
            }
        }
    }

    /// What nobody reads must hold nothing that was meant to be read.
    pub(super) fn unread(&mut self, section: &Section, what: Unread, raw: &str, from: usize, lines: &Lines<'_>) {
        let at = lines.place(from);
        let thing = match what {
            Unread::Comment { ends: true } => return,
            Unread::Comment { ends: false } => {
                let message = "a comment begins here and does not end; wanted `-->` behind it";
                return self.findings.report(at, message);
            }
            Unread::Code { ends: false } => {
                let message = "a block of code begins here and does not end; wanted a second fence below it";
                return self.findings.report(at, message);
            }
            Unread::Code { ends: true } => "code",
            Unread::Html => "HTML",
            Unread::Quotation => "a quotation",
        };
        let is_above_all = matches!(section, Section::Prose { heading: None, .. });
        let mut offset = from;
        for line in raw.split_inclusive(['\n', '\r']) {
            let text =
                line.trim_start_matches(|c: char| c == '>' || c.is_whitespace() || front_matter::is_invisible(c));
            let at = lines.place(offset + line.len() - text.len());
            offset += line.len();
            let level = text.bytes().take_while(|byte| *byte == b'#').count();
            let is_section = (1..=6).contains(&level) && {
                let meaning = headings::meaning(level, &text[level..]);
                matches!(meaning, Meaning::Tier(_) | Meaning::Examples | Meaning::NearMiss(_))
            };
            let message = if is_section {
                format!("{} stands in {thing} and is not read", found(text.trim_end()))
            } else if let Some(key) = front_matter::key_of(text) {
                format!(
                    "`{key}:` stands in {thing} and is not read; wanted it between two lines of `---` at the top of the file"
                )
            } else {
                continue;
            };
            if what == Unread::Html || is_above_all && !is_section {
                self.findings.report(at, message);
            } else {
                self.warnings.push(Problem::at(self.file, at, message));
            }
        }
    }

    /// A key of the front matter that stands outside of it would be lost.
    pub(super) fn refuse_stray_front_matter(&mut self, text: &str, at: Place) {
        if let Some(word) = front_matter::key_of(text) {
            let message = format!(
                "`{word}:` stands outside of the front matter; wanted it between two lines of `---` at the top of the file"
            );
            self.findings.report(at, message);
        }
    }

    /// A heading that Markdown does not take for one would be lost, and all below it with it.
    pub(super) fn refuse_almost_heading(&mut self, text: &str, at: Place) {
        let level = text.bytes().take_while(|byte| *byte == b'#').count();
        if level > 0 && !matches!(headings::meaning(level.min(2), &text[level..]), Meaning::Prose) {
            let message =
                format!("{} is no heading; wanted a space behind `{}`", found(text), "#".repeat(level.min(6)));
            self.findings.report(at, message);
        }
    }

    /// Bullets that Markdown does not take for bullets would be lost.
    pub(super) fn refuse_almost_bullets(
        &mut self,
        section: &Section,
        source: &str,
        raw: std::ops::Range<usize>,
        lines: &Lines<'_>,
    ) {
        if matches!(section, Section::Prose { .. }) {
            return;
        }
        let mut offset = raw.start;
        for line in source[raw].split_inclusive(['\n', '\r']) {
            let text = line.trim_start();
            let at = lines.place(offset + line.len() - text.len());
            let mark = text.chars().next().filter(|c| matches!(c, '•' | '·' | '●' | '‣' | '◦' | '–' | '—'));
            if let Some(mark) = mark {
                self.findings.report(at, format!("a line begins with `{mark}`, which makes no bullet; wanted `- `"));
            } else if text.strip_prefix('-').is_some_and(|rest| rest.starts_with(char::is_alphanumeric)) {
                self.findings.report(at, "a line begins with `-` without a space; wanted `- `");
            }
            offset += line.len();
        }
    }

    pub(super) fn stray_use_for(&mut self, heading: Option<&(String, Place)>, at: Place) {
        let message = match heading {
            Some((text, _)) => format!(
                "`Use for:` under {}, which names no tier; wanted a heading such as `## Lightweight model`",
                found(text)
            ),
            // The heading above was a near miss and has been reported, or there is none.
            None if self.findings.count() > 0 => return,
            None => "`Use for:` under no tier; wanted a heading such as `## Lightweight model` above it".to_owned(),
        };
        self.findings.report(at, message);
    }
}
