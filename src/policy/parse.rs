//! From the outline of a file to its policy: what headings, bullets and examples mean.
//!
//! A heading of the second level whose first word is a tier begins that tier's section; bullets in it are tasks. Nothing
//! that looks like a task, a tier or a test is passed over in silence: near misses are errors.

mod bullets;
mod strays;

use sha2::{Digest, Sha256};

use crate::limits::{NAME_BYTES_MAX, POLICY_BYTES_MAX};
use crate::problem::{Place, Problem, nearest_hint};
use crate::task::Tier;
use crate::yaml::findings::{Findings, found};

use super::front_matter::{self, FrontMatter};
use super::headings::{self, Meaning};
use super::options;
use super::outline::{self, Block, Bullet, Lines};
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
