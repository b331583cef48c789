//! The ways into a provider: an address and a credential each. A row has one, or several with weights.

use http::HeaderName;
use http::header::AUTHORIZATION;

use super::checked::Secret;

/// Where Anthropic takes a key. <https://platform.claude.com/docs/en/api/overview#authentication>
const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");
/// Where Azure takes one. <https://learn.microsoft.com/en-us/azure/foundry/openai/latest#authentication>
const API_KEY: HeaderName = HeaderName::from_static("api-key");

/// One way into a provider.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Access {
    /// Scheme, host, port and path prefix without a trailing slash, such as `https://api.openai.com/v1`.
    pub base_url: http::Uri,
    /// Who calls.
    pub credential: Credential,
    /// Where the credential is from: a reference, never what it leads to. `None`: there is none.
    pub from: Option<String>,
    /// How much of the traffic it takes, beside the others.
    pub weight: u32,
}

impl Access {
    /// The path that goes in front of an endpoint's, such as `/v1`; empty where the base URL has none.
    ///
    /// A [`http::Uri`] without a path prints and answers `/`, so that joining by hand doubles the slash.
    pub fn path_prefix(&self) -> &str {
        self.base_url.path().trim_end_matches('/')
    }
}

/// How a provider is shown who calls.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Credential {
    /// It is not.
    None,
    /// `authorization: Bearer …`.
    Bearer(Secret),
    /// A header of its own holds the key.
    Header(HeaderName, Secret),
}

/// How a key is shown, as `auth` says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AuthStyle {
    /// `authorization: Bearer …`.
    Bearer,
    /// `x-api-key: …`.
    XApiKey,
    /// `api-key: …`.
    ApiKey,
}

impl AuthStyle {
    /// All of them, by their words.
    pub const WORDS: [(&str, Self); 3] =
        [("bearer", Self::Bearer), ("x-api-key", Self::XApiKey), ("api-key", Self::ApiKey)];

    /// That of a word of the configuration.
    pub fn parse(word: &str) -> Option<Self> {
        Self::WORDS.iter().find(|(known, _)| *known == word).map(|(_, style)| *style)
    }
}

impl Credential {
    /// A key that is shown in this style.
    pub fn of(key: Secret, style: AuthStyle) -> Self {
        match style {
            AuthStyle::Bearer => Self::Bearer(key),
            AuthStyle::XApiKey => Self::Header(X_API_KEY, key),
            AuthStyle::ApiKey => Self::Header(API_KEY, key),
        }
    }

    /// In a word or two, for people; never the secret.
    pub fn words(&self) -> &str {
        match self {
            Self::None => "without a key",
            Self::Bearer(_) => "bearer key",
            Self::Header(name, _) => name.as_str(),
        }
    }

    /// The header that carries it on every call, if it is the same on all.
    pub fn header(&self) -> Option<(HeaderName, String)> {
        match self {
            Self::None => None,
            Self::Bearer(key) => Some((AUTHORIZATION, format!("Bearer {}", key.reveal()))),
            Self::Header(name, key) => Some((name.clone(), key.reveal().to_owned())),
        }
    }

    /// Secrets that must come back to nobody.
    pub fn secrets(&self) -> impl Iterator<Item = &Secret> {
        match self {
            Self::None => None,
            Self::Bearer(key) | Self::Header(_, key) => Some(key),
        }
        .into_iter()
    }
}

/// What a provider bills of a stream that its caller left before the end.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum AfterCut {
    /// Perhaps nothing: nobody knows, or it is known to.
    #[default]
    Nothing,
    /// What it had read and written by then.
    SoFar,
    /// That too, and what it goes on to write.
    All,
}

impl AfterCut {
    /// All of them, by their words.
    pub const WORDS: [(&str, Self); 3] = [("nothing", Self::Nothing), ("so_far", Self::SoFar), ("all", Self::All)];

    /// That of a word of the configuration.
    pub fn parse(word: &str) -> Option<Self> {
        Self::WORDS.iter().find(|(known, _)| *known == word).map(|(_, after)| *after)
    }

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        Self::WORDS.iter().find(|(_, after)| *after == self).map_or("nothing", |(word, _)| word)
    }
}
