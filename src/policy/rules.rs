//! Deterministic rules: what the text, the tools and the size of a request say for certain.
//!
//! A rule matches if everything that its `when` names matches, and a list does if any of its entries does. Patterns are
//! compiled once, when the policy is read; matching goes through the text at most twice however many rules there are, in
//! time that is linear in it, and keeps nothing.

use std::fmt;
use std::ops::Deref;

use crate::limits::POLICY_RULES_MAX;
use crate::problem::Place;
use crate::task::Tier;

use super::keywords::{Keywords, Phrases};
use super::paths::{Mentions, Paths};
use super::patterns::pattern;
use super::wider::covers;

/// One entry of `rules:`.
#[derive(Clone, Debug)]
pub struct Rule {
    /// When it decides.
    pub when: When,
    /// Who does the work then.
    pub tier: Tier,
    /// Whether such work never goes to a cheaper tier, whatever the client, the budget or the evidence says.
    pub protected: bool,
    /// Why, for people who ask.
    pub because: Option<String>,
    /// Where it stands.
    pub at: Place,
}

/// What a rule asks for; at least one of these, and all that are there must hold.
#[derive(Clone, Debug, Default)]
pub struct When {
    /// Whole words in the last user turn and the tool results after it.
    pub keywords: Option<Keywords>,
    /// Paths that are mentioned there.
    pub globs: Option<Paths>,
    /// Tools that the request offers.
    pub tools: Option<Tools>,
    /// How large the prompt may be.
    pub prompt_tokens: Option<TokenRange>,
}

/// Names of tools, as patterns.
#[derive(Clone, Debug)]
pub struct Tools {
    written: Vec<String>,
    patterns: Vec<globset::GlobMatcher>,
}

/// Bounds of a count of tokens, both exclusive.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct TokenRange {
    /// More than this.
    pub over: Option<u64>,
    /// Fewer than this.
    pub under: Option<u64>,
}

/// What rules look at, borrowed from the request.
#[derive(Clone, Copy, Debug, Default)]
pub struct Facts<'a> {
    /// The text parts of the last user turn.
    pub last_user_turn: &'a [&'a str],
    /// The text parts of the tool results after it.
    pub tool_results: &'a [&'a str],
    /// The names of the tools that the request offers.
    pub tools: &'a [&'a str],
    /// Whether it offers more tools than are read: it may offer any then.
    pub more_tools: bool,
    /// About how many tokens the prompt has.
    pub prompt_tokens: u64,
}

/// The rules of a policy, in the order of the file, and what finds their words in one pass for all of them.
#[derive(Clone, Default)]
pub struct Rules {
    rules: Vec<Rule>,
    keywords: Option<Phrases>,
    globs: Option<Mentions>,
}

impl Rules {
    /// Puts rules together, at most [`POLICY_RULES_MAX`].
    ///
    /// # Errors
    ///
    /// Their words are too many to be searched for at once.
    pub fn new(rules: Vec<Rule>) -> Result<Self, String> {
        const { assert!(POLICY_RULES_MAX <= u64::BITS as usize, "each rule is a bit") };
        let of = |rule: usize| 1_u64 << rule;
        let numbered = || rules.iter().take(POLICY_RULES_MAX).enumerate();
        let keywords: Vec<_> =
            numbered().filter_map(|(n, rule)| Some((rule.when.keywords.as_ref()?.written(), of(n)))).collect();
        let globs: Vec<_> = numbered().filter_map(|(n, rule)| Some((rule.when.globs.as_ref()?, of(n)))).collect();
        let keywords = (!keywords.is_empty()).then(|| Phrases::new(keywords)).transpose()?;
        let globs = (!globs.is_empty()).then(|| Mentions::new(globs)).transpose()?;
        Ok(Self { rules, keywords, globs })
    }

    /// The place of the first rule that matches.
    pub fn first_match(&self, facts: &Facts<'_>) -> Option<usize> {
        self.first_match_of(facts, |_| true)
    }

    /// The place of the first rule that matches, of those that count. The cheap questions come first; each text is gone
    /// through once for the keywords and once for the paths of all rules that are left.
    pub fn first_match_of(&self, facts: &Facts<'_>, counts: impl Fn(&Rule) -> bool) -> Option<usize> {
        let open = self.open(facts, counts);
        let asked = self.bits(open, |rule| rule.when.keywords.is_some());
        let found =
            self.keywords.as_ref().map_or(0, |keywords| in_texts(facts, asked, |p, bits| keywords.found_in(p, bits)));
        let open = open & (found | !asked);
        let asked = self.bits(open, |rule| rule.when.globs.is_some());
        // What stands behind a rule that matches for certain is of no interest.
        let asked = asked & up_to_first(open & !asked);
        let found = self.globs.as_ref().map_or(0, |globs| in_texts(facts, asked, |p, bits| globs.found_in(p, bits)));
        first(self.bits(open, |rule| rule.when.globs.is_none()) | found)
    }

    /// Whether [`first_match_of`](Self::first_match_of) looks at the texts, given the other facts.
    pub fn read_texts(&self, facts: &Facts<'_>, counts: impl Fn(&Rule) -> bool) -> bool {
        self.bits(self.open(facts, counts), Rule::reads_texts) != 0
    }

    /// The rules that count and whose bounds and tools fit, up to the first that matches for certain.
    fn open(&self, facts: &Facts<'_>, counts: impl Fn(&Rule) -> bool) -> u64 {
        let open = self.bits(u64::MAX, |rule| counts(rule) && rule.when.may_match(facts));
        open & up_to_first(self.bits(open, |rule| !rule.reads_texts()))
    }

    fn bits(&self, of: u64, holds: impl Fn(&Rule) -> bool) -> u64 {
        let rules = self.rules.iter().take(POLICY_RULES_MAX).enumerate();
        rules.filter(|(n, rule)| of >> n & 1 == 1 && holds(rule)).fold(0, |bits, (n, _)| bits | 1 << n)
    }
}

impl Rule {
    fn reads_texts(&self) -> bool {
        self.when.keywords.is_some() || self.when.globs.is_some()
    }
}

impl fmt::Debug for Rules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.rules.fmt(f)
    }
}

impl Deref for Rules {
    type Target = [Rule];

    fn deref(&self) -> &[Rule] {
        &self.rules
    }
}

/// The bits up to the lowest of these, itself included; all if there is none.
fn up_to_first(bits: u64) -> u64 {
    bits ^ bits.wrapping_sub(1)
}

fn first(bits: u64) -> Option<usize> {
    (bits != 0).then_some(bits.trailing_zeros() as usize)
}

/// Searches the last user turn, and what it leaves open in the tool results: no phrase goes across the two.
fn in_texts(facts: &Facts<'_>, asked: u64, search: impl Fn(&mut dyn Iterator<Item = &str>, u64) -> u64) -> u64 {
    let found = search(&mut facts.last_user_turn.iter().copied(), asked);
    found | search(&mut facts.tool_results.iter().copied(), asked & !found)
}

impl When {
    /// Whether all holds that is asked for besides texts.
    fn may_match(&self, facts: &Facts<'_>) -> bool {
        let Self { keywords: _, globs: _, tools, prompt_tokens } = self;
        prompt_tokens.is_none_or(|range| range.contains(facts.prompt_tokens))
            && tools.as_ref().is_none_or(|tools| facts.more_tools || facts.tools.iter().any(|name| tools.names(name)))
    }

    /// Whether every request that `other` matches is matched by this too, as far as the words of both tell.
    pub(super) fn covers(&self, other: &Self) -> bool {
        fn each<T>(mine: Option<&T>, others: Option<&T>, covers: impl Fn(&T, &T) -> bool) -> bool {
            mine.is_none_or(|mine| others.is_some_and(|others| covers(mine, others)))
        }
        let Self { keywords, globs, tools, prompt_tokens } = self;
        each(prompt_tokens.as_ref(), other.prompt_tokens.as_ref(), |mine, others| mine.covers(*others))
            && each(tools.as_ref(), other.tools.as_ref(), Tools::cover)
            && each(keywords.as_ref(), other.keywords.as_ref(), Keywords::cover)
            && each(globs.as_ref(), other.globs.as_ref(), Paths::cover)
    }
}

impl Tools {
    /// Patterns in which `*` stands for anything.
    ///
    /// # Errors
    ///
    /// What is wrong with the pattern at this index.
    pub fn new(written: &[&str]) -> Result<Self, (usize, String)> {
        let compile = |(index, text): (usize, &&str)| pattern(text).map_err(|why| (index, why));
        let patterns = written.iter().enumerate().map(compile).collect::<Result<_, _>>()?;
        Ok(Self { written: written.iter().map(|text| (*text).to_owned()).collect(), patterns })
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.patterns.len()
    }

    /// Whether this tool is among them.
    pub fn names(&self, tool: &str) -> bool {
        self.patterns.iter().any(|pattern| pattern.is_match(tool))
    }

    fn cover(&self, other: &Self) -> bool {
        let covered =
            |narrow: &String| self.written.iter().zip(&self.patterns).any(|(wide, glob)| covers(glob, wide, narrow));
        other.written.iter().all(covered)
    }
}

impl TokenRange {
    /// Whether a count lies within.
    pub fn contains(self, tokens: u64) -> bool {
        self.over.is_none_or(|over| tokens > over) && self.under.is_none_or(|under| tokens < under)
    }

    fn covers(self, other: Self) -> bool {
        self.over.is_none_or(|mine| other.over.is_some_and(|others| others >= mine))
            && self.under.is_none_or(|mine| other.under.is_some_and(|others| others <= mine))
    }
}
