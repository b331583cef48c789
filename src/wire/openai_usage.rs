//! `usage` of Chat Completions, as OpenAI and those who speak its protocol write it.
//! <https://platform.openai.com/docs/api-reference/chat/object#chat-object-usage>
//!
//! In comes the JSON of one usage object, out come tokens that add up the same way for every vendor: cached,
//! cache-write and reasoning tokens are parts of their totals. What is spelt oddly (`12.0`, `"12"`) counts as its
//! value, what is no count (`-1`, `null`, `12.5`) as missing.

use crate::prompt::json::{JsonError, RawStr, Scanner, WholeNumber};
use crate::reply::usage::{Usage, WhyUnknown};

use super::vendors::{Dialect, Reasoning};

/// Usage beyond this many tokens is a defect of its sender, and would poison every sum that it entered.
const TOKENS_PLAUSIBLE_MAX: u64 = 1 << 30;

/// What a usage object says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reported {
    /// The tokens by kind.
    pub usage: Usage,
    /// What else is billed: tokens of kinds that are priced apart, such as audio, or fees for searches.
    pub beside: Option<WhyUnknown>,
}

/// Reads one usage object; `None` for what is not one, or lacks the figures that matter.
pub fn read(json: &str, dialect: Dialect) -> Option<Reported> {
    let mut scanner = Scanner::new(json);
    let mut figures = Figures::default();
    scanner.object::<JsonError>(|s, key| figures.member(s, key)).ok()?;
    figures.normalised(dialect)
}

/// The figures of one object by the names that vendors give them. Where two names say the same, or one stands
/// twice, the larger counts.
#[derive(Default)]
struct Figures {
    prompt: Option<u64>,
    completion: Option<u64>,
    total: Option<u64>,
    cached: Option<u64>,
    uncached: Option<u64>,
    written: Option<u64>,
    written_5m: Option<u64>,
    written_1h: Option<u64>,
    reasoning: Option<u64>,
    /// `input_tokens` and `output_tokens`, which count for want of the other names.
    input: Option<u64>,
    output: Option<u64>,
    /// What was read from the cache and written to it by Anthropic's own names, which are beside its `input_tokens`.
    cache_read: Option<u64>,
    cache_creation: Option<u64>,
    beside: Option<WhyUnknown>,
}

impl Figures {
    fn member(&mut self, s: &mut Scanner<'_>, key: RawStr<'_>) -> Result<(), JsonError> {
        match key.raw {
            "prompt_tokens" => note(&mut self.prompt, s),
            "completion_tokens" => note(&mut self.completion, s),
            "total_tokens" => note(&mut self.total, s),
            "prompt_tokens_details" | "input_tokens_details" if s.peek() == Some(b'{') => {
                s.object::<JsonError>(|s, key| self.of_prompt(s, key)).map(drop)
            }
            "completion_tokens_details" | "output_tokens_details" if s.peek() == Some(b'{') => {
                s.object::<JsonError>(|s, key| self.of_completion(s, key)).map(drop)
            }
            // https://api-docs.deepseek.com/api/create-chat-completion: the prompt is the hits and the misses.
            "prompt_cache_hit_tokens" => note(&mut self.cached, s),
            "prompt_cache_miss_tokens" => note(&mut self.uncached, s),
            // Together and Moonshot, beside the totals; Mistral: <https://docs.mistral.ai/api/#tag/chat>
            "cached_tokens" | "num_cached_tokens" => note(&mut self.cached, s),
            // https://platform.openai.com/docs/api-reference/responses/object#responses-object-usage
            "input_tokens" => note(&mut self.input, s),
            "output_tokens" => note(&mut self.output, s),
            // https://docs.claude.com/en/api/messages#response-usage, and hosts that put them beside OpenAI's names.
            "cache_read_input_tokens" => note(&mut self.cache_read, s),
            "cache_creation_input_tokens" => note(&mut self.cache_creation, s),
            "cache_creation" if s.peek() == Some(b'{') => self.parts_written(s),
            "reasoning_tokens" => note(&mut self.reasoning, s),
            // Charged by the search, the call, the citation or the second.
            "num_sources_used"
            | "num_server_side_tools_used"
            | "num_search_queries"
            | "citation_tokens"
            | "search_units" => self.charged_apart(WhyUnknown::Fees, s),
            "prompt_audio_seconds" => self.charged_apart(WhyUnknown::OtherTokens, s),
            "server_tool_use"
            | "server_tool_use_details"
            | "server_side_tool_usage"
            | "server_side_tool_usage_details"
                if s.peek() == Some(b'{') =>
            {
                s.object::<JsonError>(|s, _| self.charged_apart(WhyUnknown::Fees, s)).map(drop)
            }
            _ => s.pass(),
        }
    }

    fn of_prompt(&mut self, s: &mut Scanner<'_>, key: RawStr<'_>) -> Result<(), JsonError> {
        match key.raw {
            "cached_tokens" => note(&mut self.cached, s),
            "cache_write_tokens" | "cache_creation_tokens" | "cache_creation_input_tokens" => {
                note(&mut self.written, s)
            }
            "audio_tokens" => self.charged_apart(WhyUnknown::OtherTokens, s),
            // Anthropic's models behind OpenAI's protocol; the second is LiteLLM's name:
            // https://docs.litellm.ai/docs/completion/prompt_caching
            "cache_creation" | "cache_creation_token_details" if s.peek() == Some(b'{') => self.parts_written(s),
            _ => s.pass(),
        }
    }

    /// The parts of what was written to the cache, by how long it stays.
    fn parts_written(&mut self, s: &mut Scanner<'_>) -> Result<(), JsonError> {
        s.object::<JsonError>(|s, key| match key.raw {
            "ephemeral_5m_input_tokens" => note(&mut self.written_5m, s),
            "ephemeral_1h_input_tokens" => note(&mut self.written_1h, s),
            _ => s.pass(),
        })
        .map(drop)
    }

    fn of_completion(&mut self, s: &mut Scanner<'_>, key: RawStr<'_>) -> Result<(), JsonError> {
        match key.raw {
            "reasoning_tokens" => note(&mut self.reasoning, s),
            "audio_tokens" | "image_tokens" => self.charged_apart(WhyUnknown::OtherTokens, s),
            _ => s.pass(),
        }
    }

    fn charged_apart(&mut self, what: WhyUnknown, s: &mut Scanner<'_>) -> Result<(), JsonError> {
        if count(s)?.is_some_and(|count| count > 0) {
            self.beside = self.beside.max(Some(what));
        }
        Ok(())
    }

    /// The whole of what was read. Anthropic's own `input_tokens` leave out what went through the cache.
    fn whole_input(&self, cached: u64, written: u64) -> Option<u64> {
        let of_misses = || self.uncached.map(|uncached| uncached.saturating_add(cached));
        let plain = || {
            let through_cache = self.cache_read.is_some() || self.cache_creation.is_some();
            let beside = if through_cache { cached.saturating_add(written) } else { 0 };
            self.input.map(|input| input.saturating_add(beside))
        };
        self.prompt.or_else(of_misses).or_else(plain)
    }

    /// Figures that contradict each other are taken for what they must at least mean: a whole is never less than
    /// its parts, and what a total has too much was billed.
    fn normalised(self, dialect: Dialect) -> Option<Reported> {
        let cached = self.cached.max(self.cache_read).unwrap_or(0);
        let written_1h = self.written_1h.unwrap_or(0);
        let parts = self.written_5m.unwrap_or(0).saturating_add(written_1h);
        let written = self.written.max(self.cache_creation).unwrap_or(0).max(parts);
        let input = self.whole_input(cached, written)?;
        let output = self.completion.or(self.output).or(self.total.and_then(|total| total.checked_sub(input)))?;
        if input.max(output) > TOKENS_PLAUSIBLE_MAX {
            return None;
        }
        let mut reasoning = self.reasoning.unwrap_or(0);
        let excess = self.total.and_then(|total| total.checked_sub(input.saturating_add(output)));
        let (beside, unexplained) = match (excess, dialect.reasoning) {
            (Some(0), _) => (0, false),
            (Some(excess), _) if excess == reasoning => (reasoning, false),
            (Some(excess), Reasoning::Beside) => (excess.max(reasoning), false),
            (Some(_), Reasoning::Within) => (0, true),
            (None, Reasoning::Beside) => (reasoning, false),
            (None, Reasoning::Within) => (0, false),
        };
        reasoning = reasoning.max(beside);
        let usage = Usage {
            input_tokens: input.max(cached.saturating_add(written)),
            cached_input_tokens: cached,
            cache_write_tokens: written - written_1h,
            cache_write_1h_tokens: written_1h,
            output_tokens: output.saturating_add(beside).max(reasoning),
            reasoning_tokens: reasoning,
        };
        let plausible = usage.input_tokens.max(usage.output_tokens) <= TOKENS_PLAUSIBLE_MAX;
        let beside = self.beside.max(unexplained.then_some(WhyUnknown::Total));
        plausible.then_some(Reported { usage, beside })
    }
}

fn note(figure: &mut Option<u64>, s: &mut Scanner<'_>) -> Result<(), JsonError> {
    *figure = (*figure).max(count(s)?);
    Ok(())
}

/// A count, however it is spelt; `None` for what is none.
fn count(s: &mut Scanner<'_>) -> Result<Option<u64>, JsonError> {
    if s.peek() == Some(b'"') {
        let text = s.string()?;
        return Ok(match Scanner::new(text.raw.trim_ascii()).whole_number() {
            Ok(WholeNumber::Is(count)) => Some(count),
            _ => None,
        });
    }
    Ok(match s.whole_number()? {
        WholeNumber::Is(count) => Some(count),
        WholeNumber::Absent | WholeNumber::Odd => None,
    })
}

#[cfg(test)]
#[path = "openai_usage/tests.rs"]
mod tests;
