//! Names and identities, each its own type so that a team is never passed where a model is wanted.
//!
//! Names (`TeamId`, `ModelId` …) are cheap to clone and compare as text; `RequestId` is a UUIDv7
//! (RFC 9562 §5.7) and an attempt is its request's id with an ordinal, so that either can be found
//! from the other. Parsing names from headers and bodies lives in `server`; limits in `limits`.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use uuid::{NoContext, Timestamp, Uuid};

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(Arc::from(text))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

name! {
    /// A team that spends: the unit of budgets and chargeback.
    TeamId
}
name! {
    /// A virtual key, by its public name: a configured name or the first twelve hex digits of its hash.
    KeyId
}
name! {
    /// A provider row of the configuration, such as `openai`.
    ProviderId
}
name! {
    /// A model as its provider spells it, such as `gpt-5.6-luna`.
    ModelId
}

/// A way into a provider row, wherever it stands among the others: a hash of its address and of the reference that its key
/// is from, such as `env:NAME`, never of the key.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct AccessId(pub u64);

impl fmt::Display for AccessId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl std::str::FromStr for AccessId {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        u64::from_str_radix(text, 16).map(Self)
    }
}

/// One request of a client: `x-request-id` of its answer.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct RequestId(pub Uuid);

impl RequestId {
    /// A fresh id of a request that arrives now.
    pub fn new() -> Self {
        Self::at(SystemTime::now())
    }

    /// A fresh id of a request that arrives when the clock says `now`, whatever other ids say: clocks are set forward and
    /// back, and the ledger finds requests of a time by their ids. One that is wrong by decades gives the first ids there are.
    pub fn at(now: SystemTime) -> Self {
        let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let random = Uuid::new_v7(Timestamp::from_unix(NoContext, since.as_secs(), since.subsec_nanos()));
        // What is left of the millisecond, twenty bits of it, keeps ids in the order of the clock; 54 bits stay random, and no id
        // waits for another. RFC 9562 §6.2, method 3.
        let rest = u128::from(since.subsec_nanos() % 1_000_000);
        let id = (random.as_u128() & !((0xfff << 64) | (0xff << 54))) | ((rest >> 8) << 64) | ((rest & 0xff) << 54);
        Self(Uuid::from_u128(id))
    }

    /// When the request arrived, in milliseconds since the Unix epoch: RFC 9562 §5.7.
    pub fn at_ms(self) -> i64 {
        (self.0.as_u128() >> 80) as i64
    }
}

impl Default for RequestId {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_hyphenated().fmt(f)
    }
}

/// One call that leaves the process on behalf of a request: `x-client-request-id` at the provider.
///
/// Written `<request id>-<ordinal>`; ordinals start at 1 and count every retry and fallback.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct AttemptId {
    /// The request that it serves.
    pub request: RequestId,
    /// 1 for the first call of a request.
    pub ordinal: u16,
}

impl AttemptId {
    /// The length of the longest id, in bytes.
    pub const LENGTH_MAX: usize = uuid::fmt::Hyphenated::LENGTH + "-65535".len();

    /// Writes the id to the start of `buffer`.
    pub fn spell<'b>(&self, buffer: &'b mut [u8; Self::LENGTH_MAX]) -> &'b str {
        let (mut at, mut rest) = (Self::LENGTH_MAX, self.ordinal);
        // From the back to the front, then moved up to the request's id.
        loop {
            at -= 1;
            buffer[at] = b'0' + (rest % 10) as u8;
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        self.request.0.as_hyphenated().encode_lower(buffer);
        let request = uuid::fmt::Hyphenated::LENGTH;
        buffer[request] = b'-';
        buffer.copy_within(at.., request + 1);
        std::str::from_utf8(&buffer[..request + 1 + Self::LENGTH_MAX - at]).unwrap_or_default()
    }
}

impl fmt::Display for AttemptId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.spell(&mut [0; Self::LENGTH_MAX]))
    }
}

impl std::str::FromStr for AttemptId {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (request, ordinal) = text.split_at_checked(36).ok_or(())?;
        let request = Uuid::try_parse(request).map_err(|_| ())?;
        let ordinal = ordinal.strip_prefix('-').and_then(|n| n.parse().ok()).ok_or(())?;
        Ok(Self { request: RequestId(request), ordinal })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_before_1970_gives_ids_all_the_same() {
        let early = SystemTime::UNIX_EPOCH - std::time::Duration::from_secs(1);
        let [one, other] = [RequestId::at(early), RequestId::at(early)];
        assert!(one != other && one < RequestId::new() && one.0.get_version_num() == 7);
    }

    #[test]
    fn an_id_has_the_time_at_which_its_request_arrived_on_a_clock_that_jumps() {
        let at = |ms: u64| SystemTime::UNIX_EPOCH + std::time::Duration::from_millis(ms);
        let (noon, tomorrow) = (1_795_867_200_000, 1_795_867_200_000 + 86_400_000);
        for ms in [noon, tomorrow, noon + 1, noon + 1, noon] {
            assert_eq!(RequestId::at(at(ms)).at_ms(), ms.cast_signed());
        }
        assert!(RequestId::at(at(noon)) != RequestId::at(at(noon)));
        assert!(RequestId::at(at(noon + 1)) < RequestId::at(at(tomorrow)));
        let within = |nanos: u64| RequestId::at(at(noon) + std::time::Duration::from_nanos(nanos));
        let ids: Vec<RequestId> = [0, 1, 255, 256, 999_999, 1_000_000].map(within).to_vec();
        assert!(ids.is_sorted() && ids.iter().all(|id| id.0.get_version_num() == 7), "{ids:?}");
        assert!(ids.iter().all(|id| id.0.get_variant() == uuid::Variant::RFC4122));
    }

    #[test]
    fn an_attempt_id_reads_back_as_written() {
        for ordinal in [1, 9, 10, 12, 100, 65_535] {
            let attempt = AttemptId { request: RequestId::new(), ordinal };
            assert_eq!(attempt.to_string(), format!("{}-{ordinal}", attempt.request));
            assert_eq!(attempt.to_string().parse(), Ok(attempt));
        }
        assert_eq!("nonsense".parse::<AttemptId>(), Err(()));
    }
}
