//! A Postgres that takes connections and does not answer, and one in which somebody holds a lock.

use std::net::TcpListener;
use std::path::Path;
use std::time::{Duration, Instant};

use farthing::ledger::Ledger;
use farthing::ledger::mirror::Standing;

use crate::mirror::{end, fresh, options, settled, spend, target};
use crate::support::PATIENCE;
use crate::support::postgres::{Gate, database};

/// What a step may take here.
const IMPATIENCE: Duration = Duration::from_millis(400);

fn open_impatiently(folder: &Path, url: &str) -> Ledger {
    let ledger = Ledger::open(&options(folder)).expect("the ledger opens").0;
    ledger.mirror_to(Some(target(url).with_patience(IMPATIENCE))).expect("a feeder");
    ledger
}

/// Waits until the mirror is behind by `rows` at least, for a reason that has one of the words in it.
#[track_caller]
fn behind(ledger: &Ledger, rows: u64, words: &[&str]) -> Standing {
    let since = Instant::now();
    loop {
        let standing = ledger.mirror().expect("a mirror");
        let has_words = standing.failure.as_ref().is_some_and(|told| words.iter().any(|word| told.contains(word)));
        if has_words && standing.rows >= rows {
            assert!(standing.since.is_some());
            return standing;
        }
        assert!(since.elapsed() < PATIENCE, "{standing:?}");
        std::thread::yield_now();
    }
}

#[test]
fn a_postgres_that_accepts_and_never_answers_is_given_up_and_fed_once_it_does() {
    let Some(database) = database() else { return };
    let (folder, ledger) = fresh(&database.url());
    let path = folder.path().join("farthing.db");
    spend(&ledger, "ann", 100);
    settled(&path, &database.url(), 1);
    end(ledger);
    // The kernel takes what comes in; nobody reads it.
    let silent = TcpListener::bind("127.0.0.1:0").and_then(|silent| Ok((silent.local_addr()?.port(), silent)));
    let (port, _silent) = silent.expect("a free port");
    let gate = Gate::new();
    gate.open(port);
    let ledger = open_impatiently(folder.path(), &database.url_at("127.0.0.1", gate.port, "sslmode=disable"));
    spend(&ledger, "ann", 100);
    behind(&ledger, 1, &["no answer within 400ms"]);
    gate.shut();
    gate.open(database.postgres.port);
    settled(&path, &database.url(), 2);
}

#[test]
fn a_lock_on_the_mirrors_table_is_waited_for_within_bounds_and_nothing_is_lost_or_twice() {
    let Some(database) = database() else { return };
    let url = database.url();
    let (folder, ledger) = fresh(&url);
    let path = folder.path().join("farthing.db");
    spend(&ledger, "ann", 100);
    settled(&path, &url, 1);
    end(ledger);
    let lock = database.lock("LOCK TABLE farthing.requests IN SHARE MODE");
    let ledger = open_impatiently(folder.path(), &url);
    spend(&ledger, "ann", 100);
    spend(&ledger, "bob", 100);
    behind(&ledger, 2, &["lock timeout", "no answer within"]);
    drop(lock);
    settled(&path, &url, 3);
}
