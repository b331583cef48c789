//! How long a model is to think, in each dialect's measure, and which models take it.
//!
//! A table of what is documented of names of models. Of a name that is not in it nothing is known, and then nothing is
//! sent that it may refuse.
//! <https://platform.claude.com/docs/en/build-with-claude/effort>, `…/extended-thinking`,
//! <https://platform.openai.com/docs/guides/reasoning>

use crate::wire::vendors::{Efforts, Takes};

/// How long to think.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Effort {
    /// Not at all.
    None,
    /// Hardly.
    Minimal,
    /// A little.
    Low,
    /// Somewhat.
    Medium,
    /// Well.
    High,
    /// Better than that.
    Xhigh,
    /// As long as it takes.
    Max,
}

/// The least budget of thinking that Anthropic takes, in tokens.
pub const BUDGET_MIN: u64 = 1_024;

impl Effort {
    /// By its word, which is the same in all dialects that have it.
    pub fn of_word(word: &str) -> Option<Self> {
        Some(match word {
            "none" => Self::None,
            "minimal" => Self::Minimal,
            "low" => Self::Low,
            "medium" => Self::Medium,
            "high" => Self::High,
            "xhigh" => Self::Xhigh,
            "max" => Self::Max,
            _ => return None,
        })
    }

    /// By a budget of thinking, in tokens.
    pub fn of_budget(tokens: u64) -> Self {
        match tokens {
            0..=2_048 => Self::Low,
            2_049..=8_192 => Self::Medium,
            _ => Self::High,
        }
    }

    /// A budget of thinking, in tokens.
    pub fn budget(self) -> u64 {
        match self {
            Self::None => 0,
            Self::Minimal => BUDGET_MIN,
            Self::Low => 2_048,
            Self::Medium => 8_192,
            Self::High => 16_384,
            Self::Xhigh => 24_576,
            Self::Max => 32_000,
        }
    }

    /// The word for it that a chat model takes; none if the model takes no such word.
    pub fn chat_word(self, vendor: &str, model: &str) -> Option<&'static str> {
        let gpt = gpt(model);
        let takes_none = gpt.is_some_and(|version| version >= (5, 1)) || Takes::of(vendor).efforts == Efforts::All;
        let takes_xhigh = gpt.is_some_and(|version| version >= (5, 2));
        match self {
            _ if !reasons(vendor, model) => None,
            Self::None => takes_none.then_some("none"),
            Self::Minimal => Some(if gpt == Some((5, 0)) { "minimal" } else { "low" }),
            Self::Low => Some("low"),
            Self::Medium => Some("medium"),
            Self::High => Some("high"),
            Self::Xhigh | Self::Max => Some(if takes_xhigh { "xhigh" } else { "high" }),
        }
    }

    /// The word for it in `output_config.effort` of Messages, for a model that thinks adaptively.
    pub fn messages_word(self, claude: Claude) -> Option<&'static str> {
        Some(match self {
            Self::None => return None,
            Self::Minimal | Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Xhigh if claude.version >= (4, 7) => "xhigh",
            Self::Xhigh => "high",
            Self::Max => "max",
        })
    }
}

/// Whether a chat model is known to take an effort.
pub fn reasons(vendor: &str, model: &str) -> bool {
    match Takes::of(vendor).efforts {
        Efforts::Nobody => false,
        Efforts::OpenAi => is_openai_reasoner(model),
        Efforts::Named(names) => names.iter().any(|known| model.contains(known)),
        Efforts::All => true,
    }
}

/// Whether a model of OpenAI's reasons, and so refuses sampling and stop sequences.
pub fn is_openai_reasoner(model: &str) -> bool {
    let is_o = model.strip_prefix('o').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    let is_chat = model.contains("-chat");
    is_o || (!is_chat && gpt(model).is_some_and(|version| version >= (5, 0)))
}

/// A model's version, if it is a GPT.
fn gpt(model: &str) -> Option<(u32, u32)> {
    let rest = model.strip_prefix("gpt-")?;
    let version = rest.split('-').next()?;
    let mut numbers = version.split('.');
    let major = numbers.next()?.parse().ok()?;
    Some((major, numbers.next().and_then(|minor| minor.parse().ok()).unwrap_or(0)))
}

/// What is known of a Claude by its name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Claude {
    /// Its version.
    pub version: (u32, u32),
}

impl Claude {
    /// Reads a name, such as `claude-opus-4-7-20260401`, `claude-3-7-sonnet-latest` or a cloud's name with one in it.
    pub fn of(model: &str) -> Option<Self> {
        let (_, name) = model.split_once("claude-")?;
        // Dates have eight digits.
        let short = |word: &&str| word.len() <= 2 && word.bytes().all(|byte| byte.is_ascii_digit());
        let mut words = name.split(['-', '@', '.', ':']).skip_while(|word| !short(word));
        let major = words.next()?.parse().ok()?;
        let minor = words.next().filter(short).and_then(|word| word.parse().ok()).unwrap_or(0);
        Some(Self { version: (major, minor) })
    }

    /// Whether it thinks as long as it needs, by an effort instead of a budget.
    pub fn is_adaptive(self) -> bool {
        self.version >= (4, 6)
    }

    /// Whether it thinks by a budget.
    pub fn has_budget(self) -> bool {
        self.version >= (3, 7) && !self.is_adaptive()
    }

    /// Whether it takes `temperature`, `top_p` and `top_k`.
    pub fn takes_sampling(self) -> bool {
        self.version < (4, 7)
    }
}

/// Whether a model that is called in Messages takes a schema that its answer must follow. A Claude whose name has no
/// version is the newest; of others nothing is known.
pub fn claude_takes_format(model: &str) -> bool {
    Claude::of(model).map_or_else(|| model.contains("claude"), |claude| claude.version >= (4, 5))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_claude(model: &str, version: (u32, u32)) {
        assert_eq!(Claude::of(model).map(|claude| claude.version), Some(version), "{model}");
    }

    #[test]
    fn the_name_of_a_claude_has_its_version() {
        check_claude("claude-opus-4-7-20260401", (4, 7));
        check_claude("claude-sonnet-4-20250514", (4, 0));
        check_claude("claude-3-7-sonnet-latest", (3, 7));
        check_claude("claude-opus-5-5", (5, 5));
        check_claude("claude-haiku-4.5", (4, 5));
        check_claude("us.anthropic.claude-opus-4-6-v1:0", (4, 6));
        check_claude("claude-opus-4-1@20250805", (4, 1));
        assert_eq!(Claude::of("deepseek-chat"), None);
    }

    #[test]
    fn a_schema_is_for_models_that_take_one() {
        for (model, expected) in [
            ("claude-opus-4-5-20251101", true),
            ("claude-sonnet-4-20250514", false),
            ("claude-sonnet-latest", true),
            ("deepseek-chat", false),
        ] {
            assert_eq!(claude_takes_format(model), expected, "{model}");
        }
    }

    #[test]
    fn an_effort_is_said_only_to_models_that_take_it() {
        let word = |effort: Effort, vendor, model| effort.chat_word(vendor, model);
        assert_eq!(word(Effort::High, "openai", "gpt-4o"), None);
        assert_eq!(word(Effort::Max, "openai", "gpt-5.6-codex"), Some("xhigh"));
        assert_eq!(word(Effort::Max, "openai", "o3"), Some("high"));
        assert_eq!(word(Effort::None, "openai", "gpt-5"), None);
        assert_eq!(word(Effort::None, "openai", "gpt-5.1"), Some("none"));
        assert_eq!(word(Effort::Medium, "groq", "llama-4"), None);
    }

    #[test]
    fn a_budget_is_an_effort_and_back_no_more() {
        for effort in [Effort::Minimal, Effort::Low, Effort::Medium, Effort::High] {
            assert_eq!(Effort::of_budget(effort.budget()).max(effort), Effort::of_budget(effort.budget()));
        }
        assert_eq!(Effort::of_budget(31_999), Effort::High);
    }
}
