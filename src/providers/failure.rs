//! Why a call to a provider did not give an answer, and what that means for money and for the next try.

use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;

use crate::config::Dispatch;
use crate::dialect::Dialect;
use crate::reply::facts::Facts;
use crate::wire::errors::{ApiError, Code};

/// A call without an answer.
#[derive(Clone, Debug)]
pub enum Failure {
    /// No connection came up; nothing was sent.
    Connect {
        /// Why, in a word of ours.
        why: &'static str,
    },
    /// This process has no file descriptor left for a connection; nothing was sent.
    NoDescriptor,
    /// The connection broke before an answer.
    Reset {
        /// Whether anything may have been sent: then it may be billed.
        sent: bool,
    },
    /// No answer in time.
    Timeout {
        /// Whether anything may have been sent.
        sent: bool,
    },
    /// The provider answered with an error.
    Refused(Refusal),
    /// The provider answered, and there is no memory left to read it.
    NoRoom,
    /// The provider answered with something that is no answer of its protocol.
    Unreadable {
        /// What was wrong; never the provider's text.
        what: &'static str,
    },
}

/// A provider's own error.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// The status it gave, be it one of an error or not; 502 where an error came with a status of success.
    pub status: u16,
    /// The headers that may be passed on.
    pub headers: HeaderMap,
    /// The dialect that it is in.
    pub dialect: Dialect,
    /// Its body, if that is JSON of the protocol's own error shape.
    pub json: Option<Bytes>,
    /// The wait that it asked for.
    pub retry_after: Option<Duration>,
    /// Its own word on whether a retry makes sense (`x-should-retry`).
    pub should_retry: Option<bool>,
    /// Its account is out of money: waiting does not help.
    pub insufficient_quota: bool,
    /// It is about our credential: nothing of its text is told.
    pub credential: bool,
    /// It came as an event of a stream that had begun: what was read until then may be billed.
    pub in_stream: bool,
    /// What it says beside, if it says what was used: that is billed.
    pub used: Option<Box<Facts>>,
}

impl Failure {
    /// Whether the provider may bill the attempt although there was no answer.
    pub fn may_be_billed(&self) -> bool {
        match self {
            Self::Connect { .. } | Self::NoDescriptor => false,
            // The time that ran out was that of whoever answers, not of the model behind: it may have gone on.
            Self::Refused(refusal) => {
                refusal.in_stream || refusal.used.is_some() || matches!(refusal.status, 504 | 524)
            }
            Self::Reset { sent } | Self::Timeout { sent } => *sent,
            Self::Unreadable { .. } | Self::NoRoom => true,
        }
    }

    /// What happened, in words of ours, for the log.
    pub fn words(&self) -> &'static str {
        match self {
            Self::Connect { why } => why,
            Self::NoDescriptor => "no file descriptor is left for a connection",
            Self::Reset { .. } => "the connection broke before an answer",
            Self::Timeout { .. } => "no answer in time",
            Self::Refused(refusal) if refusal.credential => "the credential was not accepted",
            Self::Refused(_) => "refused by the provider",
            Self::Unreadable { what } => what,
            Self::NoRoom => "no memory is left for the answer",
        }
    }

    /// The provider's HTTP status, if it answered.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Refused(refusal) => Some(refusal.status),
            _ => None,
        }
    }

    /// What an error says of what was used, if it does.
    pub fn used(&self) -> Option<&Facts> {
        match self {
            Self::Refused(refusal) => refusal.used.as_deref(),
            _ => None,
        }
    }

    /// Whether it speaks against the target's health rather than against the request or our account.
    pub fn is_ill_health(&self) -> bool {
        match self {
            Self::Connect { .. } | Self::Reset { .. } | Self::Timeout { .. } | Self::Unreadable { .. } => true,
            Self::Refused(refusal) => !refusal.is_error_of_caller(),
            Self::NoRoom | Self::NoDescriptor => false,
        }
    }

    /// Whether the key that was shown is of no use, for whatever is asked: it is not valid, or has no money.
    pub fn is_of_dead_key(&self) -> bool {
        match self {
            Self::Refused(refusal) => {
                refusal.insufficient_quota || refusal.status == 402 || (refusal.credential && refusal.status != 403)
            }
            _ => false,
        }
    }

    /// Whether another key of the same provider may do at once what this one may not.
    pub fn is_of_key(&self) -> bool {
        match self {
            Self::Refused(refusal) => refusal.credential || refusal.status == 429 || self.is_of_dead_key(),
            _ => false,
        }
    }

    /// Whether waiting as long as `rules` allow would not help.
    pub fn is_beyond_waiting(&self, rules: &Dispatch) -> bool {
        match self {
            Self::Refused(refusal) => {
                self.is_of_dead_key() || refusal.retry_after.is_some_and(|asked| asked > rules.retry_wait)
            }
            _ => false,
        }
    }

    /// What the client is told, where the provider's own error is not passed on.
    pub fn to_error(&self) -> ApiError {
        match self {
            Self::Connect { why } => {
                ApiError::new(Code::ProviderError, format!("the provider could not be reached: {why}"))
            }
            Self::NoDescriptor => {
                ApiError::new(Code::Overloaded, "no file descriptor is left for a connection to the provider")
                    .retry_after(1)
            }
            Self::Reset { .. } => {
                ApiError::new(Code::ProviderError, "the provider closed the connection before it answered")
            }
            Self::Timeout { sent: false } => {
                ApiError::new(Code::ProviderTimeout, "the provider did not answer in time")
            }
            // As in `dispatch`: what may be billed and is not repeated here must not be repeated by the client's SDK.
            Self::Timeout { sent: true } => {
                ApiError::new(Code::ProviderTimeout, "the provider did not answer in time").not_to_be_repeated()
            }
            Self::Unreadable { what } => {
                ApiError::new(Code::ProviderError, format!("the provider's answer cannot be read: {what}"))
                    .not_to_be_repeated()
            }
            // Overload is ours and would pass, but this answer is paid for.
            Self::NoRoom => ApiError::new(Code::Overloaded, "the provider's answer finds no memory left for it")
                .not_to_be_repeated(),
            Self::Refused(refusal) if refusal.credential => {
                ApiError::new(Code::ProviderCredentials, "the provider did not accept the gateway's credential")
            }
            Self::Refused(refusal) => {
                let message = format!("the provider answered with status {} and no readable error", refusal.status);
                let error = ApiError::new(Code::ProviderError, message);
                ApiError { status: refusal.client_status(), ..error }
            }
        }
    }
}

impl Refusal {
    /// The status for the client: the provider's own, unless that is none of an error, such as a redirect, which a
    /// client must not follow with our credential's request.
    pub fn client_status(&self) -> u16 {
        if self.is_error() { self.status } else { Code::ProviderError.status() }
    }

    /// Whether its status is one of an error.
    pub fn is_error(&self) -> bool {
        self.status >= 400
    }

    fn is_error_of_caller(&self) -> bool {
        (400..500).contains(&self.status)
    }
}
