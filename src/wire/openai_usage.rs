//! `usage` of Chat Completions, as OpenAI and those who speak its protocol write it.
//! <https://platform.openai.com/docs/api-reference/chat/object#chat-object-usage>
//!
//! In comes the JSON of one usage object, out come tokens that add up the same way for every vendor: cached,
//! cache-write and reasoning tokens are parts of their totals. What is spelt oddly (`12.0`, `"12"`) counts as its
//! value, what is no count (`-1`, `null`, `12.5`) as missing.

use crate::money::{NanoUsd, scaled};
use crate::prompt::json::{JsonError, RawStr, Scanner, WholeNumber};
use crate::reply::usage::{Apart, Calls, Usage, WhyUnknown};

use super::vendors::{Habits, Reasoning, States};

/// Usage beyond this many tokens is a defect of its sender, and would poison every sum that it entered.
pub(super) const TOKENS_PLAUSIBLE_MAX: u64 = 1 << 30;
/// A million dollars: who says that one call costs more does not count in dollars.
const STATED_NANO_PLAUSIBLE_MAX: i64 = 1_000_000_000_000_000;
/// Nano-dollars of a dollar, and of one of xAI's ticks, as powers of ten.
const DOLLAR_IN_NANO: i32 = 9;
const TICK_IN_NANO: i32 = -1;

/// What a usage object says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reported {
    /// The tokens by kind.
    pub usage: Usage,
    /// What else is billed: tokens of kinds that are priced apart, such as audio, or fees for searches.
    pub beside: Option<WhyUnknown>,
    /// What the provider says that it charges for all of it, fees included. Never zero, which some say of what they
    /// have not reckoned yet.
    pub stated: Option<NanoUsd>,
}

/// Reads one usage object; `None` for what is not one, or lacks the figures that matter.
pub fn read(json: &str, habits: Habits) -> Option<Reported> {
    let mut scanner = Scanner::new(json);
    let mut figures = Figures::default();
    scanner.object::<JsonError>(|s, key| figures.member(s, key)).ok()?;
    let stated = figures.stated(habits.states);
    figures.normalised(habits).map(|reported| Reported { stated, ..reported })
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
    audio_heard: Option<u64>,
    audio_cached: Option<u64>,
    audio_made: Option<u64>,
    images_seen: Option<u64>,
    images_made: Option<u64>,
    web_searches: Option<u64>,
    web_fetches: Option<u64>,
    code_runs: Option<u64>,
    file_searches: Option<u64>,
    /// `input_tokens` and `output_tokens`, which count for want of the other names.
    input: Option<u64>,
    output: Option<u64>,
    /// What was read from the cache and written to it by Anthropic's own names, which are beside its `input_tokens`.
    cache_read: Option<u64>,
    cache_creation: Option<u64>,
    beside: Option<WhyUnknown>,
    /// A cost, and the same in xAI's ticks, as they are spelt.
    cost: Option<String>,
    /// What of the cost is of tokens, in nano-dollars, where the cost has parts.
    tokens_cost: Option<u64>,
    ticks: Option<String>,
    /// The cost is the host's fee alone: the model's provider bills the client's own key.
    is_byok: bool,
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
            // https://openrouter.ai/docs/use-cases/usage-accounting; Perplexity's is an object:
            // https://docs.perplexity.ai/api-reference/chat-completions-post
            "cost" if s.peek() == Some(b'{') => s
                .object::<JsonError>(|s, key| match key.raw {
                    "total_cost" => spelt(&mut self.cost, s),
                    "input_tokens_cost" | "output_tokens_cost" => self.of_tokens(s),
                    _ => s.pass(),
                })
                .map(drop),
            "cost" => spelt(&mut self.cost, s),
            "is_byok" => {
                let range = s.skip()?;
                self.is_byok = s.text(range) == "true";
                Ok(())
            }
            // https://docs.x.ai/developers/cost-tracking
            "cost_in_usd_ticks" => spelt(&mut self.ticks, s),
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
                s.object::<JsonError>(|s, key| self.of_tools(s, key)).map(drop)
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
            "audio_tokens" => note(&mut self.audio_heard, s),
            // https://platform.openai.com/docs/api-reference/images/object#images-object-usage
            "image_tokens" => note(&mut self.images_seen, s),
            // https://platform.openai.com/docs/guides/realtime-costs
            "cached_tokens_details" if s.peek() == Some(b'{') => s
                .object::<JsonError>(|s, key| match key.raw {
                    "audio_tokens" => note(&mut self.audio_cached, s),
                    _ => s.pass(),
                })
                .map(drop),
            // Anthropic's models behind OpenAI's protocol; the second is LiteLLM's name:
            // https://docs.litellm.ai/docs/completion/prompt_caching
            "cache_creation" | "cache_creation_token_details" if s.peek() == Some(b'{') => self.parts_written(s),
            _ => s.pass(),
        }
    }

    /// Calls of tools that the provider runs: <https://docs.claude.com/en/api/messages#response-usage-server-tool-use>, xAI's:
    /// <https://docs.x.ai/docs/guides/tools/overview>. Others than those have fees that no book knows by name.
    fn of_tools(&mut self, s: &mut Scanner<'_>, key: RawStr<'_>) -> Result<(), JsonError> {
        match key.raw {
            "web_search_requests" | "web_search_calls" => note(&mut self.web_searches, s),
            "web_fetch_requests" => note(&mut self.web_fetches, s),
            "code_interpreter_calls" => note(&mut self.code_runs, s),
            "file_search_calls" => note(&mut self.file_searches, s),
            _ => self.charged_apart(WhyUnknown::Fees, s),
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
            "audio_tokens" => note(&mut self.audio_made, s),
            "image_tokens" => note(&mut self.images_made, s),
            _ => s.pass(),
        }
    }

    /// Adds a part of the cost that is of tokens.
    fn of_tokens(&mut self, s: &mut Scanner<'_>) -> Result<(), JsonError> {
        let range = s.skip()?;
        let part = scaled(s.text(range), DOLLAR_IN_NANO).map_or(0, |nano| nano.whole);
        self.tokens_cost = Some(self.tokens_cost.unwrap_or(0).saturating_add(part));
        Ok(())
    }

    /// Whether the cost has parts, and is more than those of tokens: it has fees, or tokens of other kinds. A nano-dollar a
    /// part may have been rounded away.
    fn has_fees(&self) -> bool {
        const ROUNDED: u64 = 3;
        let whole = self.cost.as_deref().and_then(|cost| scaled(cost, DOLLAR_IN_NANO)).map_or(0, |nano| nano.whole);
        self.tokens_cost.is_some_and(|of_tokens| whole > of_tokens.saturating_add(ROUNDED))
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

    fn stated(&self, states: States) -> Option<NanoUsd> {
        let nano = match states {
            States::Nothing => None,
            States::Dollars if self.is_byok => None,
            States::Dollars => scaled(self.cost.as_deref()?, DOLLAR_IN_NANO),
            States::Ticks => scaled(self.ticks.as_deref()?, TICK_IN_NANO),
        }?;
        i64::try_from(nano.whole).ok().filter(|nano| (1..=STATED_NANO_PLAUSIBLE_MAX).contains(nano)).map(NanoUsd)
    }

    /// Figures that contradict each other are taken for what they must at least mean: a whole is never less than
    /// its parts, and what a total has too much was billed.
    fn normalised(self, habits: Habits) -> Option<Reported> {
        let has_fees = self.has_fees();
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
        let (beside, unexplained) = match (excess, habits.reasoning) {
            (Some(0), _) => (0, false),
            (Some(excess), _) if excess == reasoning => (reasoning, false),
            (Some(excess), Reasoning::Beside) => (excess.max(reasoning), false),
            (Some(_), Reasoning::Within) => (0, true),
            (None, Reasoning::Beside) => (reasoning, false),
            (None, Reasoning::Within) => (0, false),
        };
        reasoning = reasoning.max(beside);
        let apart = Apart {
            audio_input_tokens: self.audio_heard.unwrap_or(0),
            cached_audio_input_tokens: self.audio_cached,
            audio_output_tokens: self.audio_made.unwrap_or(0),
            image_input_tokens: self.images_seen.unwrap_or(0),
            image_output_tokens: self.images_made.unwrap_or(0),
            calls: Calls {
                web_search: self.web_searches.unwrap_or(0),
                web_fetch: self.web_fetches.unwrap_or(0),
                code_interpreter: self.code_runs.unwrap_or(0),
                file_search: self.file_searches.unwrap_or(0),
            },
        };
        let heard_and_seen = apart.audio_input_tokens.saturating_add(apart.image_input_tokens);
        let spoken_and_drawn = apart.audio_output_tokens.saturating_add(apart.image_output_tokens);
        // More than the whole: some count them beside it, and how they bill them no one knows.
        let is_beside = heard_and_seen > input || spoken_and_drawn > output;
        let usage = Usage {
            input_tokens: input.max(cached.saturating_add(written)),
            cached_input_tokens: cached,
            cache_write_tokens: written - written_1h,
            cache_write_1h_tokens: written_1h,
            output_tokens: output.saturating_add(beside).max(reasoning),
            reasoning_tokens: reasoning,
            apart: if is_beside { Apart { calls: apart.calls, ..Apart::NONE } } else { apart },
        };
        let plausible = usage.input_tokens.max(usage.output_tokens) <= TOKENS_PLAUSIBLE_MAX;
        let beside = self.beside.max(is_beside.then_some(WhyUnknown::OtherTokens));
        let beside = beside.max(unexplained.then_some(WhyUnknown::Total)).max(has_fees.then_some(WhyUnknown::Fees));
        plausible.then_some(Reported { usage, beside, stated: None })
    }
}

fn spelt(number: &mut Option<String>, s: &mut Scanner<'_>) -> Result<(), JsonError> {
    let range = s.skip()?;
    *number = Some(s.text(range).to_owned());
    Ok(())
}

pub(super) fn note(figure: &mut Option<u64>, s: &mut Scanner<'_>) -> Result<(), JsonError> {
    *figure = (*figure).max(count(s)?);
    Ok(())
}

/// A count, however it is spelt; `None` for what is none.
pub(super) fn count(s: &mut Scanner<'_>) -> Result<Option<u64>, JsonError> {
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
