//! `usage` of Anthropic's Messages, put together over the events of a stream.
//! <https://platform.claude.com/docs/en/api/messages>, `…/build-with-claude/streaming`
//!
//! The first event tells the input, later ones how much has been written so far and, newer hosts, the input once more.
//! Each figure is a total that only grows, so that the largest of each counts; `null` is no figure. `input_tokens` leave out
//! what went through the cache.

use crate::prompt::json::{JsonError, Scanner};
use crate::reply::usage::{Apart, Calls, ServiceTier, Usage, WhyUnknown};

use super::openai_usage::{TOKENS_PLAUSIBLE_MAX, count, note};
use super::vendors::Habits;

/// What has been told so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Running {
    input: Option<u64>,
    read: Option<u64>,
    written: Option<u64>,
    written_5m: Option<u64>,
    written_1h: Option<u64>,
    output: Option<u64>,
    thinking: Option<u64>,
    web_searches: Option<u64>,
    web_fetches: Option<u64>,
    /// Other tools that the provider ran, whose fees no book knows by name.
    fees: bool,
    tier: Option<ServiceTier>,
}

impl Running {
    /// Takes note of one usage object.
    pub fn take(&mut self, s: &mut Scanner<'_>, habits: Habits) -> Result<(), JsonError> {
        if s.peek() != Some(b'{') {
            return s.pass();
        }
        s.object::<JsonError>(|s, key| match key.raw {
            "input_tokens" => note(&mut self.input, s),
            "cache_read_input_tokens" => note(&mut self.read, s),
            "cache_creation_input_tokens" => note(&mut self.written, s),
            "cache_creation" if s.peek() == Some(b'{') => s
                .object::<JsonError>(|s, key| match key.raw {
                    "ephemeral_5m_input_tokens" => note(&mut self.written_5m, s),
                    "ephemeral_1h_input_tokens" => note(&mut self.written_1h, s),
                    _ => s.pass(),
                })
                .map(drop),
            "output_tokens" => note(&mut self.output, s),
            "output_tokens_details" if s.peek() == Some(b'{') => s
                .object::<JsonError>(|s, key| match key.raw {
                    "thinking_tokens" => note(&mut self.thinking, s),
                    _ => s.pass(),
                })
                .map(drop),
            "server_tool_use" if s.peek() == Some(b'{') => s
                .object::<JsonError>(|s, key| match key.raw {
                    "web_search_requests" => note(&mut self.web_searches, s),
                    "web_fetch_requests" => note(&mut self.web_fetches, s),
                    _ => {
                        self.fees |= count(s)?.is_some_and(|calls| calls > 0);
                        Ok(())
                    }
                })
                .map(drop),
            "service_tier" => {
                let tier = s.string_or_skip()?.map(|tier| habits.charged_tier(&tier.decode()));
                self.tier = self.tier.max(tier);
                Ok(())
            }
            // Faster answers, and answers from one country, are charged beside the list.
            // <https://platform.claude.com/docs/en/about-claude/pricing>
            "speed" => self.apart("fast", s),
            "inference_geo" => self.apart("us", s),
            _ => s.pass(),
        })
        .map(drop)
    }

    fn apart(&mut self, dear: &str, s: &mut Scanner<'_>) -> Result<(), JsonError> {
        if s.string_or_skip()?.is_some_and(|word| word.decode() == dear) {
            self.tier = Some(ServiceTier::Other);
        }
        Ok(())
    }

    /// The tokens so far; `None` while the input or the output is not known.
    pub fn usage(&self) -> Option<Usage> {
        let written_1h = self.written_1h.unwrap_or(0);
        let parts = self.written_5m.unwrap_or(0).saturating_add(written_1h);
        let (read, written) = (self.read.unwrap_or(0), self.written.unwrap_or(0).max(parts));
        let input_tokens = self.input?.saturating_add(read).saturating_add(written);
        let thinking = self.thinking.unwrap_or(0);
        let output_tokens = self.output?.max(thinking);
        (input_tokens.max(output_tokens) <= TOKENS_PLAUSIBLE_MAX).then_some(Usage {
            input_tokens,
            cached_input_tokens: read,
            cache_write_tokens: written - written_1h,
            cache_write_1h_tokens: written_1h,
            output_tokens,
            reasoning_tokens: thinking,
            apart: Apart { calls: self.calls(), ..Apart::NONE },
        })
    }

    fn calls(&self) -> Calls {
        let (web_search, web_fetch) = (self.web_searches.unwrap_or(0), self.web_fetches.unwrap_or(0));
        Calls { web_search, web_fetch, ..Calls::NONE }
    }

    /// What is billed beside the tokens, and not known by name.
    pub fn beside(&self) -> Option<WhyUnknown> {
        self.fees.then_some(WhyUnknown::Fees)
    }

    /// The price class that was applied, as far as it has been told.
    pub fn tier(&self) -> Option<ServiceTier> {
        self.tier
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(objects: &[&str]) -> Running {
        let mut running = Running::default();
        for json in objects {
            running.take(&mut Scanner::new(json), Habits::default()).unwrap();
        }
        running
    }

    #[test]
    fn a_stream_s_figures_are_put_together() {
        let first = r#"{"input_tokens":100,"cache_creation_input_tokens":30,"cache_read_input_tokens":900,
            "cache_creation":{"ephemeral_5m_input_tokens":10,"ephemeral_1h_input_tokens":20},"output_tokens":1,"service_tier":"standard"}"#;
        let last = r#"{"output_tokens":15,"input_tokens":null,"output_tokens_details":{"thinking_tokens":5}}"#;
        let running = told(&[first, last]);
        let expected = Usage {
            input_tokens: 1030,
            cached_input_tokens: 900,
            cache_write_tokens: 10,
            cache_write_1h_tokens: 20,
            output_tokens: 15,
            reasoning_tokens: 5,
            ..Usage::default()
        };
        assert_eq!((running.usage(), running.tier()), (Some(expected), Some(ServiceTier::Standard)));
        let twice = told(&[first, last, last]);
        assert_eq!(twice.usage(), Some(expected), "a total told twice is the same total");
    }

    #[test]
    fn half_of_the_figures_are_none() {
        assert_eq!(told(&[r#"{"output_tokens":15}"#]).usage(), None);
        assert_eq!(told(&[r#"{"input_tokens":15,"output_tokens":null}"#, "null"]).usage(), None);
        assert_eq!(told(&[r#"{"input_tokens":1,"output_tokens":99999999999}"#]).usage(), None);
        assert_eq!(told(&[r#"{"input_tokens":0,"output_tokens":0}"#]).usage(), Some(Usage::default()));
    }

    #[test]
    fn what_is_charged_beside_the_list_has_no_list_price() {
        for (json, tier) in [
            (r#"{"service_tier":"batch"}"#, ServiceTier::Batch),
            (r#"{"service_tier":"priority"}"#, ServiceTier::Priority),
            (r#"{"service_tier":"standard","speed":"fast"}"#, ServiceTier::Other),
            (r#"{"service_tier":"standard","inference_geo":"us"}"#, ServiceTier::Other),
            (r#"{"service_tier":"standard","inference_geo":"global","speed":"standard"}"#, ServiceTier::Standard),
        ] {
            assert_eq!(told(&[json]).tier(), Some(tier), "{json}");
        }
    }

    /// <https://platform.claude.com/docs/en/agents-and-tools/tool-use/web-search-tool#usage-and-pricing>
    #[test]
    fn searches_and_pages_of_messages_are_counted_and_other_tools_noticed() {
        let check = |objects: &[&str], calls: [u64; 4], beside: Option<WhyUnknown>| {
            let running = told(&[&[r#"{"input_tokens":105,"output_tokens":1}"#], objects].concat());
            assert_eq!(
                (running.usage().unwrap().apart.calls, running.beside()),
                (Calls::of(calls), beside),
                "{objects:?}"
            );
        };
        check(&[r#"{"server_tool_use":{"web_search_requests":2,"web_fetch_requests":1}}"#], [2, 1, 0, 0], None);
        // Totals so far, of which the largest counts.
        let (first, last) =
            (r#"{"server_tool_use":{"web_search_requests":1}}"#, r#"{"server_tool_use":{"web_search_requests":3}}"#);
        check(&[first, last], [3, 0, 0, 0], None);
        check(&[r#"{"server_tool_use":{"web_search_requests":0,"x":0}}"#, r#"{"server_tool_use":null}"#], [0; 4], None);
        check(&[r#"{"server_tool_use":{"web_search_requests":1,"x":2}}"#], [1, 0, 0, 0], Some(WhyUnknown::Fees));
    }
}
