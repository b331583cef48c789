//! Builds everything from a configuration, starts it, watches its files, and shuts it down in order.

mod aside;
mod descriptors;
pub mod warnings;

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
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
use crate::gateway::{Gateway, hold};
use crate::ledger::{Ledger, LedgerError, LedgerOptions};
use crate::limits::{CUT_GRACE, RELOAD_TIMEOUT};
use crate::meter::accounts::{Accounts, Cutting};
use crate::meter::estimates::Estimates;
use crate::meter::holds::Holds;
use crate::meter::prefixes::Prefixes;
use crate::policy::{Set, Verify};
use crate::problem::Problem;
use crate::providers::Providers;
use crate::route::examples;
use crate::server::listen::{self, Listener};
use crate::server::{Admission, KeyRing, Server, tls};
use crate::telemetry::log::Log;
use crate::telemetry::metrics::Metrics;
use crate::webhooks;

/// How often the files that are read again are looked at. Policies are read at the second look that finds them changed
/// and alike, so that two of these and the reading stay within a second.
const WATCH_INTERVAL: Duration = Duration::from_millis(300);
/// Holds policies against their tests.
pub const VERIFY: Verify<'static> = &examples::verify;
/// What is read again, as `farthing_reload_failures_total` names it.
const RELOADED: [&str; 4] = ["config", "prices", "policies", "tls"];

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
    teller: JoinHandle<()>,
    drain_timeout: Duration,
}

/// Starts a gateway; `file` is where its configuration came from, if it came from a file.
///
/// # Errors
///
/// [`StartError`], each with one line that says what to mend. Nothing is left running.
pub async fn start(config: Config, file: Option<PathBuf>, log: Log) -> Result<Running, StartError> {
    let config = Arc::new(config);
    let shares = descriptors::shares(descriptors::raise());
    // Before anything that takes time: a change from here on is noticed.
    let seen = Seen::now(&config, file.as_deref());
    let tls = config.server.tls.as_ref().map(tls::read).transpose().map_err(StartError::Tls)?.map(tls::Doors::new);
    let book = read_book(config.prices.as_deref()).map_err(StartError::Prices)?;
    let (policies, doubts) = read_policies(config.policies.as_deref()).map_err(StartError::Policies)?;
    config.providers.iter().for_each(|row| book.read_ahead(&row.vendor));
    let agents = listen::bind(config.server.listen).await?;
    let operators = listen::bind(config.server.admin_listen).await?;
    let options = LedgerOptions {
        path: config.ledger.path.clone(),
        durability: config.ledger.durability,
        when_it_fails: config.ledger.when_it_fails,
    };
    let (ledger, recovered) = Ledger::open(&options)?;
    let warnings: Vec<String> = warnings::warnings(&config, &book, jiff::Timestamp::now())
        .into_iter()
        .chain(doubts.iter().map(ToString::to_string))
        .chain(warnings::of_policies(policies.policies(), Some(&config)))
        .collect();
    let metrics = Metrics::new(config.label_values);
    RELOADED.iter().for_each(|file| metrics.reload_failures.with_label_values(&[file]).inc_by(0));
    metrics.show_policies(versions_of(&policies));
    metrics.interrupted.set(i64::try_from(recovered.attempts_interrupted).unwrap_or(i64::MAX));
    let timezone = TimeZone::get(&config.timezone).unwrap_or(TimeZone::UTC);
    let (holds, news) = Holds::new(timezone);
    let accounts = Arc::new(Accounts {
        ledger,
        holds,
        book: ArcSwap::from_pointee(book),
        timezone: TimeZone::get(&config.timezone).unwrap_or(TimeZone::UTC),
        estimates: Estimates::default(),
        prefixes: Prefixes::default(),
        metrics,
        log,
        cutting: Cutting::default(),
    });
    if recovered.records_replayed + recovered.attempts_interrupted + recovered.torn_bytes + recovered.lost_bytes > 0
        || recovered.journal_was_missing
    {
        accounts.log.event(
            "ledger_recovered",
            &json!({
                "records": recovered.records_replayed, "interrupted_attempts": recovered.attempts_interrupted,
                "torn_bytes": recovered.torn_bytes, "lost_bytes": recovered.lost_bytes, "journal_was_missing": recovered.journal_was_missing,
            }),
        );
    }
    hold::recall(&accounts, &config, &config.keys, hold::Whose::All)?;
    let teller = tokio::spawn(webhooks::tell(news, config.webhooks.clone(), accounts.log.clone()));
    let admission = Arc::new(Admission::new(config.limits));
    let server = Arc::new(Server {
        gateway: Gateway::new(
            Arc::clone(&config),
            Arc::clone(&accounts),
            Providers::new(&config.providers, shares.providers),
            policies,
        ),
        keys: ArcSwap::from_pointee(KeyRing::new(&config.keys)),
        admission: Arc::clone(&admission),
    });
    let (listen, admin_listen) = (agents.local_addr()?, operators.local_addr()?);
    let (closing, closing_seen) = watch::channel(false);
    let (closed, closed_seen) = watch::channel(false);
    let admin = Arc::new(Admin {
        accounts: Arc::clone(&accounts),
        admission: Arc::clone(&admission),
        config: Arc::clone(&config),
        key: config.server.admin_key.clone(),
        on_loopback: admin_listen.ip().to_canonical().is_loopback(),
    });
    let agents = Listener {
        listener: agents,
        tls: tls.as_ref().map(|tls| Arc::clone(&tls.agents)),
        connections_max: shares.agents,
        log: accounts.log.clone(),
    };
    let operators = Listener {
        listener: operators,
        tls: tls.as_ref().map(|tls| Arc::clone(&tls.operators)),
        connections_max: shares.operators,
        log: accounts.log.clone(),
    };
    let watcher = tokio::spawn(watch_files(Arc::clone(&server), file, tls, seen));
    let of_agents = move |request| Arc::clone(&server).serve(request);
    let of_operators = move |request| Arc::clone(&admin).serve(request);
    let doors = [
        tokio::spawn(listen::serve(agents, of_agents, closing_seen, config.server.drain_timeout + CUT_GRACE)),
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
        teller,
        drain_timeout: config.server.drain_timeout,
    };
    let listening = json!({
        "listen": listen.to_string(), "admin_listen": admin_listen.to_string(), "connections_max": shares.agents,
    });
    running.accounts.log.event("listening", &listening);
    // Behind it, since whoever starts the gateway may wait for that line and read no other.
    for warning in warnings {
        running.accounts.log.event("warning", &json!({ "message": warning }));
    }
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
        let Self {
            accounts,
            admission,
            closing,
            closed,
            doors: [agents, operators],
            watcher,
            teller,
            drain_timeout,
            ..
        } = self;
        accounts.log.event("draining", &json!({ "in_flight": admission.in_flight() }));
        admission.drain();
        let patience = tokio::time::sleep(drain_timeout);
        closing.send_replace(true);
        tokio::pin!(agents, patience);
        tokio::select! {
            biased;
            () = patience => accounts.cutting.begin(),
            ended = agents.as_mut() => drop(ended),
        }
        if !agents.is_finished() {
            drop(agents.await);
        }
        watcher.abort();
        // What it has not sent yet is told again after the next start, by the first request that spends.
        teller.abort();
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

/// The routing policies of a folder over the built-in default, or that alone; and what they probably do not mean.
pub fn read_policies(folder: Option<&Path>) -> Result<(Set, Vec<Problem>), Vec<Problem>> {
    folder.map_or_else(|| Ok((Set::builtin(), Vec::new())), |folder| policies::load(folder, VERIFY))
}

fn versions_of(policies: &Set) -> Vec<String> {
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

/// Reads keys, prices, policies and certificates again when their files change, and on SIGHUP. A bad file never replaces
/// a good one. Each is read on a thread of its own: one that cannot be read holds up neither the doors nor the others.
async fn watch_files(server: Arc<Server>, file: Option<PathBuf>, tls: Option<tls::Doors>, seen: Seen) {
    let config = server.gateway.config().clone();
    let keys = file.map(|file| {
        let reload = of_file(&file, reload_keys);
        Watch::new(&server, "config", file.clone(), seen.config, move || versions(&[&file]), reload).forever()
    });
    let prices = config.prices.clone().map(|file| {
        let reload = of_file(&file, reload_prices);
        Watch::new(&server, "prices", file.clone(), seen.prices, move || versions(&[&file]), reload).forever()
    });
    let policies = config.policies.clone().map(|folder| {
        let reload = of_file(&folder, reload_policies);
        let watch =
            Watch::new(&server, "policies", folder.clone(), seen.policies, move || policies::stamp(&folder), reload);
        // A file that is being written may be a good policy at half its length.
        Watch { comes_to_rest: true, ..watch }.forever()
    });
    let certificates = tls.zip(config.server.tls.clone()).map(|(doors, files)| {
        let paths: Vec<PathBuf> = files.paths().map(Path::to_path_buf).collect();
        let first = paths.first().cloned().unwrap_or_default();
        let reload = Arc::new(move |server: &Server| reload_tls(server, &doors, &files));
        Watch::new(&server, "tls", first, seen.tls, move || versions(&paths), reload).forever()
    });
    let behind = async {
        let mut told = None;
        loop {
            tell_whether_behind(server.gateway.accounts(), &mut told);
            tokio::time::sleep(WATCH_INTERVAL).await;
        }
    };
    tokio::join!(perhaps(keys), perhaps(prices), perhaps(policies), perhaps(certificates), behind);
}

/// Waits for `watch`, if there is one.
async fn perhaps(watch: Option<impl Future<Output = ()>>) {
    if let Some(watch) = watch {
        watch.await;
    }
}

/// Reads something again, and puts it in force or says why not.
type Reload = Arc<dyn Fn(&Server) + Send + Sync>;

fn of_file(file: &Path, reload: fn(&Server, &Path)) -> Reload {
    let file = file.to_path_buf();
    Arc::new(move |server| reload(server, &file))
}

/// What is read again together; a `V` tells one state of it from the next.
struct Watch<V> {
    server: Arc<Server>,
    /// The label of `farthing_reload_failures_total`.
    what: &'static str,
    /// What is named where reading does not come to an end.
    path: PathBuf,
    look: Arc<dyn Fn() -> V + Send + Sync>,
    /// As it was when it was last looked at.
    seen: V,
    /// As it was when it was last read.
    read: V,
    /// It is read again at the second look that finds it changed and alike, not at the first.
    comes_to_rest: bool,
    reload: Reload,
}

impl<V: Clone + PartialEq + Send + 'static> Watch<V> {
    fn new(
        server: &Arc<Server>,
        what: &'static str,
        path: PathBuf,
        seen: V,
        look: impl Fn() -> V + Send + Sync + 'static,
        reload: Reload,
    ) -> Self {
        let (server, look, read) = (Arc::clone(server), Arc::new(look), seen.clone());
        Self { server, what, path, look, seen, read, comes_to_rest: false, reload }
    }

    async fn forever(mut self) {
        let mut hang_ups = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup()).ok();
        loop {
            let asked = tokio::select! {
                () = tokio::time::sleep(WATCH_INTERVAL) => false,
                Some(()) = async { hang_ups.as_mut()?.recv().await } => true,
            };
            let look_and_read = {
                let (server, look, reload) =
                    (Arc::clone(&self.server), Arc::clone(&self.look), Arc::clone(&self.reload));
                let (seen, read, comes_to_rest) = (self.seen.clone(), self.read.clone(), self.comes_to_rest);
                move || {
                    let now = look();
                    let is_due = asked || now != read && (now == seen || !comes_to_rest);
                    if is_due {
                        reload(&server);
                    }
                    (now, is_due)
                }
            };
            if let Some((now, is_read)) = aside::run(look_and_read, RELOAD_TIMEOUT, || self.tell_stuck()).await {
                if is_read {
                    self.read = now.clone();
                }
                self.seen = now;
            }
        }
    }

    fn tell_stuck(&self) {
        let stuck = about(&self.path, "reading it does not come to an end; what was in force stays");
        reload_failed(&self.server, self.what, &[stuck]);
    }
}

/// The files that are read again, as they were when they were last looked at.
struct Seen {
    config: Vec<Option<Version>>,
    prices: Vec<Option<Version>>,
    policies: Stamp,
    tls: Vec<Option<Version>>,
}

impl Seen {
    fn now(config: &Config, file: Option<&Path>) -> Self {
        let tls: Vec<_> = config.server.tls.iter().flat_map(TlsFiles::paths).collect();
        Self {
            config: versions(file.as_slice()),
            prices: versions(config.prices.as_deref().as_slice()),
            policies: config.policies.as_deref().map(policies::stamp).unwrap_or_default(),
            tls: versions(&tls),
        }
    }
}

/// What tells one state of a file from the next: its time of modification and its length.
type Version = (SystemTime, u64);

fn versions<P: AsRef<Path>>(files: &[P]) -> Vec<Option<Version>> {
    let version = |file: &P| {
        let metadata = std::fs::metadata(file).ok()?;
        Some((metadata.modified().ok()?, metadata.len()))
    };
    files.iter().map(version).collect()
}

/// A process that runs must not wait for whoever writes into a pipe.
fn regular(file: &Path) -> Result<&Path, Vec<Problem>> {
    match std::fs::metadata(file) {
        Ok(metadata) if !metadata.is_file() => Err(vec![about(file, "it is no regular file; what was in force stays")]),
        // What is not there is told by whoever reads it.
        _ => Ok(file),
    }
}

fn about(file: &Path, message: &str) -> Problem {
    Problem { file: file.display().to_string(), line: 0, column: 0, message: message.to_owned() }
}

fn reload_keys(server: &Server, file: &Path) {
    let in_force = server.keys.load().len();
    let load = |file| config::load_keys(file, server.gateway.config(), in_force, &|name| std::env::var(name).ok());
    match regular(file).and_then(load) {
        Ok(keys) => {
            let gateway = &server.gateway;
            if let Err(error) = hold::recall_new_keys(gateway.accounts(), gateway.config(), &keys) {
                let message = format!("`keys`: what they have spent cannot be told: {error}");
                let problem = Problem { file: file.display().to_string(), line: 0, column: 0, message };
                return reload_failed(server, "config", &[problem]);
            }
            server.keys.store(Arc::new(KeyRing::new(&keys)));
            server.gateway.accounts().log.event(
                "keys_reloaded",
                &json!({ "keys": keys.len(), "note": "of this file only the keys are read again, other changes need a restart" }),
            );
        }
        Err(problems) => reload_failed(server, "config", &problems),
    }
}

fn reload_prices(server: &Server, file: &Path) {
    match regular(file).and_then(|file| read_book(Some(file))) {
        Ok(book) => {
            server.gateway.accounts().book.store(Arc::new(book));
            server.gateway.accounts().log.event("prices_reloaded", &json!({}));
        }
        Err(problems) => reload_failed(server, "prices", &problems),
    }
}

/// Reads the whole folder; one bad file leaves all policies as they were.
fn reload_policies(server: &Server, folder: &Path) {
    let accounts = server.gateway.accounts();
    match policies::load(folder, VERIFY) {
        Ok((set, found)) => {
            let versions = versions_of(&set);
            let doubts = warnings::of_policies(set.policies(), Some(server.gateway.config()));
            server.gateway.replace_policies(set);
            accounts.metrics.show_policies(versions.clone());
            let warnings: Vec<String> = found.iter().map(ToString::to_string).chain(doubts).collect();
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
