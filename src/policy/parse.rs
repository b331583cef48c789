//! From the outline of a file to its policy: what headings, bullets and examples mean.
//!
//! A heading of the second level whose first word is a tier begins that tier's section; bullets in it are tasks. Nothing
//! that looks like a task, a tier or a test is passed over in silence: near misses are errors.

use sha2::{Digest, Sha256};

use crate::limits::{NAME_BYTES_MAX, POLICY_BYTES_MAX, POLICY_EXAMPLES_MAX, POLICY_TASKS_MAX};
use crate::problem::{Place, Problem, nearest_hint};
use crate::task::Tier;
use crate::yaml::findings::{Findings, found};

use super::front_matter::{self, FrontMatter};
use super::headings::{self, Meaning};
use super::options;
use super::outline::{self, Block, Bullet, Lines, Unread};
use super::words::{slug, split_arrow, unquoted};
use super::{AppliesTo, Expected, Policy, PolicyTest, Rules, Task, doubts};

/// Hex digits of the hash in a version.
const VERSION_DIGITS: usize = 4;
/// The stem of the policy that applies where no other does.
const DEFAULT: &str = "default";

/// Reads a policy file that problems call `file_name`; its stem is the policy's name.
///
/// What is allowed and yet probably not meant comes along with a good policy, as warnings.
///
/// # Errors
///
/// Everything that is wrong with the file, in its order.
pub fn parse(file_name: &str, text: &str) -> Result<(Policy, Vec<Problem>), Vec<Problem>> {
    if text.len() > POLICY_BYTES_MAX {
        let message = format!("has {} bytes; wanted a policy of at most {POLICY_BYTES_MAX}", text.len());
        return Err(vec![Problem::of_file(file_name, message)]);
    }
    let name = stem(file_name);
    let hash: [u8; 32] = Sha256::digest(text.as_bytes()).into();
    let mut reader = Reader::new(file_name);
    reader.check_name(name);
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if let Some((place, message)) = front_matter::near_miss(text) {
        reader.findings.report(place, message);
    }
    let front = match front_matter::split(text) {
        Ok(parts) => {
            let front = parts.front.map(|(front, line)| front_matter::read(&mut reader.findings, front, line));
            let lines = Lines::new(parts.body.0, parts.body.1);
            reader.body(outline::read(parts.body.0, &lines), parts.body.0, &lines);
            front.unwrap_or_default()
        }
        Err(line) => {
            let message = "front matter begins here and does not end; wanted a second line of `---` below it";
            reader.findings.report(Place { line, column: 1 }, message);
            FrontMatter::default()
        }
    };
    reader.finish(name, hash, front)
}

/// The name of a policy from its file's.
pub(super) fn stem(file_name: &str) -> &str {
    let name = file_name.rsplit('/').next().unwrap_or(file_name);
    let end = name.len().saturating_sub(3);
    match name.get(end..) {
        Some(extension) if extension.eq_ignore_ascii_case(".md") => &name[..end],
        _ => name,
    }
}

/// Where reading stands.
enum Section {
    /// `lost` is what to say of bullets in it, as an error if that is sure.
    Prose {
        heading: Option<(String, Place)>,
        lost: Option<(String, bool)>,
    },
    Tier {
        tier: Tier,
        at: Place,
        tasks_before: usize,
    },
    Examples {
        at: Place,
        tests_before: usize,
    },
}

/// What leads a list in.
#[derive(Clone, PartialEq, Eq)]
enum LeadIn {
    Nothing,
    UseFor,
    Other(String, Place),
}

struct Reader<'a> {
    file: &'a str,
    findings: Findings<'a>,
    warnings: Vec<Problem>,
    tasks: Vec<Task>,
    tests: Vec<PolicyTest>,
    examples: usize,
    too_many_tasks: bool,
}

impl<'a> Reader<'a> {
    fn new(file: &'a str) -> Self {
        let findings = Findings::new(file);
        Self {
            file,
            findings,
            warnings: Vec::new(),
            tasks: Vec::new(),
            tests: Vec::new(),
            examples: 0,
            too_many_tasks: false,
        }
    }

    fn check_name(&mut self, name: &str) {
        if name.is_empty() || name.len() > NAME_BYTES_MAX || name.trim() != name || name.contains(char::is_control) {
            let message =
                format!("the file's name is no policy's; wanted 1 to {NAME_BYTES_MAX} bytes in front of `.md`");
            self.findings.report(Place { line: 0, column: 0 }, message);
        }
    }

    fn body(&mut self, blocks: Vec<Block>, source: &str, lines: &Lines<'_>) {
        let mut section = Section::Prose { heading: None, lost: None };
        let mut lead_in = LeadIn::Nothing;
        for block in blocks {
            match block {
                Block::Heading { level, text, at } => {
                    self.refuse_stray_front_matter(&text, at);
                    lead_in = LeadIn::Nothing;
                    options::refuse_overlooked(&mut self.findings, &text, &options::TASK, at);
                    section = self.heading(section, level, text, at);
                }
                Block::Paragraph { text, raw, at } => {
                    self.refuse_stray_front_matter(&text, at);
                    self.refuse_almost_heading(&text, at);
                    self.refuse_almost_bullets(&section, source, raw, lines);
                    if !matches!(section, Section::Prose { .. }) {
                        options::refuse_overlooked(&mut self.findings, &text, &options::TASK, at);
                    }
                    lead_in = led_in(text, at);
                    if let (LeadIn::UseFor, Section::Prose { heading, lost }) = (&lead_in, &mut section) {
                        self.stray_use_for(heading.as_ref(), at);
                        // The list below it is told of with this.
                        *lost = None;
                    }
                }
                Block::List(bullets) => {
                    self.list(&mut section, std::mem::replace(&mut lead_in, LeadIn::Nothing), bullets)
                }
                Block::IndentedList { at } if !matches!(section, Section::Prose { .. }) => {
                    let message = "a list that is indented so far is code in Markdown; wanted it at the margin";
                    self.findings.report(at, message);
                }
                Block::IndentedList { .. } => {}
                Block::Unread { what, raw } => {
                    self.unread(&section, what, &source[raw.clone()], raw.start, lines);
                }
            }
        }
        self.end(section);
    }

    /// Ends a section where its heading says so, and begins the next.
    fn heading(&mut self, section: Section, level: usize, text: String, at: Place) -> Section {
        match headings::meaning(level, &text) {
            Meaning::Tier(tier) => {
                self.end(section);
                Section::Tier { tier, at, tasks_before: self.tasks.len() }
            }
            Meaning::Examples => {
                self.end(section);
                Section::Examples { at, tests_before: self.tests.len() }
            }
            Meaning::NearMiss(message) => {
                self.findings.report(at, message);
                self.end(section);
                // What stands below has been reported with its heading.
                Section::Prose { heading: None, lost: None }
            }
            Meaning::NearMissWithBullets(message) => {
                self.end(section);
                Section::Prose { heading: Some((text, at)), lost: Some((message, true)) }
            }
            Meaning::Doubtful(message) => {
                self.end(section);
                Section::Prose { heading: Some((text, at)), lost: Some((message, false)) }
            }
            Meaning::Prose if level <= 2 => {
                self.end(section);
                Section::Prose { heading: Some((text, at)), lost: None }
            }
            Meaning::Prose => section,
        }
    }

    /// Notes a section without content.
    fn end(&mut self, section: Section) {
        let nothing_wrong = self.findings.count() == 0;
        match section {
            Section::Tier { tier, at, tasks_before } if tasks_before == self.tasks.len() && nothing_wrong => {
                let message = format!("the section of `{tier}` has no bullets, so that no work goes there by itself");
                self.warnings.push(Problem::at(self.file, at, message));
            }
            Section::Examples { at, tests_before } if tests_before == self.tests.len() && nothing_wrong => {
                let message = "the examples have no bullets, so that nothing is held against the policy";
                self.warnings.push(Problem::at(self.file, at, message));
            }
            _ => {}
        }
    }

    fn list(&mut self, section: &mut Section, lead_in: LeadIn, bullets: Vec<Bullet>) {
        match (section, lead_in) {
            (Section::Prose { lost, .. }, _) => self.bullets_of_nobody(lost.take(), &bullets),
            (Section::Tier { .. }, LeadIn::Other(words, _)) if is_negative(&words) => {}
            (Section::Tier { tier, .. }, LeadIn::Other(words, at)) => {
                let message = format!(
                    "the list under {} says not whether `{tier}` does this work; wanted `Use for:`, or a line with \
                     `not` in it for what it does not do",
                    found(&words)
                );
                self.findings.report(at, message);
            }
            (Section::Tier { tier, .. }, _) => bullets.iter().for_each(|bullet| self.task(*tier, bullet)),
            (Section::Examples { .. }, _) => bullets.iter().for_each(|bullet| self.test(bullet)),
        }
    }

    /// Bullets in no section: prose, unless their heading or they themselves look like more.
    fn bullets_of_nobody(&mut self, lost: Option<(String, bool)>, bullets: &[Bullet]) {
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
    fn unread(&mut self, section: &Section, what: Unread, raw: &str, from: usize, lines: &Lines<'_>) {
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

    fn task(&mut self, tier: Tier, bullet: &Bullet) {
        let at = place_of(bullet);
        let (text, written) = options::split(&mut self.findings, bullet, &options::TASK, &options::TASK_NOT_BUILT);
        if text.is_empty() {
            self.findings.report(at, "an empty bullet; wanted the kind of work in a few words");
            return;
        }
        let (mut id, mut protected, mut max_output) = (None, false, None);
        for (key, value) in &written {
            match &*key.text {
                "id" => id = self.id(value),
                "protected" => {
                    protected = front_matter::switch(&mut self.findings, "protected", value).unwrap_or(false);
                }
                "max_output" => max_output = self.max_output(value),
                _ => front_matter::unread(&mut self.findings, key),
            }
        }
        let has_id = written.iter().any(|(key, _)| key.text == "id");
        let id = id.unwrap_or_else(|| slug(text));
        if !has_id && (id.is_empty() || Tier::parse(&id).is_some()) {
            let message =
                format!("{} makes no id; wanted one of your own behind it, such as `{{id: triage}}`", found(text));
            self.findings.report(at, message);
            return;
        }
        let examples = bullet.nested.iter().filter_map(|nested| self.example(nested)).collect();
        let task = Task { id, text: text.to_owned(), tier, examples, protected, max_output, at };
        if self.is_new(&task, has_id) {
            self.tasks.push(task);
        }
    }

    fn id(&mut self, node: &crate::yaml::Node<'_>) -> Option<String> {
        const WANTED: &str = "lower-case letters, digits, `-`, `_` and `.`, such as `log-parsing`";
        let text = self.findings.text("id", node, WANTED)?;
        let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_' | b'.');
        if text.is_empty() || text.len() > NAME_BYTES_MAX || !text.bytes().all(fits) {
            self.findings.report(node.place, format!("`id` is {}; wanted {WANTED}", found(text)));
        } else if Tier::parse(text).is_some() {
            self.findings.report(node.place, format!("`id` is `{text}`, which is a tier; wanted another word"));
        }
        Some(text.to_owned())
    }

    fn max_output(&mut self, node: &crate::yaml::Node<'_>) -> Option<u32> {
        let count = front_matter::count(&mut self.findings, "max_output", node, 10_000_000)?;
        if count == 0 {
            self.findings.report(node.place, "`max_output` is `0`; wanted room for an answer, such as `800`");
        }
        u32::try_from(count).ok()
    }

    fn example(&mut self, bullet: &Bullet) -> Option<String> {
        let text = unquoted(&bullet.text);
        let at = place_of(bullet);
        if let Some(braces) = &bullet.braces {
            options::refuse_overlooked(&mut self.findings, &braces.raw, &["protected"], at);
        }
        if text.is_empty() {
            self.findings.report(at, "an empty example; wanted a request as it could come in");
            return None;
        }
        if let Some(deeper) = bullet.nested.first() {
            let message = "a bullet under an example; wanted examples right under their bullet";
            self.findings.report(place_of(deeper), message);
        }
        self.count_example(at);
        Some(text.to_owned())
    }

    fn count_example(&mut self, at: Place) {
        self.examples += 1;
        if self.examples == POLICY_EXAMPLES_MAX + 1 {
            self.findings.report(at, format!("one example too many; wanted at most {POLICY_EXAMPLES_MAX} in a file"));
        }
    }

    /// Whether nothing like this was there before; what was is reported.
    fn is_new(&mut self, task: &Task, has_id: bool) -> bool {
        if self.tasks.len() >= POLICY_TASKS_MAX {
            if !std::mem::replace(&mut self.too_many_tasks, true) {
                self.findings
                    .report(task.at, format!("one bullet too many; wanted at most {POLICY_TASKS_MAX} in a file"));
            }
            return false;
        }
        let is_same = |earlier: &&Task| earlier.id == task.id || earlier.text.eq_ignore_ascii_case(&task.text);
        let Some(earlier) = self.tasks.iter().find(is_same) else { return true };
        let line = earlier.at.line;
        let message = if earlier.text.eq_ignore_ascii_case(&task.text) {
            let (one, other) = (earlier.tier, task.tier);
            if one == other {
                format!("{} occurs twice; first in line {line}", found(&task.text))
            } else {
                format!(
                    "{} stands under `{other}`, and in line {line} under `{one}`; wanted one tier",
                    found(&task.text)
                )
            }
        } else if has_id {
            format!("the id `{}` occurs twice; first in line {line}", task.id)
        } else {
            let id = &task.id;
            format!(
                "{} has the id `{id}`, as has line {line}; wanted `{{id: …}}` behind one of them",
                found(&task.text)
            )
        };
        self.findings.report(task.at, message);
        false
    }

    fn test(&mut self, bullet: &Bullet) {
        const WANTED: &str = "`\"a request\" → lightweight`";
        let at = place_of(bullet);
        let (text, written) = options::split(&mut self.findings, bullet, &options::TEST, &[]);
        let mut advisory = false;
        for (key, value) in &written {
            match &*key.text {
                "advisory" => {
                    advisory = front_matter::switch(&mut self.findings, "advisory", value).unwrap_or(false);
                }
                _ => front_matter::unread(&mut self.findings, key),
            }
        }
        if let Some(nested) = bullet.nested.first() {
            let message = "a bullet under a test; examples to learn from stand under the bullets of a tier";
            self.findings.report(place_of(nested), message);
        }
        let Some((request, target)) = split_arrow(text) else {
            self.findings.report(at, format!("{} has no arrow; wanted {WANTED}", found(text)));
            return;
        };
        let request = unquoted(request);
        if request.is_empty() || target.is_empty() {
            self.findings.report(at, format!("{} is half a test; wanted {WANTED}", found(text)));
            return;
        }
        self.count_example(at);
        let expected = match Tier::parse(&target.to_ascii_lowercase()) {
            Some(tier) => Expected::Tier(tier),
            None => Expected::Task(target.to_owned()),
        };
        self.tests.push(PolicyTest { request: request.to_owned(), expected, advisory, at });
    }

    /// A key of the front matter that stands outside of it would be lost.
    fn refuse_stray_front_matter(&mut self, text: &str, at: Place) {
        if let Some(word) = front_matter::key_of(text) {
            let message = format!(
                "`{word}:` stands outside of the front matter; wanted it between two lines of `---` at the top of the file"
            );
            self.findings.report(at, message);
        }
    }

    /// A heading that Markdown does not take for one would be lost, and all below it with it.
    fn refuse_almost_heading(&mut self, text: &str, at: Place) {
        let level = text.bytes().take_while(|byte| *byte == b'#').count();
        if level > 0 && !matches!(headings::meaning(level.min(2), &text[level..]), Meaning::Prose) {
            let message =
                format!("{} is no heading; wanted a space behind `{}`", found(text), "#".repeat(level.min(6)));
            self.findings.report(at, message);
        }
    }

    /// Bullets that Markdown does not take for bullets would be lost.
    fn refuse_almost_bullets(
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

    fn stray_use_for(&mut self, heading: Option<&(String, Place)>, at: Place) {
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

    fn finish(
        mut self,
        name: &str,
        hash: [u8; 32],
        front: FrontMatter,
    ) -> Result<(Policy, Vec<Problem>), Vec<Problem>> {
        self.check_targets();
        let applies_to = self.applies_to(name, &front);
        if self.tasks.is_empty() && !front.is_there && self.findings.count() == 0 {
            let message = "says nothing about any work; wanted a heading such as `## Lightweight model` with bullets";
            self.findings.report(Place { line: 0, column: 0 }, message);
        }
        let rules = Rules::new(front.rules).unwrap_or_else(|why| {
            let message = format!("the words of all rules cannot be searched for at once ({why}); wanted fewer");
            self.findings.report(Place { line: 0, column: 0 }, message);
            Rules::default()
        });
        self.findings.none()?;
        let digits: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        let policy = Policy {
            name: name.to_owned(),
            file: self.file.to_owned(),
            version: format!("{name}@{}", &digits[..VERSION_DIGITS]),
            sha256: hash,
            applies_to,
            default: front.default.unwrap_or(Tier::Frontier),
            confidence: front.confidence,
            treat_as_auto: front.treat_as_auto,
            holdout_ppm: front.holdout_ppm,
            rules,
            tasks: self.tasks,
            tests: self.tests,
        };
        self.warnings.extend(doubts::rules_without_effect(&policy));
        self.warnings.sort_by_key(|warning| (warning.line, warning.column));
        Ok((policy, self.warnings))
    }

    /// A test names a tier, or a task of the same file.
    fn check_targets(&mut self) {
        let ids: Vec<&str> = self.tasks.iter().map(|task| task.id.as_str()).collect();
        for test in &self.tests {
            let Expected::Task(id) = &test.expected else { continue };
            if ids.contains(&id.as_str()) {
                continue;
            }
            let hint = nearest_hint(id, ids.iter().copied().chain(Tier::ALL.map(Tier::as_str)));
            let message = format!(
                "{} is neither a tier nor a task of this file; wanted `frontier`, `reasoning`, `lightweight` or the id \
                 of a bullet{hint}",
                found(id)
            );
            self.findings.report(test.at, message);
        }
    }

    fn applies_to(&mut self, name: &str, front: &FrontMatter) -> AppliesTo {
        match &front.applies_to {
            Some((_, at)) if name == DEFAULT => {
                let message =
                    "`default.md` applies where no other policy does; wanted another name, or no `applies_to`";
                self.findings.report(*at, message);
                AppliesTo::default()
            }
            Some((applies_to, _)) => applies_to.clone(),
            None if name == DEFAULT => AppliesTo::default(),
            None => AppliesTo { pipelines: vec![name.to_owned()], ..AppliesTo::default() },
        }
    }
}

fn place_of(bullet: &Bullet) -> Place {
    bullet.at.unwrap_or(Place { line: 1, column: 1 })
}

/// What a paragraph in front of a list says about it: its last words, if they end with a colon.
fn led_in(text: String, at: Place) -> LeadIn {
    let Some(words) = text.strip_suffix(':') else { return LeadIn::Nothing };
    let last = words.rsplit(['.', '!', '?']).next().unwrap_or(words).trim();
    let plain = last.to_lowercase();
    let is_use_for = ["use for", "used for", "use it for", "use this for", "use this tier for", "use this model for"];
    if is_use_for.contains(&plain.as_str()) { LeadIn::UseFor } else { LeadIn::Other(text, at) }
}

/// Whether the words say what a tier does not do.
fn is_negative(words: &str) -> bool {
    let negative = ["not", "never", "avoid", "except", "don't", "don’t", "no"];
    words.split(|c: char| c.is_whitespace() || c == ':').any(|word| negative.contains(&word.to_lowercase().as_str()))
}
