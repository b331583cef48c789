//! Builds everything from a configuration, starts it, and shuts it down in order; `watch` reads files again.

mod aside;
mod descriptors;
pub mod warnings;
mod watch;
pub mod withdrawals;

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use jiff::tz::TimeZone;
use serde_json::json;
use tokio::sync::watch as switch;
use tokio::task::JoinHandle;

use crate::admin::{Admin, Changing};
use crate::classify;
use crate::config::Config;
use crate::config::policies::{self, Known};
use crate::cost::Book;
use crate::gateway::{Gateway, recall};
use crate::keys::{KeysError, Store};
use crate::ledger::mirror::Target;
use crate::ledger::{Keep, Ledger, LedgerError, LedgerOptions, Told};
use crate::limits::CUT_GRACE;
use crate::meter::accounts::{Accounts, Cutting};
use crate::meter::estimates::Estimates;
use crate::meter::holds::Holds;
use crate::meter::overhead::Internal;
use crate::meter::prefixes::Prefixes;
use crate::meter::sketches::Sketches;
use crate::policy::{Failed, Set, Verify, doubts};
use crate::problem::Problem;
use crate::providers::Providers;
use crate::route::{examples, nested};
use crate::server::listen::{self, Listener};
use crate::server::{Admission, FeedbackPace, InForce, Server, tls};
use crate::telemetry::log::{Log, now_ms};
use crate::telemetry::metrics::Metrics;
use crate::webhooks;

/// Holds policies against their tests, and their bullets against each other.
pub const VERIFY: Verify<'static> = &|policy| {
    let alike = doubts::alike(policy, &classify::similarity(policy)).into_iter();
    let doubted = alike.chain(doubts::claim_nothing(policy, &classify::coverage)).chain(nested::astray(policy));
    examples::verify(policy).into_iter().chain(doubted.map(|problem| Failed { problem, advisory: true })).collect()
};

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
    /// The key store cannot be read, or keys are wanted and there are none.
    #[error("{0}")]
    Keys(String),
    /// The ledger cannot be opened.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// What is configured as the ledger's mirror is no Postgres.
    #[error("`mirror` {0}")]
    Mirror(String),
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
    closing: switch::Sender<bool>,
    closed: switch::Sender<bool>,
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
    let mut seen = watch::Seen::now(&config, file.as_deref());
    let tls = config.server.tls.as_ref().map(tls::read).transpose().map_err(StartError::Tls)?.map(tls::Doors::new);
    let book = read_book(config.prices.as_deref()).map_err(StartError::Prices)?;
    let source = file.as_deref().map_or_else(|| "environment".to_owned(), |file| file.display().to_string());
    policies::are_there(&config, &source).map_err(|problem| StartError::Policies(vec![problem]))?;
    let (policies, doubts) =
        read_policies_again(config.policies.as_deref(), &mut seen.known).map_err(StartError::Policies)?;
    config.providers.iter().for_each(|row| book.read_ahead(&row.vendor));
    let (keys, not_in_force) = read_keys(&config)?;
    let agents = listen::bind(config.server.listen).await?;
    let operators = listen::bind(config.server.admin_listen).await?;
    let mirror = config.ledger.mirror.as_ref().map(|url| Target::parse(url.reveal())).transpose();
    let mirror = mirror.map_err(StartError::Mirror)?;
    let options = LedgerOptions {
        path: config.ledger.path.clone(),
        durability: config.ledger.durability,
        when_it_fails: config.ledger.when_it_fails,
    };
    let (ledger, recovered) = Ledger::open(&options)?;
    ledger.mirror_to(mirror)?;
    let zone = TimeZone::get(&config.timezone).unwrap_or(TimeZone::UTC);
    let keep = config.ledger.keep.map(|months| Keep { months, zone });
    let of_ledger = log.clone();
    ledger.look_after(keep, now_ms, move |told| match told {
        Told::Forgot(gone) => {
            of_ledger.event("ledger_forgot", &json!({ "requests": gone.requests, "attempts": gone.attempts }));
        }
        Told::Failed(error) => of_ledger.event("ledger_upkeep_failed", &json!({ "error": error.to_string() })),
    })?;
    let warnings: Vec<String> = warnings::warnings(&config, &book, jiff::Timestamp::now())
        .into_iter()
        .chain(not_in_force)
        .chain(doubts.iter().map(ToString::to_string))
        .chain(warnings::of_policies(policies.policies(), Some(&config), Some(&keys.ring())))
        .collect();
    let metrics = Metrics::new(config.label_values);
    watch::RELOADED.iter().for_each(|file| metrics.reload_failures.with_label_values(&[file]).inc_by(0));
    metrics.show_policies(watch::versions_of(&policies));
    metrics.interrupted.set(i64::try_from(recovered.attempts_interrupted).unwrap_or(i64::MAX));
    let timezone = TimeZone::get(&config.timezone).unwrap_or(TimeZone::UTC);
    let (holds, news) = Holds::new(timezone);
    let accounts = Arc::new(Accounts {
        sketches: Sketches::start(ledger.key()),
        ledger,
        holds,
        book: ArcSwap::from_pointee(book),
        timezone: TimeZone::get(&config.timezone).unwrap_or(TimeZone::UTC),
        internal: Internal { overhead_team: config.overhead_team.clone(), transfer_ppm: config.transfer_ppm },
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
    let in_force: Vec<_> = keys.ring().keys().into_iter().cloned().collect();
    recall::recall(&accounts, &config.payers(), &in_force, recall::Whose::All)?;
    let teller = tokio::spawn(webhooks::tell(news, config.webhooks.clone(), accounts.log.clone()));
    let admission = Arc::new(Admission::new(config.limits));
    let server = Arc::new(Server {
        gateway: Gateway::new(
            Arc::clone(&config),
            Arc::clone(&accounts),
            Providers::new(&config.providers, shares.providers),
            policies,
        ),
        keys,
        admission: Arc::clone(&admission),
        replays: Arc::default(),
        feedback_pace: FeedbackPace::default(),
    });
    let (listen, admin_listen) = (agents.local_addr()?, operators.local_addr()?);
    let (closing, closing_seen) = switch::channel(false);
    let (closed, closed_seen) = switch::channel(false);
    let admin = Arc::new(Admin {
        accounts: Arc::clone(&accounts),
        admission: Arc::clone(&admission),
        config: Arc::clone(&config),
        server: Arc::clone(&server),
        changing: Changing::default(),
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
    let watcher = tokio::spawn(watch::files(Arc::clone(&server), file, tls, seen));
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
        accounts.sketches.close();
        let of_thread = Arc::clone(&accounts);
        let ledger = tokio::task::spawn_blocking(move || of_thread.ledger.close()).await;
        closed.send_replace(true);
        drop(operators.await);
        accounts.log.event("stopped", &json!({}));
        ledger.unwrap_or(Ok(()))
    }
}

/// The keys in force, and which stored ones are not. Where the configuration relies on stored keys there have to be some.
///
/// # Errors
///
/// The key store cannot be read, or there is no key although others than this machine could come in.
pub fn read_keys(config: &Config) -> Result<(InForce, Vec<String>), StartError> {
    let path = config.ledger.keys_path();
    let stored = Store::open(&path).and_then(|store| store.map_or(Ok(Vec::new()), |store| store.all()));
    let stored = stored.map_err(|error: KeysError| StartError::Keys(error.to_string()))?;
    let (keys, problems) = InForce::at_start(config, stored);
    let server = &config.server;
    let all_pages = server.cors.as_ref().is_some_and(|cors| cors.origins.iter().any(|origin| origin == "*"));
    if !keys.ring().is_closed() && (all_pages || !server.listen.ip().to_canonical().is_loopback()) {
        return Err(StartError::Keys(format!(
            "there are no `keys`, and none in `{}`, and others than this machine could come in; wanted at least one: \
             `farthing keys create`",
            path.display()
        )));
    }
    Ok((keys, problems))
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
    read_policies_again(folder, &mut Known::default())
}

fn read_policies_again(folder: Option<&Path>, known: &mut Known) -> Result<(Set, Vec<Problem>), Vec<Problem>> {
    folder.map_or_else(|| Ok((Set::builtin(), Vec::new())), |folder| policies::load_again(folder, VERIFY, known))
}

fn lines(problems: &[Problem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests;
