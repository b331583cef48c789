//! The ways into a provider: an address and a credential each. A row has one, or several with weights.

use http::HeaderName;
use http::header::AUTHORIZATION;

use super::checked::Secret;
pub use super::google::ServiceAccount;

/// Where Anthropic takes a key. <https://platform.claude.com/docs/en/api/overview#authentication>
const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");
/// Where Azure takes one. <https://learn.microsoft.com/en-us/azure/foundry/openai/latest#authentication>
const API_KEY: HeaderName = HeaderName::from_static("api-key");

/// One way into a provider.
#[derive(Clone, Debug)]
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
#[derive(Clone, Debug)]
pub enum Credential {
    /// It is not.
    None,
    /// `authorization: Bearer …`.
    Bearer(Secret),
    /// A header of its own holds the key.
    Header(HeaderName, Secret),
    /// Each call is signed with AWS's Signature Version 4.
    Aws(AwsKeys),
    /// Tokens of a service account are shown, as bearer.
    Google(ServiceAccount),
}

/// What calls to AWS are signed with, and for what.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AwsKeys {
    /// Whose key it is.
    pub access_key_id: Secret,
    /// The key.
    pub secret_access_key: Secret,
    /// The token of temporary credentials.
    pub session_token: Option<Secret>,
    /// The region that is called, such as `us-east-1`.
    pub region: String,
    /// The service that is called, such as `bedrock`.
    pub service: String,
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
    /// AWS's Signature Version 4.
    Aws,
    /// A service account's tokens, as bearer.
    Google,
}

impl AuthStyle {
    /// All of them, by their words.
    pub const WORDS: [(&str, Self); 5] = [
        ("bearer", Self::Bearer),
        ("x-api-key", Self::XApiKey),
        ("api-key", Self::ApiKey),
        ("aws", Self::Aws),
        ("google", Self::Google),
    ];

    /// That of a word of the configuration.
    pub fn parse(word: &str) -> Option<Self> {
        Self::WORDS.iter().find(|(known, _)| *known == word).map(|(_, style)| *style)
    }
}

impl Credential {
    /// Whether nobody is shown.
    pub fn is_none(&self) -> bool {
        matches!(self, Self::None)
    }

    /// A key that is shown in a header of its own, or as bearer.
    pub fn of(key: Secret, style: AuthStyle) -> Self {
        match style {
            AuthStyle::XApiKey => Self::Header(X_API_KEY, key),
            AuthStyle::ApiKey => Self::Header(API_KEY, key),
            AuthStyle::Bearer | AuthStyle::Aws | AuthStyle::Google => Self::Bearer(key),
        }
    }

    /// In a word or two, for people; never the secret.
    pub fn words(&self) -> &str {
        match self {
            Self::None => "without a key",
            Self::Bearer(_) => "bearer key",
            Self::Header(name, _) => name.as_str(),
            Self::Aws(_) => "AWS signature",
            Self::Google(_) => "Google service account",
        }
    }

    /// The header that carries it on every call, if it is the same on all.
    pub fn header(&self) -> Option<(HeaderName, String)> {
        match self {
            Self::None | Self::Aws(_) | Self::Google(_) => None,
            Self::Bearer(key) => Some((AUTHORIZATION, format!("Bearer {}", key.reveal()))),
            Self::Header(name, key) => Some((name.clone(), key.reveal().to_owned())),
        }
    }

    /// Secrets that must come back to nobody.
    pub fn secrets(&self) -> impl Iterator<Item = &Secret> {
        let (one, another) = match self {
            Self::None | Self::Google(_) => (None, None),
            Self::Bearer(key) | Self::Header(_, key) => (Some(key), None),
            Self::Aws(keys) => (Some(&keys.secret_access_key), keys.session_token.as_ref()),
        };
        one.into_iter().chain(another)
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
