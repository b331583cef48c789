//! Where a provider is called: the paths of its protocol, under the row's base URL.

use http::Uri;
use http::uri::PathAndQuery;

use crate::call::Surface;
use crate::dialect::Dialect;

/// The URIs of one row, made once.
pub struct Paths {
    base: Uri,
    /// One a dialect, in the order of [`Dialect::ALL`].
    conversations: [Uri; 3],
    /// That of Messages with `?beta=true`.
    beta: Uri,
    /// Where tokens of Messages are counted, without and with it.
    counts: [Uri; 2],
    input_tokens: Uri,
    completions: Uri,
    embeddings: Uri,
}

/// What of a provider's is called.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Endpoint {
    /// A conversation goes on.
    Conversation,
    /// Tokens of Messages are counted.
    CountTokens,
    /// Tokens of Responses are counted.
    InputTokens,
    /// Legacy completions.
    Completions,
    /// Embeddings.
    Embeddings,
}

impl Endpoint {
    /// What answers a surface.
    pub(super) fn of(surface: Surface) -> Self {
        match surface {
            // What is passed on says itself where it goes.
            Surface::ChatCompletions | Surface::Responses | Surface::Messages | Surface::Passthrough => {
                Self::Conversation
            }
            Surface::CountTokens => Self::CountTokens,
            Surface::InputTokens => Self::InputTokens,
            Surface::Completions => Self::Completions,
            Surface::Embeddings => Self::Embeddings,
        }
    }
}

impl Paths {
    /// Those under `base`.
    pub fn under(base: &Uri) -> Self {
        Self {
            base: base.clone(),
            conversations: Dialect::ALL.map(|dialect| under(base, path_of(dialect))),
            beta: under(base, "/messages?beta=true"),
            counts: ["/messages/count_tokens", "/messages/count_tokens?beta=true"].map(|path| under(base, path)),
            input_tokens: under(base, "/responses/input_tokens"),
            completions: under(base, "/completions"),
            embeddings: under(base, "/embeddings"),
        }
    }

    /// Where any other path of the provider's is.
    pub(super) fn elsewhere(&self, path: &str) -> Uri {
        under(&self.base, path)
    }

    /// Where a call goes whose body is in a dialect.
    pub(super) fn to(&self, endpoint: Endpoint, dialect: Dialect, beta: bool) -> &Uri {
        match endpoint {
            Endpoint::Conversation => self.conversation(dialect, beta),
            Endpoint::CountTokens => &self.counts[usize::from(beta)],
            Endpoint::InputTokens => &self.input_tokens,
            Endpoint::Completions => &self.completions,
            Endpoint::Embeddings => &self.embeddings,
        }
    }

    /// Where a conversation in a dialect goes on, and with `beta` what is not settled yet may be asked for.
    pub fn conversation(&self, dialect: Dialect, beta: bool) -> &Uri {
        if beta { &self.beta } else { &self.conversations[dialect as usize] }
    }
}

/// The path behind a base URL, which ends in the version: `/v1` as a rule.
pub(super) fn path_of(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::Chat => "/chat/completions",
        Dialect::Responses => "/responses",
        Dialect::Messages => "/messages",
    }
}

fn under(base: &Uri, path: &str) -> Uri {
    let mut parts = base.clone().into_parts();
    let prefix = base.path().trim_end_matches('/');
    parts.path_and_query = PathAndQuery::try_from(format!("{prefix}{path}")).ok();
    Uri::from_parts(parts).unwrap_or_else(|_| base.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_stands_behind_that_of_the_base_url() {
        for (base, expected) in [
            ("https://api.openai.com/v1", "https://api.openai.com/v1/chat/completions"),
            ("https://api.openai.com/v1/", "https://api.openai.com/v1/chat/completions"),
            ("http://localhost:11434", "http://localhost:11434/chat/completions"),
        ] {
            let paths = Paths::under(&base.parse().unwrap());
            assert_eq!(paths.conversation(Dialect::Chat, false), expected);
            let base = expected.trim_end_matches("/chat/completions");
            let of = |dialect, beta| paths.conversation(dialect, beta).to_string();
            assert_eq!(of(Dialect::Responses, false), format!("{base}/responses"));
            assert_eq!(of(Dialect::Messages, false), format!("{base}/messages"));
            assert_eq!(of(Dialect::Messages, true), format!("{base}/messages?beta=true"));
        }
    }
}
