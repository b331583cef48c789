//! Deterministic rules: what the text, the tools and the size of a request say for certain.
//!
//! A rule matches if everything that its `when` names matches, and a list does if any of its entries does. Patterns are
//! compiled once, when the policy is read; matching goes through the text once a rule and keeps nothing.

use crate::problem::Place;
use crate::task::Tier;

use super::keywords::Keywords;
use super::paths::Paths;

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
    /// An upper bound of the prompt's tokens.
    pub prompt_tokens: u64,
}

/// The first rule that matches.
pub fn first_match<'r>(rules: &'r [Rule], facts: &Facts<'_>) -> Option<&'r Rule> {
    rules.iter().find(|rule| rule.when.matches(facts))
}

impl When {
    /// Whether all that is asked for holds. The cheap questions come first.
    pub fn matches(&self, facts: &Facts<'_>) -> bool {
        let texts = || facts.last_user_turn.iter().chain(facts.tool_results);
        self.prompt_tokens.is_none_or(|range| range.contains(facts.prompt_tokens))
            && self.tools.as_ref().is_none_or(|tools| facts.tools.iter().any(|name| tools.names(name)))
            && self.keywords.as_ref().is_none_or(|keywords| texts().any(|text| keywords.occur_in(text)))
            && self.globs.as_ref().is_none_or(|globs| texts().any(|text| globs.mentioned_in(text)))
    }

    /// Whether every request that `other` matches is matched by this too, as far as the words of both tell.
    pub(super) fn covers(&self, other: &Self) -> bool {
        fn each<T>(mine: Option<&T>, others: Option<&T>, covers: impl Fn(&T, &T) -> bool) -> bool {
            mine.is_none_or(|mine| others.is_some_and(|others| covers(mine, others)))
        }
        each(self.prompt_tokens.as_ref(), other.prompt_tokens.as_ref(), |mine, others| mine.covers(*others))
            && each(self.tools.as_ref(), other.tools.as_ref(), Tools::cover)
            && each(self.keywords.as_ref(), other.keywords.as_ref(), Keywords::cover)
            && each(self.globs.as_ref(), other.globs.as_ref(), Paths::cover)
    }
}

impl Tools {
    /// Patterns in which `*` stands for anything.
    ///
    /// # Errors
    ///
    /// What is wrong with the pattern at this index.
    pub fn new(written: &[&str]) -> Result<Self, (usize, String)> {
        let compile = |(index, text): (usize, &&str)| {
            globset::Glob::new(text).map(|glob| glob.compile_matcher()).map_err(|e| (index, e.kind().to_string()))
        };
        let patterns = written.iter().enumerate().map(compile).collect::<Result<_, _>>()?;
        Ok(Self { written: written.iter().map(|text| (*text).to_owned()).collect(), patterns })
    }

    /// Whether this tool is among them.
    pub fn names(&self, tool: &str) -> bool {
        self.patterns.iter().any(|pattern| pattern.is_match(tool))
    }

    fn cover(&self, other: &Self) -> bool {
        // A pattern that matches another pattern's text matches whatever that one does, but for sets such as `[ab]`.
        other
            .written
            .iter()
            .all(|text| self.written.contains(text) || (!text.contains(['[', '{', '?']) && self.names(text)))
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
