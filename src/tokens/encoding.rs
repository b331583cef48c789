//! Counting the tokens of a text by OpenAI's encodings.
//!
//! [`count`] is exact for every text: what `tiktoken` makes of it as ordinary text, so that the spelling of a special
//! token (`<|endoftext|>`) is the letters that it consists of. The time grows hardly faster than the text, whatever
//! the text, but a megabyte of blanks takes ten times as long as one of prose. A table is read when its encoding is first asked for and stays: `docs/decisions/0012` has the sizes.

use std::sync::OnceLock;

use super::merges::Tokenizer;

/// One of OpenAI's encodings.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Encoding {
    /// GPT-3.5, GPT-4 and the embedding models.
    Cl100k,
    /// Everything from GPT-4o on, and the open-weight models.
    O200k,
}

/// How well an encoding tells what a model's provider counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fit {
    /// It is the model's own: a text has exactly so many tokens.
    Exact,
    /// The model's own is not public, or not here: only a ratio to what its provider reports makes sense of it.
    Nearest,
}

static CL100K: OnceLock<Tokenizer> = OnceLock::new();
static O200K: OnceLock<Tokenizer> = OnceLock::new();

/// Splits texts into pieces: <https://github.com/openai/tiktoken/blob/main/tiktoken_ext/openai_public.py>
const CL100K_PIECES: &str = concat!(
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}",
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+",
);
const O200K_PIECES: &str = concat!(
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+",
);

impl Encoding {
    /// Its name in `tiktoken` and in ledger rows.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cl100k => "cl100k_base",
            Self::O200k => "o200k_base",
        }
    }

    fn slot(self) -> &'static OnceLock<Tokenizer> {
        match self {
            Self::Cl100k => &CL100K,
            Self::O200k => &O200K,
        }
    }

    fn tokenizer(self) -> &'static Tokenizer {
        self.slot().get_or_init(|| match self {
            Self::Cl100k => Tokenizer::new(include_bytes!("tables/cl100k_base.gz"), CL100K_PIECES),
            Self::O200k => Tokenizer::new(include_bytes!("tables/o200k_base.gz"), O200K_PIECES),
        })
    }
}

/// How many tokens `text` is.
pub fn count(encoding: Encoding, text: &str) -> u64 {
    encoding.tokenizer().count(text)
}

/// What OpenAI's models are encoded with, by the beginning of their names; the first that fits counts.
/// <https://github.com/openai/tiktoken/blob/main/tiktoken/model.py>
const OPENAI: [(&str, Encoding); 18] = [
    ("gpt-oss", Encoding::O200k),
    ("gpt-4o", Encoding::O200k),
    ("gpt-4.1", Encoding::O200k),
    ("gpt-4.5", Encoding::O200k),
    ("gpt-5", Encoding::O200k),
    ("chatgpt-4o", Encoding::O200k),
    ("o1", Encoding::O200k),
    ("o3", Encoding::O200k),
    ("o4", Encoding::O200k),
    ("codex-mini", Encoding::O200k),
    ("gpt-4-", Encoding::Cl100k),
    ("gpt-3.5-turbo", Encoding::Cl100k),
    ("gpt-35-turbo", Encoding::Cl100k),
    ("text-embedding-3", Encoding::Cl100k),
    ("text-embedding-ada-002", Encoding::Cl100k),
    ("davinci-002", Encoding::Cl100k),
    ("babbage-002", Encoding::Cl100k),
    ("ft:gpt-3.5-turbo", Encoding::Cl100k),
];

/// The encoding to count a model's tokens with.
///
/// [`Fit::Exact`] for OpenAI's models, at OpenAI, at Azure under the model's name, and for its open-weight models
/// wherever they run; [`Fit::Nearest`] for every other, and for those of OpenAI whose encoding is not published.
pub fn encoding_for(vendor: &str, model: &str) -> (Encoding, Fit) {
    let of_openai = matches!(vendor, "openai" | "azure");
    // Hosts put the maker, a region or a path before the name.
    let name = model.rsplit(['/', '.']).find(|part| part.starts_with("gpt-oss"));
    let name = name.or_else(|| of_openai.then(|| model.rsplit('/').next().unwrap_or(model)));
    let Some(name) = name else { return (Encoding::O200k, Fit::Nearest) };
    if matches!(name, "gpt-4" | "ft:gpt-4") {
        return (Encoding::Cl100k, Fit::Exact);
    }
    let known = OPENAI.iter().find(|(prefix, _)| name.starts_with(prefix));
    known.map_or((Encoding::O200k, Fit::Nearest), |(_, encoding)| (*encoding, Fit::Exact))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(vendor: &str, model: &str, encoding: Encoding, fit: Fit) {
        assert_eq!(encoding_for(vendor, model), (encoding, fit), "{vendor}/{model}");
    }

    #[test]
    fn openai_s_models_have_their_own_encoding() {
        for model in ["gpt-4o", "gpt-4.1-mini", "gpt-5.6-luna", "o3", "o4-mini-2025-04-16", "chatgpt-4o-latest"] {
            check("openai", model, Encoding::O200k, Fit::Exact);
        }
        for model in ["gpt-4", "gpt-4-0613", "gpt-4-turbo", "gpt-3.5-turbo-16k", "text-embedding-3-small"] {
            check("openai", model, Encoding::Cl100k, Fit::Exact);
        }
        check("azure", "eu/gpt-5.1", Encoding::O200k, Fit::Exact);
        check("azure", "gpt-35-turbo", Encoding::Cl100k, Fit::Exact);
    }

    #[test]
    fn open_weights_are_encoded_alike_wherever_they_run() {
        check("groq", "openai/gpt-oss-120b", Encoding::O200k, Fit::Exact);
        check("fireworks", "accounts/fireworks/models/gpt-oss-20b", Encoding::O200k, Fit::Exact);
        check("bedrock", "us-gov.openai.gpt-oss-20b-1:0", Encoding::O200k, Fit::Exact);
    }

    #[test]
    fn of_all_others_only_the_nearest_is_known() {
        for (vendor, model) in
            [("anthropic", "claude-opus-5-5"), ("local", "gpt-4o"), ("openai", "gpt-6-sol"), ("azure", "our-chat")]
        {
            check(vendor, model, Encoding::O200k, Fit::Nearest);
        }
    }
}
