//! What bullets mean: tasks with their options, examples nested under them, and tests.

use crate::limits::{NAME_BYTES_MAX, POLICY_EXAMPLES_MAX, POLICY_TASKS_MAX};
use crate::problem::Place;
use crate::task::Tier;
use crate::yaml::Node;
use crate::yaml::findings::found;

use super::super::outline::Bullet;
use super::super::words::{slug, split_arrow, unquoted};
use super::super::{Expected, PolicyTest, Task, front_matter, options};
use super::{Reader, place_of};

impl Reader<'_> {
    pub(super) fn task(&mut self, tier: Tier, bullet: &Bullet) {
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

    fn id(&mut self, node: &Node<'_>) -> Option<String> {
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

    fn max_output(&mut self, node: &Node<'_>) -> Option<u32> {
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

    pub(super) fn test(&mut self, bullet: &Bullet) {
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
}
