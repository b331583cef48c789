//! The checked shape: complete, resolved, and without anything left to validate.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use globset::GlobMatcher;

use crate::budget::Terms;
pub use crate::call::OnShort;
use crate::dialect::Dialect;
use crate::ids::{KeyId, ProviderId, TeamId};
use crate::limits::Limits;
pub use crate::plan::{ModelRef, Tiers};
use crate::problem::Place;
use crate::task::Tier;
use crate::translate::Caching;

pub use super::access::{Access, AfterCut, AwsKeys, Credential, ServiceAccount};
use super::secrets::MirrorReference;

/// Everything that `farthing.yaml` and the environment decide.
#[derive(Clone, Debug)]
pub struct Config {
    /// Whether levers act or only watch.
    pub mode: Mode,
    /// The two doors.
    pub server: ServerConfig,
    /// Provider rows in file order.
    pub providers: Vec<ProviderConfig>,
    /// The models of each tier in fallback order.
    pub tiers: Tiers,
    /// Bounds on bodies and concurrency.
    pub limits: Limits,
    /// Where the ledger lives and what happens when it cannot write.
    pub ledger: LedgerConfig,
    /// The user's price file, over the built-in book.
    pub prices: Option<PathBuf>,
    /// The folder of routing policies, over the built-in default.
    pub policies: Option<PathBuf>,
    /// Where the file names it.
    pub policies_at: Option<Place>,
    /// Virtual keys. Empty: loopback only, any or no credential is accepted.
    pub keys: Vec<Key>,
    /// Declared teams in file order. Empty: any team comes into being when a key or claim names it.
    pub teams: Vec<Team>,
    /// Most values a metric label takes before the rest become `other`.
    pub label_values: usize,
    /// IANA name of the zone that periods start in.
    pub timezone: String,
    /// How money is held that is short.
    pub holding: Holding,
    /// Who is told of what happens to budgets.
    pub webhooks: Vec<Webhook>,
    /// Who pays for what Farthing does by itself; `None`: the team whose request caused it.
    pub overhead_team: Option<TeamId>,
    /// What a team is charged for an answer from the cache, in millionths of what the call would have cost.
    pub transfer_ppm: u32,
}

/// How money is held that is short.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Holding {
    /// How long a request waits for other requests to end and leave what they do not need.
    pub hold_wait: Duration,
    /// What becomes of one for which too little is left then.
    pub on_short: OnShort,
}

/// The part of the configuration that says what payers may do, read again while a gateway runs.
#[derive(Clone, PartialEq, Debug)]
pub struct Payers {
    /// The declared teams.
    pub teams: Vec<Team>,
    /// How money is held that is short.
    pub holding: Holding,
}

impl Payers {
    /// The declared team of this name.
    pub fn team(&self, name: &str) -> Option<&Team> {
        self.teams.iter().find(|team| team.id.as_str() == name)
    }
}

/// Somebody who is told.
#[derive(Clone, Debug)]
pub struct Webhook {
    /// Where, resolved and as good as a secret.
    pub url: Secret,
    /// What messages are signed with; `None`: they are not.
    pub secret: Option<Secret>,
}

/// Whether Farthing's levers act.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// Levers act.
    Enforce,
    /// Everything is forwarded as it came and metered.
    Observe,
}

/// Listeners and what they accept.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// For agents.
    pub listen: SocketAddr,
    /// For operators.
    pub admin_listen: SocketAddr,
    /// The admin key, resolved. Without one, admin pages are 404.
    pub admin_key: Option<Secret>,
    /// Further `Host` names that are accepted on loopback.
    pub hosts: Vec<String>,
    /// Whether streams end with a comment that states their cost.
    pub cost_comment: bool,
    /// How long shutdown waits for requests in flight.
    pub drain_timeout: Duration,
    /// The files that TLS is served with; `None`: both doors speak plainly.
    pub tls: Option<TlsFiles>,
    /// Web pages that are let in from other origins; `None`: none.
    pub cors: Option<Cors>,
}

/// The files that TLS is served with, in PEM.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TlsFiles {
    /// The certificate and those that lead to its root.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// Who signs the certificates of agents; `None`: agents show none.
    pub client_ca: Option<PathBuf>,
}

impl TlsFiles {
    /// All of them.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        [Some(&self.cert), Some(&self.key), self.client_ca.as_ref()].into_iter().flatten().map(PathBuf::as_path)
    }
}

/// Which web pages of other origins may ask.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cors {
    /// Origins as browsers write them, such as `https://app.example`; `*` is all of them.
    pub origins: Vec<String>,
    /// How long a browser may remember the answer.
    pub max_age: Duration,
}

impl Cors {
    /// Whether a page of this origin is let in.
    pub fn admits(&self, origin: &http::HeaderValue) -> bool {
        self.origins.iter().any(|admitted| admitted == "*" || admitted.as_bytes() == origin.as_bytes())
    }
}

/// One provider row.
#[derive(Clone, Debug)]
pub struct ProviderConfig {
    /// The row's name.
    pub id: ProviderId,
    /// The first half of its models' price-book keys; defaults to the row's name.
    pub vendor: String,
    /// The preset that fills it, if one does.
    pub preset: Option<&'static str>,
    /// The language of its protocol.
    pub dialect: Dialect,
    /// The languages that it is called in.
    pub speaks: Vec<Dialect>,
    /// The ways into it, one at least.
    pub accesses: Vec<Access>,
    /// Which bare model names it serves.
    pub models: Vec<GlobMatcher>,
    /// Price reduction in millionths: 15 % is 150,000.
    pub discount_ppm: u32,
    /// Whether usage may be asked for by an edit of the request.
    pub metering: Metering,
    /// What is billed of a stream that was left.
    pub after_cut: AfterCut,
    /// Whether the provider is told what to cache where the client does not say; `None`: as clients of a dialect are
    /// used to.
    pub caching: Option<Caching>,
    /// Retries, timeouts and the circuit, after the row's overrides.
    pub dispatch: Dispatch,
    /// Headers added to every call.
    pub headers: Vec<(http::HeaderName, http::HeaderValue)>,
}

impl ProviderConfig {
    /// The first way into it.
    pub fn access(&self) -> &Access {
        self.accesses.first().expect("a row has a way in")
    }
}

/// How a streaming call's usage is learned.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Metering {
    /// Ask the provider for usage (`stream_options.include_usage`) and withhold the extra chunk.
    Inject,
    /// Send identical bytes; rows without usage are marked estimated.
    Observe,
    /// Send identical bytes: the provider reports usage in every stream.
    Reported,
}

/// How calls to one provider are made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Dispatch {
    /// Further tries at the same target.
    pub retries: u32,
    /// Longest `retry-after` that is waited for.
    pub retry_wait: Duration,
    /// Time to connect, TLS included.
    pub connect_timeout: Duration,
    /// Time to the first byte of a stream.
    pub first_byte_timeout: Duration,
    /// Longest pause within a stream.
    pub idle_timeout: Duration,
    /// Whole call.
    pub total_timeout: Duration,
    /// Whether a call that timed out after its body was sent is tried again although it may be billed.
    pub retry_after_timeout: bool,
    /// When a target is rested; `None`: never.
    pub circuit: Option<Circuit>,
    /// When a slow call to it is hedged; `None`: never.
    pub hedge: Option<Hedge>,
}

/// When a second attempt, at the next target, begins beside one that is slow to answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hedge {
    /// How long the first is waited for alone.
    pub after: HedgeAfter,
    /// At most such a share of requests has a second attempt, in millionths.
    pub at_most_ppm: u32,
}

/// How long an attempt is waited for before another begins beside it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HedgeAfter {
    /// So long.
    Delay(Duration),
    /// As long as so many hundredths of its target's answers took.
    Percentile(u8),
}

/// When a failing target is rested.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Circuit {
    /// Consecutive failures that open it.
    pub failures: u32,
    /// How long it stays open before one trial call.
    pub cool_down: Duration,
}

/// What commands need that work on the ledger alone.
#[derive(Clone, Debug)]
pub struct Bookkeeping {
    /// Where the ledger lives.
    pub ledger: LedgerConfig,
    /// Where its mirror is said to be.
    pub mirror: Option<MirrorReference>,
    /// Names of the provider rows, in the file's order.
    pub providers: Vec<String>,
    /// The vendors of those rows, by which the price book knows them, each once.
    pub vendors: Vec<String>,
    /// The vendor of each row, by the row's name.
    pub vendor_of: BTreeMap<String, String>,
    /// The models of the lightweight tier as they are written, in fallback order.
    pub lightweight: Vec<String>,
    /// The user's prices, if there is a file of them.
    pub prices: Option<PathBuf>,
    /// IANA name of the zone that periods start in.
    pub timezone: String,
}

/// What commands need that work on the key store alone.
#[derive(Clone, Debug)]
pub struct Keyholding {
    /// Where the ledger lives, and the key store beside it.
    pub ledger: LedgerConfig,
    /// Declared teams.
    pub teams: Vec<Team>,
    /// The keys of the file.
    pub keys: Vec<Key>,
    /// IANA name of the zone that days begin in.
    pub timezone: String,
}

/// Where the ledger lives.
#[derive(Clone, Debug)]
pub struct LedgerConfig {
    /// The SQLite file; its journal stands beside it.
    pub path: PathBuf,
    /// What a committed record survives.
    pub durability: Durability,
    /// What a request meets when the ledger cannot write.
    pub when_it_fails: WhenItFails,
    /// The URL of the Postgres that mirrors it; not in [`Bookkeeping`].
    pub mirror: Option<Secret>,
    /// For how many months rows are kept besides the one that goes on; `None`: for ever.
    pub keep: Option<u32>,
}

impl LedgerConfig {
    /// Where keys are kept that are made while the gateway serves: `farthing.keys.db` beside `farthing.db`.
    pub fn keys_path(&self) -> PathBuf {
        self.path.with_extension("keys.db")
    }
}

/// What a committed record survives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Durability {
    /// The end of the process, however it comes: the kernel has the record.
    Process,
    /// A power cut as well: the disk has it.
    Power,
}

/// What a request meets when the ledger cannot write.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WhenItFails {
    /// 503 `ledger_unavailable`.
    Deny,
    /// It is served, and what could not be kept is counted as a gap.
    Allow,
}

/// A team.
#[derive(Clone, PartialEq, Debug)]
pub struct Team {
    /// Its name.
    pub id: TeamId,
    /// The rows that it may use; `None`: all.
    pub providers: Option<Vec<ProviderId>>,
    /// Overrides the process's mode.
    pub mode: Option<Mode>,
    /// What it may spend, and how fast.
    pub terms: Terms,
    /// The same of its projects.
    pub projects: Members,
    /// The same of its end users.
    pub users: Members,
}

impl Team {
    /// All terms that anybody of it is held to.
    pub fn all_terms(&self) -> impl Iterator<Item = &Terms> {
        std::iter::once(&self.terms).chain(self.projects.all()).chain(self.users.all())
    }
}

/// Projects or end users of a team, and what each of them is held to.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Members {
    /// Those with terms of their own, by name.
    pub named: BTreeMap<String, Terms>,
    /// What holds for each of the others by itself.
    pub each: Option<Terms>,
}

impl Members {
    /// What one of them is held to.
    pub fn of(&self, name: &str) -> Option<&Terms> {
        self.named.get(name).or(self.each.as_ref())
    }

    /// The terms of all.
    pub fn all(&self) -> impl Iterator<Item = &Terms> {
        self.named.values().chain(&self.each)
    }
}

/// A virtual key.
#[derive(Clone, Debug)]
pub struct Key {
    /// SHA-256 of the key's bytes.
    pub sha256: [u8; 32],
    /// Public name: as configured, else the first twelve hex digits of the hash.
    pub id: KeyId,
    /// Who pays.
    pub team: TeamId,
    /// What requests with this key may claim.
    pub may: Grants,
    /// Overrides the team's mode.
    pub mode: Option<Mode>,
    /// Attribution of requests that claim nothing.
    pub defaults: KeyDefaults,
    /// What requests with it may spend, and how fast.
    pub terms: Terms,
}

/// Attribution of requests that claim nothing.
#[derive(Clone, Debug, Default)]
pub struct KeyDefaults {
    /// Project.
    pub project: Option<String>,
    /// Pipeline.
    pub pipeline: Option<String>,
}

/// What a key may claim. `None` means everything within the key's team.
#[derive(Clone, Debug, Default)]
pub struct Grants {
    /// Teams besides the key's own.
    pub teams: Vec<TeamId>,
    /// Projects, as globs.
    pub projects: Option<Vec<GlobMatcher>>,
    /// Pipelines, as globs.
    pub pipelines: Option<Vec<GlobMatcher>>,
    /// Tiers; also limits exact model names to those tiers' models unless `models` widens it.
    pub tiers: Option<Vec<Tier>>,
    /// Task kinds, as globs.
    pub tasks: Option<Vec<GlobMatcher>>,
    /// Model names (bare or `provider/model`), as globs.
    pub models: Option<Vec<GlobMatcher>>,
    /// Whether requests whose cost nothing bounds are allowed under a budget.
    pub unbounded: bool,
}

/// A secret value. Prints as `***`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a resolved secret.
    pub fn new(value: String) -> Self {
        Self(value)
    }

    /// The value, for the one place that sends it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}
