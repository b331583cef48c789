//! What each Claude model takes, by its name: families and generations differ in what they refuse.
//!
//! <https://platform.claude.com/docs/en/about-claude/models/overview>,
//! <https://platform.claude.com/docs/en/build-with-claude/prompt-caching>

/// A model by family and generation. A name that says neither is taken for a new one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Claude<'a> {
    family: &'a str,
    generation: (u32, u32),
}

impl<'a> Claude<'a> {
    /// Reads `claude-opus-4-7`, `claude-haiku-4-5-20251001`, `claude-sonnet-5` …
    pub(super) fn named(name: &'a str) -> Self {
        let mut words = name.trim_start_matches("claude-").split('-');
        let family = words.next().unwrap_or_default();
        let mut number = || words.next().and_then(|word| word.parse::<u32>().ok()).filter(|number| *number < 100);
        match number() {
            Some(major) => Self { family, generation: (major, number().unwrap_or(0)) },
            None => Self { family, generation: (5, 5) },
        }
    }

    fn is_opus_since(self, generation: (u32, u32)) -> bool {
        self.family == "opus" && self.generation >= generation
    }

    /// Opus from 4.7 on, and everybody of the fifth generation.
    fn is_new(self) -> bool {
        self.is_opus_since((4, 7)) || self.generation >= (5, 0)
    }

    /// Shortest prefix that is cached, in tokens.
    pub(super) fn cached_tokens_min(self) -> u64 {
        match (self.family, self.generation) {
            ("opus", (4, 5 | 6)) | ("haiku", (4, 5)) => 4096,
            ("sonnet", (4, 6)) => 2048,
            _ => 1024,
        }
    }

    pub(super) fn output_tokens_max(self) -> i64 {
        if self.generation < (4, 6) { 64_000 } else { 128_000 }
    }

    pub(super) fn takes_sampling(self) -> bool {
        !self.is_new()
    }

    /// `thinking.type: enabled` with a budget.
    pub(super) fn takes_budget(self) -> bool {
        !self.is_new()
    }

    pub(super) fn takes_adaptive_thinking(self) -> bool {
        self.generation >= (4, 6)
    }

    /// Thinking is on unless it is turned off.
    pub(super) fn thinks_by_default(self) -> bool {
        self.generation >= (5, 0)
    }

    /// A final assistant message that the answer continues.
    pub(super) fn takes_prefill(self) -> bool {
        self.generation < (4, 6)
    }

    /// `role: "system"` among the messages.
    pub(super) fn takes_system_messages(self) -> bool {
        match self.family {
            "opus" => self.generation >= (4, 8),
            "sonnet" => self.generation > (5, 0),
            _ => self.generation >= (5, 0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(name: &str, expected: (u32, u32)) {
        assert_eq!(Claude::named(name).generation, expected, "{name}");
    }

    #[test]
    fn a_name_says_the_generation() {
        check("claude-opus-4-7", (4, 7));
        check("claude-haiku-4-5-20251001", (4, 5));
        check("claude-sonnet-5", (5, 0));
        check("claude-sonnet-4-20250514", (4, 0));
        check("claude-next", (5, 5));
    }

    #[test]
    fn generations_differ_in_what_they_take() {
        let takes = |name| {
            let model = Claude::named(name);
            (model.takes_sampling(), model.takes_adaptive_thinking(), model.takes_system_messages())
        };
        assert_eq!(takes("claude-sonnet-4-5"), (true, false, false));
        assert_eq!(takes("claude-sonnet-4-6"), (true, true, false));
        assert_eq!(takes("claude-opus-4-7"), (false, true, false));
        assert_eq!(takes("claude-opus-4-8"), (false, true, true));
        assert_eq!(takes("claude-sonnet-5"), (false, true, false));
        assert_eq!(takes("claude-opus-5-5"), (false, true, true));
    }
}
