//! The shape of `farthing.yaml` as people write it: every scalar still text, every value with its place.
//!
//! Comes in as YAML, goes out to `check`, and nobody else sees it. Unknown keys are refused here;
//! what a value means, and whether it makes sense, is `check`'s business. Keys whose rooms are not
//! built are fields all the same, so that all of them are reported at once and by name.

use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor, value::MapAccessDeserializer};
use serde_saphyr::Spanned;

/// Names that are recognised only to say that this version lacks them, wherever they stand.
pub(super) const NOT_BUILT: [&str; 3] = ["shared", "pass_credentials", "store"];

/// A list of texts, each with its place.
pub(super) type Texts = Vec<Spanned<String>>;

/// A key whose room is not built yet: only its presence matters.
pub(super) type NotBuilt = Option<Spanned<IgnoredAny>>;

/// The whole file.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct File {
    pub mode: Field<String>,
    pub server: Option<Server>,
    pub providers: Option<Rows<Provider>>,
    pub tiers: Option<Tiers>,
    pub dispatch: Option<Dispatch>,
    pub limits: Option<Limits>,
    pub prices: Field<String>,
    pub policies: Field<String>,
    pub ledger: Option<Ledger>,
    pub timezone: Field<String>,
    pub teams: Option<Rows<Team>>,
    pub keys: Field<Vec<Spanned<Option<Key>>>>,
    pub metrics: Option<Metrics>,
    pub shared: NotBuilt,
    pub overhead_team: Field<String>,
    pub transfer_price: Option<TransferPrice>,
    pub webhooks: Field<Vec<Spanned<Option<Webhook>>>>,
    pub budget: Option<Holding>,
}

/// `server:`
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Server {
    pub listen: Field<String>,
    pub admin_listen: Field<String>,
    pub admin_key: Field<String>,
    pub hosts: Field<Texts>,
    pub cost_comment: Field<String>,
    pub drain_timeout: Field<String>,
    pub tls: Field<Tls>,
    pub cors: Field<Cors>,
    pub pass_credentials: NotBuilt,
}

/// `tls:` of the server.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Tls {
    pub cert: Field<String>,
    pub key: Field<String>,
    pub client_ca: Field<String>,
}

/// `cors:` of the server.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Cors {
    pub origins: Field<Texts>,
    pub max_age: Field<String>,
}

/// One row of `providers:`
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Provider {
    pub preset: Field<String>,
    pub protocol: Field<String>,
    pub base_url: Field<String>,
    pub region: Field<String>,
    pub resource: Field<String>,
    pub project: Field<String>,
    pub location: Field<String>,
    pub key: Field<String>,
    pub auth: Field<String>,
    pub aws: Field<Aws>,
    pub keys: Field<Vec<Spanned<Option<KeyOfRow>>>>,
    pub speaks: Field<Texts>,
    pub models: Field<Texts>,
    pub vendor: Field<String>,
    pub discount: Field<String>,
    pub metering: Field<String>,
    pub after_cut: Field<String>,
    pub cache_control: Field<String>,
    pub dispatch: Option<Dispatch>,
    pub headers: Option<Rows<Spanned<String>>>,
}

/// One entry of `keys:` of a provider row.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct KeyOfRow {
    pub key: Field<String>,
    pub aws: Field<Aws>,
    pub weight: Field<String>,
    pub base_url: Field<String>,
    pub region: Field<String>,
    pub resource: Field<String>,
    pub project: Field<String>,
    pub location: Field<String>,
}

/// `aws:` of a provider row.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Aws {
    pub access_key_id: Field<String>,
    pub secret_access_key: Field<String>,
    pub session_token: Field<String>,
}

/// `tiers:`
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Tiers {
    pub frontier: Field<Ranking>,
    pub reasoning: Field<Ranking>,
    pub lightweight: Field<Ranking>,
}

/// The models of a tier, each with its place.
pub(super) type Ranking = Vec<Spanned<Rank>>;

/// One place in a tier: a model, or several that share it; anything else is told apart so that it is reported with its place.
#[derive(Debug)]
pub(super) enum Rank {
    One(String),
    Equal(Texts),
    Empty,
    Other,
}

impl Rank {
    /// The models that stand there.
    pub(super) fn models(self) -> Vec<String> {
        match self {
            Self::One(model) => vec![model],
            Self::Equal(models) => models.into_iter().map(|model| model.value).collect(),
            Self::Empty | Self::Other => Vec::new(),
        }
    }
}

/// `dispatch:`, at the top and in a provider row.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Dispatch {
    pub retries: Field<String>,
    pub retry_wait: Field<String>,
    pub connect_timeout: Field<String>,
    pub first_byte_timeout: Field<String>,
    pub idle_timeout: Field<String>,
    pub total_timeout: Field<String>,
    pub retry_after_timeout: Field<String>,
    pub circuit: Field<Circuit>,
    pub hedge: Field<Hedge>,
}

/// `circuit:`, a switch or a row; anything else is told apart so that it is reported with its place.
#[derive(Debug)]
pub(super) enum Circuit {
    Switch(String),
    Row(CircuitRow),
    Other,
}

/// `hedge:`, a switch or a row; anything else is told apart so that it is reported with its place.
#[derive(Debug)]
pub(super) enum Hedge {
    Switch(String),
    Row(HedgeRow),
    Other,
}

/// `hedge:` as a row.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct HedgeRow {
    pub after: Field<String>,
    pub at_most: Field<String>,
}

/// `circuit:` as a row.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct CircuitRow {
    pub failures: Field<String>,
    pub cool_down: Field<String>,
}

/// `limits:`
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Limits {
    pub body_bytes: Field<String>,
    pub upload_bytes: Field<String>,
    pub memory_bytes: Field<String>,
    pub concurrency: Field<String>,
}

/// `ledger:`
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Ledger {
    pub path: Field<String>,
    pub durability: Field<String>,
    pub when_it_fails: Field<String>,
    pub mirror: Field<String>,
    pub keep: Field<String>,
}

/// `transfer_price:`
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct TransferPrice {
    pub cache_hit: Field<String>,
}

/// `metrics:`
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Metrics {
    pub label_values: Field<String>,
}

/// One row of `teams:`
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Team {
    pub providers: Field<Texts>,
    pub mode: Field<String>,
    pub budget: Field<Budget>,
    pub limits: Option<PaceLimits>,
    pub projects: Option<Rows<Payer>>,
    pub users: Option<Users>,
    pub store: NotBuilt,
}

/// A row of `projects:` or `users:` of a team.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Payer {
    pub budget: Field<Budget>,
    pub limits: Option<PaceLimits>,
}

/// `budget:` of a payer.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Budget {
    pub usd: Field<String>,
    pub every: Field<String>,
    pub when_near: Field<String>,
    pub near: Field<String>,
}

/// `limits:` of a payer.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct PaceLimits {
    pub requests_per_minute: Field<String>,
    pub tokens_per_minute: Field<String>,
    pub concurrency: Field<String>,
    pub output_tokens: Field<String>,
}

/// `budget:` at the top.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Holding {
    pub hold_wait: Field<String>,
    pub on_short: Field<String>,
}

/// One row of `webhooks:`
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Webhook {
    pub url: Field<String>,
    pub events: Field<Texts>,
    pub secret: Field<String>,
}

/// One row of `keys:`
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Key {
    pub sha256: Field<String>,
    pub name: Field<String>,
    pub team: Field<String>,
    pub may: Option<May>,
    pub mode: Field<String>,
    pub project: Field<String>,
    pub pipeline: Field<String>,
    pub budget: Field<Budget>,
    pub limits: Option<PaceLimits>,
}

/// `may:` of a key.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct May {
    pub teams: Field<Texts>,
    pub projects: Field<Texts>,
    pub pipelines: Field<Texts>,
    pub tiers: Field<Texts>,
    pub tasks: Field<Texts>,
    pub models: Field<Texts>,
    pub unbounded: Field<String>,
}

/// A value that may be absent, or present without content (`key:` and nothing after it).
///
/// The second is kept apart from the first because a forgotten value must not pass for a default.
#[derive(Debug)]
pub(super) struct Field<T>(pub Option<Spanned<Option<T>>>);

impl<T> Default for Field<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Field<T> {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        Spanned::deserialize(source).map(|value| Self(Some(value)))
    }
}

/// `users:` of a team. `budget` and `limits` are those of each user, everything else is the name of one.
#[derive(Debug)]
pub(super) struct Users {
    pub each: Option<Payer>,
    pub named: Named<Payer>,
}

impl<'de> Deserialize<'de> for Users {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        source.deserialize_map(EachAndNamed)
    }
}

struct EachAndNamed;

impl<'de> Visitor<'de> for EachAndNamed {
    type Value = Users;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("`budget` and `limits` of each user, or rows of the form `name: …`")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Users, A::Error> {
        let mut users = Users { each: None, named: Vec::new() };
        while let Some(key) = map.next_key::<Spanned<String>>()? {
            match key.value.as_str() {
                "budget" => users.each.get_or_insert_default().budget = map.next_value()?,
                "limits" => users.each.get_or_insert_default().limits = map.next_value()?,
                _ => users.named.push((key, map.next_value()?)),
            }
        }
        Ok(users)
    }
}

/// Rows by name, in the order of the file.
pub(super) type Named<T> = Vec<(Spanned<String>, Option<T>)>;

/// A mapping whose keys are names, in the order of the file.
#[derive(Debug)]
pub(super) struct Rows<T>(pub Named<T>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Rows<T> {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        source.deserialize_map(InOrder(PhantomData))
    }
}

struct InOrder<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for InOrder<T> {
    type Value = Rows<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("rows of the form `name: …`")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut rows = Vec::new();
        while let Some(row) = map.next_entry()? {
            rows.push(row);
        }
        Ok(Rows(rows))
    }
}

impl<'de> Deserialize<'de> for Circuit {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        Ok(match source.deserialize_any(SwitchOrRow::<CircuitRow>::new("`{ failures: 5, cool_down: 30s }`"))? {
            Written::Switch(word) => Self::Switch(word),
            Written::Row(row) => Self::Row(row),
            Written::Other => Self::Other,
        })
    }
}

impl<'de> Deserialize<'de> for Hedge {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        Ok(match source.deserialize_any(SwitchOrRow::<HedgeRow>::new("`{ after: p95, at_most: 5% }`"))? {
            Written::Switch(word) => Self::Switch(word),
            Written::Row(row) => Self::Row(row),
            Written::Other => Self::Other,
        })
    }
}

/// What stands where a switch or a row may.
enum Written<R> {
    Switch(String),
    Row(R),
    Other,
}

struct SwitchOrRow<R> {
    such_as: &'static str,
    row: PhantomData<R>,
}

impl<R> SwitchOrRow<R> {
    fn new(such_as: &'static str) -> Self {
        Self { such_as, row: PhantomData }
    }
}

impl<'de, R: Deserialize<'de>> Visitor<'de> for SwitchOrRow<R> {
    type Value = Written<R>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`off`, or a row such as {}", self.such_as)
    }

    fn visit_bool<E>(self, on: bool) -> Result<Written<R>, E> {
        Ok(Written::Switch(if on { "on" } else { "off" }.to_owned()))
    }

    fn visit_str<E>(self, word: &str) -> Result<Written<R>, E> {
        Ok(Written::Switch(word.to_owned()))
    }

    fn visit_u64<E>(self, _: u64) -> Result<Written<R>, E> {
        Ok(Written::Other)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Written<R>, E> {
        Ok(Written::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Written<R>, E> {
        Ok(Written::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Written<R>, A::Error> {
        while let Some(IgnoredAny) = list.next_element()? {}
        Ok(Written::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Written<R>, A::Error> {
        R::deserialize(MapAccessDeserializer::new(map)).map(Written::Row)
    }
}

impl<'de> Deserialize<'de> for Rank {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        source.deserialize_any(OneOrEqual)
    }
}

struct OneOrEqual;

impl<'de> Visitor<'de> for OneOrEqual {
    type Value = Rank;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a model, or a list of models that are as good as one another")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Rank, E> {
        Ok(Rank::Other)
    }

    fn visit_str<E>(self, model: &str) -> Result<Rank, E> {
        Ok(Rank::One(model.to_owned()))
    }

    fn visit_u64<E>(self, _: u64) -> Result<Rank, E> {
        Ok(Rank::Other)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Rank, E> {
        Ok(Rank::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Rank, E> {
        Ok(Rank::Other)
    }

    fn visit_unit<E>(self) -> Result<Rank, E> {
        Ok(Rank::Empty)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Rank, A::Error> {
        let mut models = Vec::new();
        while let Some(model) = list.next_element()? {
            models.push(model);
        }
        Ok(Rank::Equal(models))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Rank, A::Error> {
        while let Some((IgnoredAny, IgnoredAny)) = map.next_entry()? {}
        Ok(Rank::Other)
    }
}
