//! How vendors that speak OpenAI's protocol differ in what they mean by it and in what they take: a row a vendor, nothing
//! but data.
//!
//! Of replies only what they cannot tell by themselves belongs here. Where the figures decide, as a total does that is the
//! sum of its parts in one way only, the arithmetic in `openai_usage` is believed, whoever sent them. Of requests that
//! belongs here which one vendor wants and another refuses, wherever it is written.

use crate::dialect::Dialect;
use crate::reply::usage::ServiceTier;

/// What a vendor's words mean where they do not mean what OpenAI's do.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Habits {
    /// Where reasoning tokens are counted.
    pub reasoning: Reasoning,
    /// What the service tiers that its replies name are charged at.
    pub tiers: Tiers,
    /// Whether its usage says what it charges.
    pub states: States,
}

/// Where a vendor counts the tokens of reasoning.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Reasoning {
    /// They are part of `completion_tokens`.
    #[default]
    Within,
    /// They are billed beside `completion_tokens`, and what a total has too much is they.
    Beside,
}

/// What a vendor charges in its service tiers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Tiers {
    /// What the price book says of each.
    #[default]
    Priced,
    /// List price in `flex` too.
    FlexAtListPrice,
}

/// What a vendor's usage says of its cost. A member `cost` of anybody else may be in any currency.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum States {
    /// Nothing.
    #[default]
    Nothing,
    /// `cost` in US dollars.
    Dollars,
    /// `cost_in_usd_ticks`, ten thousand million of which are a dollar.
    Ticks,
}

/// What a vendor takes in the words of OpenAI's dialects, where not everybody takes the same.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Takes {
    /// Whose words of those that OpenAI has renamed.
    pub words: Words,
    /// Members that steer its cache of prompts; they are called the same in both of OpenAI's dialects.
    pub cache_members: &'static [&'static str],
    /// Whether parts and tools may have markers of caching.
    pub marks: bool,
    /// Whether `top_k` is taken beside what OpenAI has.
    pub top_k: bool,
    /// Which of its models are told how long to think.
    pub efforts: Efforts,
    /// What a message of several texts is.
    pub texts: Texts,
    /// Whether thoughts that may be read go back to the model that thought them.
    pub thoughts: Thoughts,
    /// What goes back with a call beside its name and its arguments.
    pub seals: Seals,
    /// What an id of a call may be.
    pub call_ids: CallIds,
    /// Whether it is told whom a client works for.
    pub user: bool,
}

/// Words that OpenAI has renamed and others have not: who may instruct, the limit of output, the user's name, the tier.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Words {
    /// As OpenAI has them today, whose models that reason also keep their thoughts in Responses alone.
    OpenAi,
    /// As they were.
    Older,
}

/// Which models are told how long to think.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Efforts {
    /// None is known to be.
    Nobody,
    /// OpenAI's that reason, by their names.
    OpenAi,
    /// Those in whose names one of these stands.
    Named(&'static [&'static str]),
    /// All: what a model does not take is left out behind the door.
    All,
}

/// What a message of several texts is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Texts {
    /// Parts, a text each.
    Parts,
    /// One text: an array is refused.
    Joined,
}

/// Whether thoughts go back that may be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Thoughts {
    /// They are refused, or of no use.
    Never,
    /// In `reasoning_content`, which must be there beside calls.
    Back,
}

/// What goes back with a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Seals {
    /// Nothing.
    None,
    /// Google's `thought_signature`, without which a model from this version of Gemini on takes no call back.
    Google {
        /// The first version that insists.
        from: u32,
    },
}

/// What an id of a call may be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CallIds {
    /// Anything.
    Any,
    /// So many letters and digits.
    Plain(usize),
}

/// One who has said nothing of itself.
const PLAIN: Takes = Takes {
    words: Words::Older,
    cache_members: &[],
    marks: false,
    top_k: false,
    efforts: Efforts::Nobody,
    texts: Texts::Parts,
    thoughts: Thoughts::Never,
    seals: Seals::None,
    call_ids: CallIds::Any,
    user: true,
};

/// <https://ai.google.dev/gemini-api/docs/thought-signatures>, `…/openai`
const GOOGLE: Takes =
    Takes { efforts: Efforts::Named(&["gemini-2.5", "gemini-3"]), seals: Seals::Google { from: 3 }, ..PLAIN };

/// What each takes; everyone who is not here is like [`PLAIN`].
const TAKES: [(&str, Takes); 14] = [
    // https://platform.openai.com/docs/guides/prompt-caching
    ("azure", Takes { words: Words::OpenAi, cache_members: &["prompt_cache_key"], efforts: Efforts::OpenAi, ..PLAIN }),
    // https://api-docs.deepseek.com/guides/thinking_mode#tool-calls: "the API will return a 400 error" without them. Its
    // reader of messages says of an array: "invalid type: sequence, expected a string".
    ("deepseek", Takes { texts: Texts::Joined, thoughts: Thoughts::Back, ..PLAIN }),
    ("fireworks", Takes { top_k: true, ..PLAIN }),
    ("gemini", GOOGLE),
    // https://console.groq.com/docs/api-reference#chat: the content of systems, tools and assistants is a string.
    ("groq", Takes { texts: Texts::Joined, ..PLAIN }),
    // As presets have called it, and as rows may that name no preset.
    ("llama.cpp", Takes { top_k: true, ..PLAIN }),
    ("llamacpp", Takes { top_k: true, ..PLAIN }),
    // https://docs.mistral.ai/api/#tag/chat: members that are not there are refused, and so are ids but of nine.
    ("mistral", Takes { call_ids: CallIds::Plain(9), user: false, ..PLAIN }),
    ("ollama", Takes { top_k: true, ..PLAIN }),
    (
        "openai",
        Takes {
            words: Words::OpenAi,
            cache_members: &["prompt_cache_key", "prompt_cache_retention"],
            efforts: Efforts::OpenAi,
            ..PLAIN
        },
    ),
    // It leaves out what a model does not take: https://openrouter.ai/docs/api-reference/parameters
    ("openrouter", Takes { marks: true, top_k: true, efforts: Efforts::All, ..PLAIN }),
    ("together", Takes { top_k: true, ..PLAIN }),
    ("vertex", GOOGLE),
    ("vllm", Takes { top_k: true, ..PLAIN }),
];

impl Takes {
    /// That of a vendor, by the name that price-book keys begin with.
    pub fn of(vendor: &str) -> Self {
        TAKES.iter().find(|(name, _)| *name == vendor).map_or(PLAIN, |(_, takes)| *takes)
    }

    /// Whether it has OpenAI's words.
    pub fn is_openai(self) -> bool {
        self.words == Words::OpenAi
    }

    /// Whether a model of its wants a seal back with each first call of a message: one of ours that says that there is none
    /// does too.
    pub fn insists_on_seals(self, model: &str) -> bool {
        let Seals::Google { from } = self.seals else { return false };
        let version = model.rsplit('/').next().and_then(|name| name.strip_prefix("gemini-"));
        let major = version.map(|version| version.split(['.', '-']).next().unwrap_or_default().parse::<u32>());
        match major {
            Some(Ok(major)) => major >= from,
            // A name without a version is that of the newest.
            Some(Err(_)) => true,
            None => false,
        }
    }
}

/// Everyone who is not here speaks as OpenAI does.
const VENDORS: [(&str, Habits); 6] = [
    // https://ai.google.dev/gemini-api/docs/openai: a total is the prompt, the candidates and the thoughts.
    ("gemini", Habits { reasoning: Reasoning::Beside, tiers: Tiers::Priced, states: States::Nothing }),
    // https://console.groq.com/docs/flex-processing: "Pricing matches the on-demand tier."
    ("groq", Habits { reasoning: Reasoning::Within, tiers: Tiers::FlexAtListPrice, states: States::Nothing }),
    // https://openrouter.ai/docs/use-cases/usage-accounting: "the total amount charged to your account".
    ("openrouter", Habits { reasoning: Reasoning::Within, tiers: Tiers::Priced, states: States::Dollars }),
    // https://docs.perplexity.ai/getting-started/pricing: tokens and a fee for each request, in one total.
    ("perplexity", Habits { reasoning: Reasoning::Within, tiers: Tiers::Priced, states: States::Dollars }),
    ("vertex", Habits { reasoning: Reasoning::Beside, tiers: Tiers::Priced, states: States::Nothing }),
    // https://docs.x.ai/docs/key-information/consumption-and-rate-limits: reasoning is "counted separately from
    // completion_tokens, but will be counted in the total_tokens".
    ("xai", Habits { reasoning: Reasoning::Beside, tiers: Tiers::Priced, states: States::Ticks }),
];

impl Habits {
    /// The tier that a request is charged at where its reply, or else the request itself, names `text`.
    pub fn charged_tier(self, text: &str) -> ServiceTier {
        match (ServiceTier::from_reply(text), self.tiers) {
            (ServiceTier::Flex, Tiers::FlexAtListPrice) => ServiceTier::Standard,
            (tier, _) => tier,
        }
    }

    /// That of a vendor, by the name that price-book keys begin with.
    pub fn of(vendor: &str) -> Self {
        VENDORS.iter().find(|(name, _)| *name == vendor).map_or(Self::default(), |(_, habits)| *habits)
    }
}

/// The member by which a vendor is told in a dialect the most output tokens, reasoning included, where the client named none.
/// OpenAI's reasoning models refuse the older name, which everybody else still takes:
/// <https://platform.openai.com/docs/api-reference/chat/create#chat-create-max_completion_tokens>
pub fn output_limit_member(dialect: Dialect, vendor: &str) -> &'static str {
    match dialect {
        Dialect::Responses => "max_output_tokens",
        Dialect::Chat if Takes::of(vendor).is_openai() => "max_completion_tokens",
        _ => "max_tokens",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_model_insists_on_is_told_by_its_name() {
        for (vendor, model, expected) in [
            ("gemini", "gemini-3-pro-preview", true),
            ("vertex", "google/gemini-3.1-flash", true),
            ("gemini", "gemini-flash-latest", true),
            ("gemini", "gemini-2.5-pro", false),
            ("gemini", "gemma-3-27b", false),
            ("openai", "gemini-3-pro", false),
        ] {
            assert_eq!(Takes::of(vendor).insists_on_seals(model), expected, "{vendor}/{model}");
        }
    }

    #[test]
    fn of_whom_nothing_is_said_nothing_is_known() {
        assert_eq!(Takes::of("somebody"), PLAIN);
    }
}
