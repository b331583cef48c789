//! Front matter: YAML between two lines of `---` at the top of a policy.
//!
//! Everything that is wrong is reported with its place in the Markdown file, and reading goes on.

use globset::GlobMatcher;

use crate::limits::{NAME_BYTES_MAX, POLICY_LIST_MAX, POLICY_PATTERNS_MAX, POLICY_RULES_MAX};
use crate::problem::{Place, nearest_hint};
use crate::task::Tier;
use crate::yaml::findings::{Findings, found};
use crate::yaml::{self, Key, Node, Value};

use super::AppliesTo;
use super::keywords::Keywords;
use super::paths::Paths;
use super::patterns::pattern;
use super::rules::{Rule, TokenRange, Tools, When};

/// Keys of the front matter.
pub(super) const KEYS: [&str; 6] = ["applies_to", "default", "confidence", "treat_as_auto", "holdout", "rules"];
/// Keys whose rooms are not built.
pub(super) const NOT_BUILT: [&str; 5] = ["promotion", "rollout", "run", "compress", "error_budget"];
pub(super) const APPLIES_TO: [&str; 4] = ["teams", "projects", "pipelines", "keys"];
pub(super) const RULE: [&str; 4] = ["when", "use", "protected", "because"];
pub(super) const WHEN: [&str; 4] = ["keywords", "globs", "tools", "prompt_tokens"];
pub(super) const PROMPT_TOKENS: [&str; 2] = ["over", "under"];

/// What front matter says.
#[derive(Default)]
pub(super) struct FrontMatter {
    pub applies_to: Option<(AppliesTo, Place)>,
    pub default: Option<Tier>,
    pub confidence: Option<f32>,
    pub treat_as_auto: Vec<GlobMatcher>,
    pub holdout_ppm: u32,
    pub rules: Vec<Rule>,
    /// Whether it says anything, right or wrong.
    pub is_there: bool,
}

/// The text without its front matter; the front matter, and the lines on which both begin.
pub(super) struct Parts<'a> {
    /// Between the two lines of `---`, with the number of its first line.
    pub front: Option<(&'a str, u32)>,
    /// What follows, with the number of its first line.
    pub body: (&'a str, u32),
}

/// Takes front matter off the text. Blank lines may stand in front of it.
///
/// # Errors
///
/// The line of a `---` that begins front matter which never ends.
pub(super) fn split(text: &str) -> Result<Parts<'_>, u32> {
    let is_fence = |line: &str| line.trim_end() == "---";
    let (mut offset, mut number, mut begun) = (0, 1, None);
    for line in lines(text) {
        let next = offset + line.len();
        match begun {
            None if line.trim().is_empty() => {}
            None if is_fence(line) => begun = Some((next, number + 1)),
            None => return Ok(Parts { front: None, body: (text, 1) }),
            Some((start, first)) if is_fence(line) => {
                return Ok(Parts { front: Some((&text[start..offset], first)), body: (&text[next..], number + 1) });
            }
            Some(_) => {}
        }
        offset = next;
        number += 1;
    }
    match begun {
        Some((_, first)) => Err(first - 1),
        None => Ok(Parts { front: None, body: (text, 1) }),
    }
}

/// What begins a file as front matter nearly does, and why it is none.
pub(super) fn near_miss(text: &str) -> Option<(Place, String)> {
    const WANTED: &str = "wanted a line of `---` and nothing else";
    let (index, line) = lines(text).enumerate().find(|(_, line)| !line.trim().is_empty())?;
    let line = line.trim_end();
    let bare = line.trim_start_matches(|c: char| c.is_whitespace() || is_invisible(c));
    let rest = bare.strip_prefix("---");
    let message = match rest {
        Some("") if bare.len() == line.len() => return None,
        Some("") if line[..line.len() - bare.len()].chars().all(|c| matches!(c, ' ' | '\t')) => {
            format!("`---` is indented; {WANTED}")
        }
        Some("") => format!("characters that nobody sees stand in front of `---`; {WANTED}"),
        // A line across the page.
        Some(rest) if rest.trim_start().starts_with('-') => return None,
        Some(_) => format!("{} begins no front matter; {WANTED}", found(bare)),
        None if bare == "+++" => format!("`+++` begins no front matter; {WANTED}"),
        None => return None,
    };
    Some((Place { line: u32::try_from(index).unwrap_or(u32::MAX).saturating_add(1), column: 1 }, message))
}

/// Characters without width that editors leave behind.
pub(super) fn is_invisible(c: char) -> bool {
    matches!(c, '\u{feff}' | '\u{200b}'..='\u{200f}' | '\u{2060}'..='\u{2064}' | '\u{ad}')
}

/// The key of the front matter that a line begins with.
pub(super) fn key_of(line: &str) -> Option<&'static str> {
    let line = line.trim_start_matches(is_invisible);
    let (word, _) = line.split_once([':', '='])?;
    KEYS.into_iter().chain(NOT_BUILT).find(|key| *key == word.trim_end())
}

/// Lines with their ends, which are LF, CRLF or CR.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let end = rest.find(['\n', '\r'])?;
        let end = if rest[end..].starts_with("\r\n") { end + 2 } else { end + 1 };
        let line;
        (line, rest) = rest.split_at(end);
        Some(line)
    })
    .chain(text.rsplit(['\n', '\r']).next().filter(|last| !last.is_empty()))
}

/// Reads it.
pub(super) fn read(findings: &mut Findings<'_>, text: &str, first_line: u32) -> FrontMatter {
    let start = Place { line: first_line, column: 1 };
    let mut front = FrontMatter { is_there: true, ..FrontMatter::default() };
    let node = match yaml::read_within(text, start) {
        Ok(Node { value: Value::Empty, .. }) => return FrontMatter::default(),
        Ok(node) => node,
        Err((place, message)) => {
            findings.report(place, message);
            return front;
        }
    };
    for (key, value) in entries(findings, "front matter", node, "keys such as `default: frontier`", &KEYS) {
        match &*key.text {
            "applies_to" => front.applies_to = Some((applies_to(findings, value), key.place)),
            "default" => front.default = tier(findings, "default", &value),
            "confidence" => front.confidence = confidence(findings, &value),
            "holdout" => front.holdout_ppm = holdout(findings, &value).unwrap_or_default(),
            "treat_as_auto" => front.treat_as_auto = treat_as_auto(findings, value),
            "rules" => front.rules = rules(findings, value),
            _ => unread(findings, &key),
        }
    }
    front
}

/// The entries of a map whose keys are known; the others are reported.
fn entries<'n>(
    findings: &mut Findings<'_>,
    name: &str,
    node: Node<'n>,
    wanted: &str,
    known: &[&str],
) -> Vec<(Key<'n>, Node<'n>)> {
    let of_top = name == "front matter";
    let entries = findings.entries(name, node, wanted).unwrap_or_default();
    let mut good = Vec::new();
    for (key, value) in entries {
        if of_top && NOT_BUILT.contains(&&*key.text) {
            findings.report(key.place, format!("`{}` is not available in this version", key.text));
        } else if !known.contains(&&*key.text) {
            findings.unknown_key(&key, known);
        } else if matches!(value.value, Value::Empty) {
            findings.report(key.place, format!("`{0}` has no value; wanted one, or no `{0}`", key.text));
        } else {
            good.push((key, value));
        }
    }
    good
}

/// A key that the grammar has and that nothing reads would be lost.
pub(super) fn unread(findings: &mut Findings<'_>, key: &Key<'_>) {
    findings.report(key.place, format!("`{}` is a key that nothing reads", key.text));
}

fn applies_to(findings: &mut Findings<'_>, node: Node<'_>) -> AppliesTo {
    const WANTED: &str = "lists of names, such as `{ pipelines: [orders_daily] }`";
    let mut applies_to = AppliesTo::default();
    let (place, before) = (node.place, findings.count());
    for (key, value) in entries(findings, "applies_to", node, WANTED, &APPLIES_TO) {
        let names = list(findings, &key.text, value, "a list of names, such as `[orders_daily]`");
        for (name, place) in &names {
            if name.contains(['*', '?']) {
                let message = format!("{} is a pattern; wanted names in full, so that one policy wins", found(name));
                findings.report(*place, message);
            } else if name.trim() != name || name.len() > NAME_BYTES_MAX {
                findings.report(*place, format!("{} is no name; wanted one as requests and keys have it", found(name)));
            }
        }
        let names = names.into_iter().map(|(name, _)| name).collect();
        match &*key.text {
            "teams" => applies_to.teams = names,
            "projects" => applies_to.projects = names,
            "pipelines" => applies_to.pipelines = names,
            "keys" => applies_to.keys = names,
            _ => unread(findings, &key),
        }
    }
    if applies_to.is_everything() && findings.count() == before {
        findings.report(place, format!("`applies_to` names nothing; wanted {WANTED}"));
    }
    applies_to
}

/// The word of a tier.
pub(super) fn tier(findings: &mut Findings<'_>, key: &str, node: &Node<'_>) -> Option<Tier> {
    const WANTED: &str = "`frontier`, `reasoning` or `lightweight`";
    let text = findings.text(key, node, WANTED)?;
    let tier = Tier::parse(text);
    if tier.is_none() {
        let hint = nearest_hint(text, Tier::ALL.map(Tier::as_str));
        findings.report(node.place, format!("`{key}` is {}; wanted {WANTED}{hint}", found(text)));
    }
    tier
}

fn confidence(findings: &mut Findings<'_>, node: &Node<'_>) -> Option<f32> {
    const WANTED: &str = "a number from 0 to 1, such as `0.6`";
    let text = findings.text("confidence", node, WANTED)?;
    let is_decimal =
        text.starts_with(|c: char| c.is_ascii_digit()) && text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    let number = text.parse().ok().filter(|number: &f32| is_decimal && (0.0..=1.0).contains(number));
    if number.is_none() {
        findings.report(node.place, format!("`confidence` is {}; wanted {WANTED}", found(text)));
    }
    number
}

/// A share, in millionths.
fn holdout(findings: &mut Findings<'_>, node: &Node<'_>) -> Option<u32> {
    const WANTED: &str = "a share from 0 to 0.5, such as `0.01`";
    let text = findings.text("holdout", node, WANTED)?;
    let is_decimal =
        text.starts_with(|c: char| c.is_ascii_digit()) && text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    let share = text.parse().ok().filter(|share: &f64| is_decimal && (0.0..=0.5).contains(share));
    if share.is_none() {
        findings.report(node.place, format!("`holdout` is {}; wanted {WANTED}", found(text)));
    }
    share.map(|share| (share * 1e6).round() as u32)
}

/// `true` or `false`.
pub(super) fn switch(findings: &mut Findings<'_>, key: &str, node: &Node<'_>) -> Option<bool> {
    let text = findings.text(key, node, "`true` or `false`")?;
    match text.to_ascii_lowercase().as_str() {
        "true" | "on" => Some(true),
        "false" | "off" => Some(false),
        _ => {
            findings.report(node.place, format!("`{key}` is {}; wanted `true` or `false`", found(text)));
            None
        }
    }
}

fn treat_as_auto(findings: &mut Findings<'_>, node: Node<'_>) -> Vec<GlobMatcher> {
    let written = list(findings, "treat_as_auto", node, "a list of models, such as `[\"gpt-5.6*\"]`");
    let mut globs = Vec::new();
    for (text, place) in written {
        match pattern(&text) {
            Ok(glob) => globs.push(glob),
            Err(why) => {
                let message = format!("{} is no pattern ({why}); wanted one such as `gpt-5.6*`", found(&text));
                findings.report(place, message);
            }
        }
    }
    globs
}

fn rules(findings: &mut Findings<'_>, node: Node<'_>) -> Vec<Rule> {
    const EXAMPLE: &str = "`- { when: { keywords: [drop table] }, use: frontier }`";
    let place = node.place;
    let Value::List(nodes) = node.value else {
        findings.report(place, format!("`rules` is {}; wanted a list: {EXAMPLE}", node.value.noun()));
        return Vec::new();
    };
    if nodes.len() > POLICY_RULES_MAX {
        findings.report(place, format!("`rules` has {} entries; wanted at most {POLICY_RULES_MAX}", nodes.len()));
        return Vec::new();
    }
    let (mut rules, mut patterns) = (Vec::new(), 0);
    for node in nodes {
        let at = node.place;
        let Some(rule) = rule(findings, node, EXAMPLE) else { continue };
        patterns += rule.when.globs.as_ref().map_or(0, Paths::count) + rule.when.tools.as_ref().map_or(0, Tools::count);
        if patterns > POLICY_PATTERNS_MAX {
            let message = format!("one pattern too many; wanted at most {POLICY_PATTERNS_MAX} in the rules of a file");
            findings.report(at, message);
            break;
        }
        rules.push(rule);
    }
    rules
}

/// Why a rule is there; it travels in a header.
fn reason(findings: &mut Findings<'_>, node: &Node<'_>) -> Option<String> {
    const WANTED: &str = "a sentence in quotes";
    let text = findings.text("because", node, WANTED)?;
    if text.contains(char::is_control) {
        findings.report(node.place, format!("`because` has a control character or a line break; wanted {WANTED}"));
    }
    Some(text.to_owned())
}

fn rule(findings: &mut Findings<'_>, node: Node<'_>, example: &str) -> Option<Rule> {
    let (at, before) = (node.place, findings.count());
    let (mut when, mut used, mut protected, mut because) = (None, None, None, None);
    for (key, value) in entries(findings, "rule", node, example, &RULE) {
        match &*key.text {
            "when" => when = Some(conditions(findings, value)),
            "use" => used = tier(findings, "use", &value),
            "protected" => protected = switch(findings, "protected", &value),
            "because" => because = reason(findings, &value),
            _ => unread(findings, &key),
        }
    }
    if findings.count() == before {
        if when.is_none() {
            findings.report(at, format!("the rule has no `when`; wanted {example}"));
        }
        if used.is_none() {
            findings.report(at, "the rule has no `use`; wanted the tier that does the work, such as `use: frontier`");
        }
    }
    Some(Rule { when: when?, tier: used?, protected: protected.unwrap_or(false), because, at })
}

fn conditions(findings: &mut Findings<'_>, node: Node<'_>) -> When {
    const WANTED: &str = "conditions, such as `{ keywords: [drop table] }`";
    let (place, before) = (node.place, findings.count());
    let mut when = When::default();
    let mut names_some = false;
    for (key, value) in entries(findings, "when", node, WANTED, &WHEN) {
        names_some = true;
        match &*key.text {
            "keywords" => when.keywords = keywords(findings, value),
            "globs" => when.globs = globs(findings, value),
            "tools" => when.tools = tools(findings, value),
            "prompt_tokens" => when.prompt_tokens = prompt_tokens(findings, value),
            _ => unread(findings, &key),
        }
    }
    if !names_some && findings.count() == before {
        findings.report(place, format!("`when` asks for nothing; wanted {WANTED}, or `default` for everything"));
    }
    when
}

fn keywords(findings: &mut Findings<'_>, node: Node<'_>) -> Option<Keywords> {
    let place = node.place;
    let written = list(findings, "keywords", node, "a list of words, such as `[drop table, delete from]`");
    if written.is_empty() {
        return None;
    }
    Keywords::new(&texts(&written))
        .map_err(|_| findings.report(place, "`keywords` are too many to be searched for at once; wanted fewer"))
        .ok()
}

fn globs(findings: &mut Findings<'_>, node: Node<'_>) -> Option<Paths> {
    let written = list(findings, "globs", node, "a list of paths, such as `[\"**/migrations/*.sql\"]`");
    if written.is_empty() {
        return None;
    }
    Paths::new(&texts(&written)).map_err(|wrong| bad_pattern(findings, &written, wrong)).ok()
}

fn tools(findings: &mut Findings<'_>, node: Node<'_>) -> Option<Tools> {
    let written = list(findings, "tools", node, "a list of names, such as `[run_sql]`");
    if written.is_empty() {
        return None;
    }
    Tools::new(&texts(&written)).map_err(|wrong| bad_pattern(findings, &written, wrong)).ok()
}

fn bad_pattern(findings: &mut Findings<'_>, written: &[(String, Place)], (at, why): (usize, String)) {
    let (text, place) = &written[at];
    findings.report(*place, format!("{} is no pattern ({why})", found(text)));
}

fn prompt_tokens(findings: &mut Findings<'_>, node: Node<'_>) -> Option<TokenRange> {
    const WANTED: &str = "bounds, such as `{ over: 200000 }`";
    let (place, before) = (node.place, findings.count());
    let mut range = TokenRange::default();
    for (key, value) in entries(findings, "prompt_tokens", node, WANTED, &PROMPT_TOKENS) {
        let count = count(findings, &key.text, &value, u64::MAX);
        match &*key.text {
            "over" => range.over = count,
            "under" => range.under = count,
            _ => unread(findings, &key),
        }
    }
    if findings.count() > before {
        return None;
    }
    match (range.over, range.under) {
        (None, None) => findings.report(place, format!("`prompt_tokens` has no bound; wanted {WANTED}")),
        (Some(over), Some(under)) if over.saturating_add(1) >= under => {
            let message =
                format!("no prompt has more than {over} and fewer than {under} tokens; wanted `over` below `under`");
            findings.report(place, message);
        }
        (None, Some(0)) => findings.report(place, "no prompt has fewer than 0 tokens; wanted more"),
        _ => return Some(range),
    }
    None
}

/// A count of tokens: digits only, `_` between them.
pub(super) fn count(findings: &mut Findings<'_>, key: &str, node: &Node<'_>, max: u64) -> Option<u64> {
    const WANTED: &str = "a count of tokens, such as `200000`";
    let text = findings.text(key, node, WANTED)?;
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit());
    let number = text.parse().ok().filter(|number| is_plain && *number <= max);
    if number.is_none() {
        findings.report(node.place, format!("`{key}` is {}; wanted {WANTED}", found(text)));
    }
    number
}

/// The entries of a list of texts, each with its place; what is wrong is reported.
fn list(findings: &mut Findings<'_>, key: &str, node: Node<'_>, wanted: &str) -> Vec<(String, Place)> {
    let place = node.place;
    let Value::List(nodes) = node.value else {
        findings.report(place, format!("`{key}` is {}; wanted {wanted}", node.value.noun()));
        return Vec::new();
    };
    if nodes.is_empty() || nodes.len() > POLICY_LIST_MAX {
        let message = match nodes.len() {
            0 => format!("`{key}` is empty; wanted {wanted}"),
            many => format!("`{key}` has {many} entries; wanted at most {POLICY_LIST_MAX}"),
        };
        findings.report(place, message);
        return Vec::new();
    }
    let mut good = Vec::new();
    for node in nodes {
        match node.value {
            Value::Text(text) if !text.trim().is_empty() => good.push((text.into_owned(), node.place)),
            Value::Text(_) | Value::Empty => {
                findings.report(node.place, format!("an entry of `{key}` is empty; wanted {wanted}"));
            }
            other => findings.report(node.place, format!("an entry of `{key}` is {}; wanted {wanted}", other.noun())),
        }
    }
    good
}

fn texts(written: &[(String, Place)]) -> Vec<&str> {
    written.iter().map(|(text, _)| text.as_str()).collect()
}
