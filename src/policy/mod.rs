//! Routing policies: Markdown that people review, read into what requests are routed by.
//!
//! The text of a file comes in; a [`Policy`] goes out, or everything that is wrong with the file at once, each with its
//! place. [`Set`] holds the policies of a directory and says which one a request falls under; [`Rules::first_match`]
//! answers what no classifier needs to. What a task's words mean is `classify`'s business, reading the directory
//! `config`'s, and swapping the live set `app`'s. The grammar is documented in `routing-policies/README.md`.

pub mod doubts;
mod front_matter;
mod headings;
mod keywords;
mod options;
mod outline;
mod parse;
mod paths;
mod patterns;
pub mod rules;
mod set;
mod wider;
mod words;

use std::sync::{Arc, LazyLock};

use globset::GlobMatcher;

use crate::problem::{Place, Problem};
use crate::task::Tier;

pub use keywords::Keywords;
pub use parse::parse;
pub use paths::Paths;
pub use patterns::pattern;
pub use rules::{Rule, Rules};
pub use set::{Set, Who};

/// `routing-policies/default.md` as it was when this was built.
const BUILTIN: &str = include_str!("../../routing-policies/default.md");

/// The policy of requests that no file applies to: the general default that ships with Farthing.
///
/// # Panics
///
/// Never: a test reads it.
pub fn builtin() -> &'static Arc<Policy> {
    static BUILTIN_POLICY: LazyLock<Arc<Policy>> = LazyLock::new(|| {
        let (policy, _) = parse("built-in/default.md", BUILTIN).expect("the built-in default is a policy");
        Arc::new(policy)
    });
    &BUILTIN_POLICY
}

/// One file of `routing-policies/`, checked.
#[derive(Clone, Debug)]
pub struct Policy {
    /// The file's stem, such as `orders_daily`.
    pub name: String,
    /// The file as problems name it.
    pub file: String,
    /// The stem and the first hex digits of [`Policy::sha256`], such as `orders_daily@3f2c`.
    pub version: String,
    /// SHA-256 of the file's bytes; the version in full.
    pub sha256: [u8; 32],
    /// Which requests fall under it.
    pub applies_to: AppliesTo,
    /// Where work goes that no rule and no task claims; frontier where the file does not say.
    pub default: Tier,
    /// Below this confidence, from 0 to 1, work counts as claimed by no task; `None`: the classifier's own bound.
    pub confidence: Option<f32>,
    /// Names of models that are routed as if the client had asked for `auto`.
    pub treat_as_auto: Vec<GlobMatcher>,
    /// The share of sessions that get no levers, in millionths: what levers save is measured against them.
    pub holdout_ppm: u32,
    /// In the order of the file; the first that matches decides.
    pub rules: Rules,
    /// Kinds of work, in the order of the file; their ids are distinct.
    pub tasks: Vec<Task>,
    /// What the file says of itself; it never goes live while one of these fails.
    pub tests: Vec<PolicyTest>,
}

impl Policy {
    /// The task with this id.
    pub fn task(&self, id: &str) -> Option<&Task> {
        self.tasks.iter().find(|task| task.id == id)
    }

    /// Whether a model that a client names is routed as if it had asked for `auto`. `name` is as the client spells
    /// it, `bare` without its provider.
    pub fn treats_as_auto(&self, name: &str, bare: &str) -> bool {
        self.treat_as_auto.iter().any(|glob| glob.is_match(name) || glob.is_match(bare))
    }
}

/// Which requests a policy applies to: all lists that are there must have the request's value.
///
/// Empty lists do not ask. A policy without any list is `default.md`, which applies where no other does.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct AppliesTo {
    /// Teams.
    pub teams: Vec<String>,
    /// Projects.
    pub projects: Vec<String>,
    /// Pipelines; the file's stem where the file does not say what it applies to.
    pub pipelines: Vec<String>,
    /// Virtual keys, by their public names.
    pub keys: Vec<String>,
}

/// One kind of work: a bullet under a tier's heading.
#[derive(Clone, PartialEq, Debug)]
pub struct Task {
    /// `{id: …}`, or the slug of the text in front of the first parenthesis, such as `log-parsing-and-categorization`.
    pub id: String,
    /// The bullet's prose, parenthesis included and options left out.
    pub text: String,
    /// Who does it.
    pub tier: Tier,
    /// Nested bullets: requests of this kind, without quotes.
    pub examples: Vec<String>,
    /// Whether it never goes to a cheaper tier, whatever the client, the budget or the evidence says.
    pub protected: bool,
    /// Most output tokens that the work needs.
    pub max_output: Option<u32>,
    /// Where the bullet stands.
    pub at: Place,
}

/// One bullet under `## Examples`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PolicyTest {
    /// The request's text, without quotes.
    pub request: String,
    /// What must become of it.
    pub expected: Expected,
    /// Whether a failure only warns.
    pub advisory: bool,
    /// Where the bullet stands.
    pub at: Place,
}

/// What a test expects.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Expected {
    /// This tier, by whichever task, rule or default.
    Tier(Tier),
    /// This task of the same policy, by its id.
    Task(String),
}

/// Every key of the grammar by the heading under which `routing-policies/README.md` explains it.
pub const GRAMMAR: [(&str, &[&str]); 7] = [
    ("Front matter", &front_matter::KEYS),
    ("applies_to", &front_matter::APPLIES_TO),
    ("rules", &front_matter::RULE),
    ("when", &front_matter::WHEN),
    ("prompt_tokens", &front_matter::PROMPT_TOKENS),
    ("Options of a task", &options::TASK),
    ("Options of a test", &options::TEST),
];

/// Keys of front matter and options of tasks that are refused by name, since their rooms are not built.
pub const NOT_BUILT: (&[&str], &[&str]) = (&front_matter::NOT_BUILT, &options::TASK_NOT_BUILT);

/// Holds a policy against its own tests: says which of them fail. Made by whoever can classify.
pub type Verify<'a> = &'a (dyn Fn(&Policy) -> Vec<Failed> + Send + Sync);

/// A test that failed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Failed {
    /// Where it stands, what was wanted and what came of it.
    pub problem: Problem,
    /// Whether that only warns.
    pub advisory: bool,
}

#[cfg(test)]
mod tests;
