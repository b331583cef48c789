//! Reads the files that may change while the gateway serves: keys, prices, policies, certificates.
//!
//! Each is looked at a few times a second and read again where it differs, or at once on SIGHUP. What is wrong with a file
//! goes to the log and the metrics, and what was in force stays. Beside that, the ledger's delays and the withdrawal of
//! models are told.

use std::os::unix::fs::MetadataExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use serde_json::json;

use crate::config::policies::{self, Known, Stamp};
use crate::config::{self, Config, TlsFiles};
use crate::gateway::recall;
use crate::keys::{KeysError, Store};
use crate::limits::RELOAD_TIMEOUT;
use crate::meter::accounts::Accounts;
use crate::policy::{Set, builtin};
use crate::problem::Problem;
use crate::server::{Server, tls};

use super::{VERIFY, aside, read_book, warnings, withdrawals};

/// How often the files that are read again are looked at. Policies are read at the second look that finds them changed
/// and alike, so that two of these and the reading stay within a second.
const WATCH_INTERVAL: Duration = Duration::from_millis(300);
/// Looks after which what does not come to rest is read as it is; three seconds.
const LOOKS_MAX: u32 = 10;
/// What is read again, as `farthing_reload_failures_total` names it.
pub(super) const RELOADED: [&str; 5] = ["config", "stored_keys", "prices", "policies", "tls"];

pub(super) fn versions_of(policies: &Set) -> Vec<String> {
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

/// The same of the mirror. A failure that only its words tell from the one before is told once.
fn tell_whether_mirrored(accounts: &Accounts, told: &mut Option<bool>) {
    let Some(standing) = accounts.ledger.mirror() else { return };
    let is_good = standing.failure.is_none();
    let is_news = match (*told, is_good) {
        (None, true) => standing.caught_up > 0,
        (None, false) => true,
        (Some(before), now) => before != now && (!now || standing.caught_up > 0 && standing.rows == 0),
    };
    if !is_news {
        return;
    }
    match &standing.failure {
        Some(error) => accounts.log.event("mirror_behind", &json!({ "error": error, "rows": standing.rows })),
        None => accounts.log.event("mirror_caught_up", &json!({})),
    }
    *told = Some(is_good);
}

/// Lets budgets know what `farthing ledger rerate` booked meanwhile. What cannot be read now can be the next time.
async fn book_adjustments(server: &Arc<Server>) {
    let server = Arc::clone(server);
    let book = move || recall::recall_adjustments(server.gateway.accounts(), &server.gateway.payers());
    drop(tokio::task::spawn_blocking(book).await);
}

/// Reads keys, prices, policies and certificates again when their files change, and on SIGHUP. A bad file never replaces
/// a good one. Each is read on a thread of its own: one that cannot be read holds up neither the doors nor the others.
pub(super) async fn files(server: Arc<Server>, file: Option<PathBuf>, tls: Option<tls::Doors>, seen: Seen) {
    let config = server.gateway.config().clone();
    let keys = file.map(|file| {
        let reload = of_file(&file, reload_keys);
        Watch::new(&server, "config", file.clone(), seen.config, move || versions(&[&file]), reload).forever()
    });
    let stored = {
        let (path, looking) = (config.ledger.keys_path(), Arc::clone(&server));
        let store = Mutex::new(Looked::default());
        let of_look = path.clone();
        let look = move || stored_state(&of_look, &store, &looking);
        Watch::new(&server, "stored_keys", path.clone(), seen.stored, look, of_file(&path, reload_stored)).forever()
    };
    let prices = config.prices.clone().map(|file| {
        let reload = of_file(&file, reload_prices);
        Watch::new(&server, "prices", file.clone(), seen.prices, move || versions(&[&file]), reload).forever()
    });
    let policies = config.policies.clone().map(|folder| {
        let (known, of_folder) = (Mutex::new(seen.known), folder.clone());
        let reload: Reload = Arc::new(move |server| reload_policies(server, &of_folder, &known));
        let watch =
            Watch::new(&server, "policies", folder.clone(), seen.policies, move || policies::stamp(&folder), reload);
        // A file that is being written may be a good policy at half its length.
        Watch { looks: Looks { comes_to_rest: true, ..watch.looks }, ..watch }.forever()
    });
    let certificates = tls.zip(config.server.tls.clone()).map(|(doors, files)| {
        let paths: Vec<PathBuf> = files.paths().map(Path::to_path_buf).collect();
        let first = paths.first().cloned().unwrap_or_default();
        let reload = Arc::new(move |server: &Server| reload_tls(server, &doors, &files));
        Watch::new(&server, "tls", first, seen.tls, move || versions(&paths), reload).forever()
    });
    let behind = async {
        let (mut told, mut told_of_mirror, mut withdrawals) = (None, None, withdrawals::Told::default());
        let accounts = server.gateway.accounts();
        loop {
            tell_whether_behind(accounts, &mut told);
            tell_whether_mirrored(accounts, &mut told_of_mirror);
            withdrawals.tell(&config, accounts, &accounts.timezone);
            book_adjustments(&server).await;
            tokio::time::sleep(WATCH_INTERVAL).await;
        }
    };
    tokio::join!(perhaps(keys), stored, perhaps(prices), perhaps(policies), perhaps(certificates), behind);
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
    looks: Looks<V>,
    reload: Reload,
}

/// What looking found, and what of it was read.
#[derive(Clone)]
struct Looks<V> {
    /// As it was when it was last looked at.
    seen: V,
    /// As it was when it was last read.
    read: V,
    /// Looks since it was last read that found it changed.
    changed: u32,
    /// It is read again at the second look that finds it changed and alike, not at the first.
    comes_to_rest: bool,
}

impl<V: PartialEq> Looks<V> {
    /// Whether it is read again now: somebody `asked`, it changed, or it does not come to rest.
    fn finds(&mut self, now: V, asked: bool) -> bool {
        let is_changed = now != self.read;
        self.changed = if is_changed { self.changed + 1 } else { 0 };
        let is_at_rest = !self.comes_to_rest || now == self.seen || self.changed >= LOOKS_MAX;
        self.seen = now;
        asked || is_changed && is_at_rest
    }
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
        let looks = Looks { read: seen.clone(), seen, changed: 0, comes_to_rest: false };
        Self { server: Arc::clone(server), what, path, look: Arc::new(look), looks, reload }
    }

    async fn forever(mut self) {
        let mut hang_ups = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup()).ok();
        loop {
            let asked = tokio::select! {
                () = tokio::time::sleep(WATCH_INTERVAL) => false,
                Some(()) = async { hang_ups.as_mut()?.recv().await } => true,
            };
            let (server, look, reload) = (Arc::clone(&self.server), Arc::clone(&self.look), Arc::clone(&self.reload));
            let mut looks = self.looks.clone();
            let look_and_read = move || {
                let is_due = looks.finds(look(), asked);
                // What is read is known to be read also if reading it panics: it would again.
                let panicked = is_due && catch_unwind(AssertUnwindSafe(|| reload(&server))).is_err();
                if is_due {
                    (looks.read, looks.changed) = (looks.seen.clone(), 0);
                }
                (looks, panicked)
            };
            if let Some((looks, panicked)) = aside::run(look_and_read, RELOAD_TIMEOUT, || self.tell_stuck()).await {
                self.looks = looks;
                if panicked {
                    let broken =
                        about(&self.path, "reading it broke off by a fault of Farthing's; what was in force stays");
                    self.tell_failed(broken);
                }
            }
        }
    }

    fn tell_stuck(&self) {
        self.tell_failed(about(&self.path, "reading it does not come to an end; what was in force stays"));
    }

    fn tell_failed(&self, problem: Problem) {
        if self.what == "policies" {
            self.server.gateway.accounts().metrics.policy_reload_failures.inc();
        }
        reload_failed(&self.server, self.what, &[problem]);
    }
}

/// The files that are read again, as they were when they were last looked at.
pub(super) struct Seen {
    config: Vec<Option<Version>>,
    prices: Vec<Option<Version>>,
    policies: Stamp,
    /// The policies as they were read at the start.
    pub(super) known: Known,
    tls: Vec<Option<Version>>,
    stored: StoredState,
}

impl Seen {
    /// As they are now.
    pub(super) fn now(config: &Config, file: Option<&Path>) -> Self {
        let tls: Vec<_> = config.server.tls.iter().flat_map(TlsFiles::paths).collect();
        Self {
            config: versions(file.as_slice()),
            prices: versions(config.prices.as_deref().as_slice()),
            policies: config.policies.as_deref().map(policies::stamp).unwrap_or_default(),
            known: Known::default(),
            tls: versions(&tls),
            stored: state_of(&config.ledger.keys_path(), &mut Looked::default()),
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

/// The store of keys as it is looked at: opened once, and anew where another file took its name.
#[derive(Default)]
struct Looked {
    file: Option<u64>,
    store: Option<Store>,
    /// Looks that found it to be read again although nothing changed.
    again: u64,
}

/// What tells one state of the key store from the next.
#[derive(Clone, PartialEq)]
struct StoredState {
    /// Which file it is; `None`: there is none.
    file: Option<u64>,
    /// How many changes it has seen, or why that cannot be told.
    changes: Result<i64, String>,
    again: u64,
}

fn stored_state(path: &Path, looked: &Mutex<Looked>, server: &Server) -> StoredState {
    let mut looked = looked.lock().unwrap_or_else(PoisonError::into_inner);
    looked.again += u64::from(server.keys.withholds());
    state_of(path, &mut looked)
}

fn state_of(path: &Path, looked: &mut Looked) -> StoredState {
    let file = std::fs::metadata(path).ok().map(|metadata| metadata.ino());
    if looked.file != file || looked.store.is_none() {
        *looked = Looked { file, store: None, again: looked.again };
    }
    let mut changes = || -> Result<i64, KeysError> {
        if looked.store.is_none() {
            looked.store = Store::open(path)?;
        }
        looked.store.as_ref().map_or(Ok(0), Store::changes)
    };
    let changes = changes().map_err(|error| error.to_string());
    StoredState { file, changes, again: looked.again }
}

/// Reads the stored keys again. A store that is gone or cannot be read changes nothing.
fn reload_stored(server: &Server, path: &Path) {
    let gone =
        || KeysError::Damaged { path: path.to_path_buf(), what: "it is gone; what was in force stays".to_owned() };
    let has_stored = server.keys.has_stored();
    let read = || match Store::open(path)? {
        Some(store) => store.all(),
        None if has_stored => Err(gone()),
        None => Ok(Vec::new()),
    };
    match server.keys.replace_stored(&server.gateway, read) {
        Ok(problems) => {
            let fields = json!({ "keys": server.keys.ring().keys().len(), "warnings": problems });
            server.gateway.accounts().log.event("stored_keys_reloaded", &fields);
        }
        Err(error) => reload_failed(server, "stored_keys", &[about(path, &error.to_string())]),
    }
}

fn reload_keys(server: &Server, file: &Path) {
    let in_force = server.keys.written_that_close();
    let load = |file| config::load_keys(file, in_force, &|name| std::env::var(name).ok());
    match regular(file).and_then(load) {
        Ok((keys, payers)) => {
            let (count, teams) = (keys.len(), payers.teams.len());
            let problems = match server.keys.replace_written(&server.gateway, keys, payers) {
                Ok(problems) => problems,
                Err(message) => return reload_failed(server, "config", &[about(file, &message)]),
            };
            server.gateway.accounts().log.event(
                "keys_reloaded",
                &json!({
                    "keys": count, "teams": teams, "warnings": problems,
                    "note": "of this file only `keys`, `teams` and `budget` are read again, other changes need a restart",
                }),
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

/// Reads what changed in the folder; one bad file leaves all policies as they were, and so does a folder that has lost
/// them all: nobody means that, and it happens while a folder is moved or mounted.
fn reload_policies(server: &Server, folder: &Path, known: &Mutex<Known>) {
    let accounts = server.gateway.accounts();
    let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
    let in_force = server.gateway.routing().live.load();
    let had_policies = in_force.set().policies().iter().any(|policy| !Arc::ptr_eq(policy, builtin()));
    let loaded = policies::load_again(folder, VERIFY, &mut known).and_then(|(set, found)| match known.is_empty() {
        true if had_policies => {
            Err(vec![about(folder, "the folder has lost all its policies; what was in force stays")])
        }
        _ => Ok((set, found)),
    });
    match loaded {
        Ok((set, found)) => {
            let versions = versions_of(&set);
            let doubts =
                warnings::of_policies(set.policies(), Some(server.gateway.config()), Some(&server.keys.ring()));
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

#[cfg(test)]
mod tests {
    use super::*;

    /// What each look finds, and whether it is read then.
    #[track_caller]
    fn check(comes_to_rest: bool, looks: &[(u32, bool)]) {
        let mut state = Looks { seen: 0, read: 0, changed: 0, comes_to_rest };
        for (number, (now, expected)) in looks.iter().enumerate() {
            let found = state.finds(*now, false);
            assert_eq!(found, *expected, "look {number} at {looks:?}");
            if found {
                (state.read, state.changed) = (state.seen, 0);
            }
        }
    }

    #[test]
    fn what_changes_is_read_once_and_where_it_has_to_come_to_rest_at_the_second_look() {
        check(false, &[(0, false), (1, true), (1, false), (2, true)]);
        check(true, &[(0, false), (1, false), (1, true), (1, false), (2, false), (3, false), (3, true)]);
    }

    #[test]
    fn what_never_comes_to_rest_is_read_all_the_same() {
        let looks: Vec<_> = (1..=25).map(|now| (now, now % LOOKS_MAX == 0)).collect();
        check(true, &looks);
    }
}
