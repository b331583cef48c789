//! One call of a client, from the moment it is read to the moment it is settled.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderName, HeaderValue};

use crate::dialect::Dialect;
use crate::ids::{AccessId, KeyId, ProviderId, RequestId, TeamId};
use crate::memory::HeldBytes;
use crate::prompt::view::View;
use crate::task::Tier;

/// The door that a call came through. Not every one of them is open yet; all of them are known by their errors.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Surface {
    /// `POST /v1/chat/completions`
    ChatCompletions,
    /// `POST /v1/completions`
    Completions,
    /// `POST /v1/responses`
    Responses,
    /// `POST /v1/responses/input_tokens`
    InputTokens,
    /// `POST /v1/messages`
    Messages,
    /// `POST /v1/messages/count_tokens`
    CountTokens,
    /// `POST /v1/embeddings`
    Embeddings,
    /// Whatever is passed on as it comes.
    Passthrough,
}

impl Surface {
    /// The word in ledger, log and metrics. Words are only ever added.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ChatCompletions => "chat.completions",
            Self::Completions => "completions",
            Self::Responses => "responses",
            Self::InputTokens => "responses.input_tokens",
            Self::Messages => "messages",
            Self::CountTokens => "messages.count_tokens",
            Self::Embeddings => "embeddings",
            Self::Passthrough => "passthrough",
        }
    }

    /// Its path.
    pub fn path(self) -> &'static str {
        match self {
            Self::ChatCompletions => "/v1/chat/completions",
            Self::Completions => "/v1/completions",
            Self::Responses => "/v1/responses",
            Self::InputTokens => "/v1/responses/input_tokens",
            Self::Messages => "/v1/messages",
            Self::CountTokens => "/v1/messages/count_tokens",
            Self::Embeddings => "/v1/embeddings",
            Self::Passthrough => "/v1",
        }
    }

    /// The dialect in which its errors are told.
    pub fn errors(self) -> Dialect {
        match self {
            Self::Messages | Self::CountTokens => Dialect::Messages,
            Self::Responses | Self::InputTokens => Dialect::Responses,
            Self::ChatCompletions | Self::Completions | Self::Embeddings | Self::Passthrough => Dialect::Chat,
        }
    }

    /// The dialect of its body, if there is more than one that a provider may know.
    pub fn speaks(self) -> Option<Dialect> {
        match self {
            Self::CountTokens => Some(Dialect::Messages),
            Self::InputTokens => Some(Dialect::Responses),
            Self::Completions | Self::Embeddings | Self::Passthrough => Some(Dialect::Chat),
            surface => surface.talks(),
        }
    }

    /// Whether a model is asked for by its own name only: what is asked of it is no conversation, and policies know nothing of it.
    pub fn asks_by_name(self) -> bool {
        matches!(self, Self::Completions | Self::Embeddings)
    }

    /// The dialect of its body, if that is a conversation that is to be continued.
    pub fn talks(self) -> Option<Dialect> {
        match self {
            Self::ChatCompletions => Some(Dialect::Chat),
            Self::Responses => Some(Dialect::Responses),
            Self::Messages => Some(Dialect::Messages),
            Self::Completions | Self::InputTokens | Self::CountTokens | Self::Embeddings | Self::Passthrough => None,
        }
    }
}

/// What becomes of a request that may cost more than is left of a budget.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OnShort {
    /// It is refused.
    Refuse,
    /// Its output limit is lowered to what is left, if that is of any use.
    Shrink,
}

impl OnShort {
    /// From the word of the configuration and of `x-farthing-budget`.
    pub fn parse(word: &str) -> Option<Self> {
        match word {
            "refuse" => Some(Self::Refuse),
            "shrink" => Some(Self::Shrink),
            _ => None,
        }
    }
}

/// Who pays for a call and what it belongs to. Claims have passed the key's grants.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Attribution {
    /// Who pays.
    pub team: TeamId,
    /// The virtual key; `None` on loopback without keys.
    pub key: Option<KeyId>,
    /// Project.
    pub project: Option<String>,
    /// Pipeline.
    pub pipeline: Option<String>,
    /// End user.
    pub user: Option<String>,
    /// Agent run.
    pub run: Option<String>,
    /// Prompt name, or the fingerprint of the system prompt.
    pub prompt: Option<String>,
    /// Task kind.
    pub task: Option<String>,
    /// Claims that the key does not grant, by name: ignored, counted, and named in `x-farthing-reason`.
    pub ignored: Vec<&'static str>,
    /// Claims that are there and cannot be read, told in the same places.
    pub unread: Vec<&'static str>,
}

impl Attribution {
    /// Of a team, and of nothing else.
    pub fn of_team(team: TeamId) -> Self {
        Self {
            team,
            key: None,
            project: None,
            pipeline: None,
            user: None,
            run: None,
            prompt: None,
            task: None,
            ignored: Vec::new(),
            unread: Vec::new(),
        }
    }
}

/// What is known of a call besides its bytes; outlives them while a reply is streamed.
#[derive(Clone, Debug)]
pub struct CallFacts {
    /// `x-request-id` of the answer.
    pub id: RequestId,
    /// When its head had arrived.
    pub arrived: Instant,
    /// When its body was whole: what follows is our doing.
    pub read: Instant,
    /// Its arrival in milliseconds since the Unix epoch.
    pub at_ms: i64,
    /// Where it came in.
    pub surface: Surface,
    /// Length of the body in bytes.
    pub body_bytes: usize,
    /// What the body says.
    pub view: View,
    /// Who pays.
    pub who: Attribution,
    /// The tier that `x-farthing-tier` asks for, where the model is `auto`.
    pub pinned_tier: Option<Tier>,
    /// The run or session that the client says it belongs to, in a header.
    pub session: Option<String>,
    /// How long the client will wait, from arrival.
    pub deadline: Option<Duration>,
    /// What `x-farthing-budget` asks for.
    pub on_short: Option<OnShort>,
}

/// Who keeps an object.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Keeper {
    /// The provider row.
    pub provider: ProviderId,
    /// The way into it by which the object was made: whoever else calls there may not see it. `None`: nobody knows.
    pub access: Option<AccessId>,
}

/// The original body with what is known of it.
#[derive(Debug)]
pub struct Call {
    /// What is known.
    pub facts: Arc<CallFacts>,
    /// The bytes as they came.
    pub body: Bytes,
    /// Who keeps what it names: nobody else can answer.
    pub kept_at: Option<Keeper>,
    /// Anthropic's clients ask for what is not settled yet in the query too (`?beta=true`); no other query goes on.
    pub beta: bool,
    /// The headers that may reach a provider, in the order in which they came.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The memory that the body takes; what is read for the call is held beside it.
    pub held: HeldBytes,
}
