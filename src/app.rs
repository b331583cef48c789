//! Builds everything from a configuration, starts it, watches its files, and shuts it down in order.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use jiff::tz::TimeZone;
use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::admin::Admin;
use crate::config::policies::{self, Stamp};
use crate::config::{self, Config, TlsFiles};
use crate::cost::Book;
use crate::gateway::Gateway;
use crate::ledger::{Ledger, LedgerError, LedgerOptions};
use crate::meter::accounts::Accounts;
use crate::meter::estimates::Estimates;
use crate::policy::{Set, Verify};
use crate::problem::Problem;
use crate::providers::Providers;
use crate::server::listen::{self, Listener};
use crate::server::{Admission, KeyRing, Server, tls};
use crate::telemetry::log::Log;
use crate::telemetry::metrics::Metrics;

/// How often the files that are read again are looked at. Policies are read at the second look that finds them changed
/// and alike, so that two of these and the reading stay within a second.
const WATCH_INTERVAL: Duration = Duration::from_millis(300);
/// Holds policies against their tests; nothing classifies requests yet that could contradict one.
pub const VERIFY: Verify<'static> = &|_| Vec::new();

/// Why the process cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The price file is not usable.
    #[error("{}", lines(.0))]
    Prices(Vec<Problem>),
    /// The files of TLS are not usable.
    #[error("{}", lines(.0))]
    Tls(Vec<Problem>),
    /// The routing policies are not usable.
    #[error("{}", lines(.0))]
    Policies(Vec<Problem>),
    /// The ledger cannot be opened.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// An address cannot be listened on.
    #[error(transparent)]
    Listen(#[from] io::Error),
}

/// A gateway that serves.
pub struct Running {
    /// Where agents come in.
    pub listen: SocketAddr,
    /// Where operators come in.
    pub admin_listen: SocketAddr,
    accounts: Arc<Accounts>,
    admission: Arc<Admission>,
    closing: watch::Sender<bool>,
    closed: watch::Sender<bool>,
    doors: [JoinHandle<()>; 2],
    watcher: JoinHandle<()>,
    drain_timeout: Duration,
}

/// Starts a gateway; `file` is where its configuration came from, if it came from a file.
///
/// # Errors
///
/// [`StartError`], each with one line that says what to mend. Nothing is left running.
pub async fn start(config: Config, file: Option<PathBuf>, log: Log) -> Result<Running, StartError> {
    let config = Arc::new(config);
    // Before anything that takes time: a change from here on is noticed.
    let seen = Seen::now(&config, file.as_deref());
    let tls = config.server.tls.as_ref().map(tls::read).transpose().map_err(StartError::Tls)?.map(tls::Doors::new);
    let book = read_book(config.prices.as_deref()).map_err(StartError::Prices)?;
    let policies = read_policies(config.policies.as_deref()).map_err(StartError::Policies)?;
    config.providers.iter().for_each(|row| book.read_ahead(&row.vendor));
    let agents = listen::bind(config.server.listen).await?;
    let operators = listen::bind(config.server.admin_listen).await?;
    let options = LedgerOptions {
        path: config.ledger.path.clone(),
        durability: config.ledger.durability,
        when_it_fails: config.ledger.when_it_fails,
    };
    let (ledger, recovered) = Ledger::open(&options)?;
    let metrics = Metrics::new(config.label_values);
    metrics.show_policies(versions(&policies));
    metrics.interrupted.set(i64::try_from(recovered.attempts_interrupted).unwrap_or(i64::MAX));
    let accounts = Arc::new(Accounts {
        ledger,
        book: ArcSwap::from_pointee(book),
        timezone: TimeZone::get(&config.timezone).unwrap_or(TimeZone::UTC),
        estimates: Estimates::default(),
        metrics,
        log,
        cutting: AtomicBool::new(false),
    });
    if recovered.records_replayed + recovered.attempts_interrupted + recovered.torn_bytes > 0
        || recovered.journal_was_missing
    {
        accounts.log.event(
            "ledger_recovered",
            &json!({
                "records": recovered.records_replayed, "interrupted_attempts": recovered.attempts_interrupted,
                "torn_bytes": recovered.torn_bytes, "journal_was_missing": recovered.journal_was_missing,
            }),
        );
    }
    let admission = Arc::new(Admission::new(config.limits));
    let server = Arc::new(Server {
        gateway: Gateway::new(Arc::clone(&config), Arc::clone(&accounts), Providers::new(&config.providers), policies),
        keys: ArcSwap::from_pointee(KeyRing::new(&config.keys)),
        admission: Arc::clone(&admission),
    });
    let (listen, admin_listen) = (agents.local_addr()?, operators.local_addr()?);
    let (closing, closing_seen) = watch::channel(false);
    let (closed, closed_seen) = watch::channel(false);
    let admin = Arc::new(Admin {
        accounts: Arc::clone(&accounts),
        admission: Arc::clone(&admission),
        key: config.server.admin_key.clone(),
        on_loopback: admin_listen.ip().to_canonical().is_loopback(),
    });
    let agents = Listener { listener: agents, tls: tls.as_ref().map(|tls| Arc::clone(&tls.agents)) };
    let operators = Listener { listener: operators, tls: tls.as_ref().map(|tls| Arc::clone(&tls.operators)) };
    let watcher = tokio::spawn(watch_files(Arc::clone(&server), file, tls, seen));
    let of_agents = move |request| Arc::clone(&server).serve(request);
    let of_operators = move |request| Arc::clone(&admin).serve(request);
    let doors = [
        tokio::spawn(listen::serve(agents, of_agents, closing_seen, config.server.drain_timeout)),
        tokio::spawn(listen::serve(operators, of_operators, closed_seen, Duration::from_secs(1))),
    ];
    let running = Running {
        listen,
        admin_listen,
        accounts,
        admission,
        closing,
        closed,
        doors,
        watcher,
        drain_timeout: config.server.drain_timeout,
    };
    running
        .accounts
        .log
        .event("listening", &json!({ "listen": listen.to_string(), "admin_listen": admin_listen.to_string() }));
    Ok(running)
}

impl Running {
    /// What is written to.
    pub fn accounts(&self) -> &Accounts {
        &self.accounts
    }

    /// Drains: new requests are refused, those in flight finish (within `drain_timeout`) and settle; then the
    /// ledger is brought up to date and closed.
    ///
    /// # Errors
    ///
    /// What kept the ledger's last records out of its tables; the next start applies them.
    pub async fn stop(self) -> Result<(), LedgerError> {
        let Self { accounts, admission, closing, closed, doors: [agents, operators], watcher, drain_timeout, .. } =
            self;
        accounts.log.event("draining", &json!({ "in_flight": admission.in_flight() }));
        admission.drain();
        let patience = tokio::time::sleep(drain_timeout);
        closing.send_replace(true);
        tokio::pin!(agents, patience);
        tokio::select! {
            biased;
            () = patience => accounts.cutting.store(true, Ordering::Relaxed),
            ended = agents.as_mut() => drop(ended),
        }
        if !agents.is_finished() {
            drop(agents.await);
        }
        watcher.abort();
        accounts.estimates.idle().await;
        let of_thread = Arc::clone(&accounts);
        let ledger = tokio::task::spawn_blocking(move || of_thread.ledger.close()).await;
        closed.send_replace(true);
        drop(operators.await);
        accounts.log.event("stopped", &json!({}));
        ledger.unwrap_or(Ok(()))
    }
}

/// The built-in price book under the user's file.
pub fn read_book(file: Option<&Path>) -> Result<Book, Vec<Problem>> {
    let Some(file) = file else { return Ok(Book::builtin().clone()) };
    let name = file.display().to_string();
    let text = std::fs::read_to_string(file).map_err(|error| {
        vec![Problem { file: name.clone(), line: 0, column: 0, message: format!("cannot be read: {error}") }]
    })?;
    Book::parse(&name, &text).map(|rows| Book::builtin().with_user_rows(rows))
}

/// The routing policies of a folder over the built-in default, or that alone.
pub fn read_policies(folder: Option<&Path>) -> Result<Set, Vec<Problem>> {
    match folder {
        Some(folder) => policies::load(folder, VERIFY).map(|(set, _)| set),
        None => Ok(Set::builtin()),
    }
}

fn versions(policies: &Set) -> Vec<String> {
    policies.policies().iter().map(|policy| policy.version.clone()).collect()
}

/// Tells in the log when the ledger's views stand still, why, and when they go on.
fn tell_whether_behind(accounts: &Accounts, told: &mut Option<String>) {
    let now = accounts.ledger.failure();
    if now == *told {
        return;
    }
    match &now {
        Some(error) => accounts.log.event("ledger_behind", &json!({ "error": error })),
        None => accounts.log.event("ledger_caught_up", &json!({})),
    }
    *told = now;
}

/// Reads keys, prices, policies and certificates again when their files change, and on SIGHUP. A bad file never replaces a
/// good one.
async fn watch_files(server: Arc<Server>, file: Option<PathBuf>, tls: Option<tls::Doors>, mut seen: Seen) {
    let config = server.gateway.config().clone();
    let mut hang_ups = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup()).ok();
    let mut behind = None;
    let mut read_policies = seen.policies.clone();
    loop {
        tell_whether_behind(server.gateway.accounts(), &mut behind);
        let asked = tokio::select! {
            () = tokio::time::sleep(WATCH_INTERVAL) => false,
            Some(()) = async { hang_ups.as_mut()?.recv().await } => true,
        };
        let now = Seen::now(&config, file.as_deref());
        if let Some(file) = file.as_deref().filter(|_| asked || now.config != seen.config) {
            reload_keys(&server, file);
        }
        if let Some(prices) = config.prices.as_deref().filter(|_| asked || now.prices != seen.prices) {
            reload_prices(&server, prices);
        }
        if let Some(folder) = &config.policies {
            // A file that is being written may be a good policy at half its length.
            let is_settled = now.policies == seen.policies && now.policies != read_policies;
            if asked || is_settled {
                read_policies.clone_from(&now.policies);
                reload_policies(&server, folder.clone()).await;
            }
        }
        if let (Some(tls), Some(files)) = (&tls, &config.server.tls)
            && (asked || now.tls != seen.tls)
        {
            reload_tls(&server, tls, files);
        }
        seen = now;
    }
}

/// The files that are read again, as they were when they were last looked at.
#[derive(PartialEq, Eq)]
struct Seen {
    config: Option<Version>,
    prices: Option<Version>,
    policies: Stamp,
    tls: Vec<Option<Version>>,
}

impl Seen {
    fn now(config: &Config, file: Option<&Path>) -> Self {
        let tls = config.server.tls.iter().flat_map(TlsFiles::paths);
        Self {
            config: modified(file),
            prices: modified(config.prices.as_deref()),
            policies: config.policies.as_deref().map(policies::stamp).unwrap_or_default(),
            tls: tls.map(|file| modified(Some(file))).collect(),
        }
    }
}

/// What tells one state of a file from the next: its time of modification and its length.
type Version = (SystemTime, u64);

fn modified(file: Option<&Path>) -> Option<Version> {
    let metadata = std::fs::metadata(file?).ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}

fn reload_keys(server: &Server, file: &Path) {
    let in_force = server.keys.load().len();
    match config::load_keys(file, server.gateway.config(), in_force, &|name| std::env::var(name).ok()) {
        Ok(keys) => {
            server.keys.store(Arc::new(KeyRing::new(&keys)));
            server.gateway.accounts().log.event(
                "keys_reloaded",
                &json!({ "keys": keys.len(), "note": "only keys, prices and policies are read again, other changes need a restart" }),
            );
        }
        Err(problems) => reload_failed(server, "config", &problems),
    }
}

fn reload_prices(server: &Server, file: &Path) {
    match read_book(Some(file)) {
        Ok(book) => {
            server.gateway.accounts().book.store(Arc::new(book));
            server.gateway.accounts().log.event("prices_reloaded", &json!({}));
        }
        Err(problems) => reload_failed(server, "prices", &problems),
    }
}

/// Reads the whole folder; one bad file leaves all policies as they were.
async fn reload_policies(server: &Server, folder: PathBuf) {
    // Many files take longer than an async thread may be held.
    let Ok(read) = tokio::task::spawn_blocking(move || policies::load(&folder, VERIFY)).await else { return };
    let accounts = server.gateway.accounts();
    match read {
        Ok((set, warnings)) => {
            let versions = versions(&set);
            server.gateway.replace_policies(set);
            accounts.metrics.show_policies(versions.clone());
            let warnings: Vec<String> = warnings.iter().map(ToString::to_string).collect();
            accounts.log.event("policies_reloaded", &json!({ "policies": versions, "warnings": warnings }));
        }
        Err(problems) => {
            accounts.metrics.policy_reload_failures.inc();
            reload_failed(server, "policies", &problems);
        }
    }
}

fn reload_tls(server: &Server, tls: &tls::Doors, files: &TlsFiles) {
    match tls::read(files) {
        Ok(certificates) => {
            tls.replace(certificates);
            server.gateway.accounts().log.event("certificates_reloaded", &json!({}));
        }
        Err(problems) => reload_failed(server, "tls", &problems),
    }
}

fn reload_failed(server: &Server, what: &str, problems: &[Problem]) {
    let accounts = server.gateway.accounts();
    accounts.metrics.reload_failures.with_label_values(&[what]).inc();
    let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
    accounts.log.event("reload_failed", &json!({ "file": what, "problems": problems }));
}

fn lines(problems: &[Problem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests;
