//! Whatever the moment of a crash, each attempt is there exactly once.

use std::path::PathBuf;

use proptest::prelude::*;

use super::*;
use crate::ledger::frame::{self, FRAME_BYTES_MAX};
use crate::ledger::journal::Position;
use crate::ledger::record::Fate;
use crate::ledger::replay::{self, Source};
use crate::ledger::schema::SCHEMA_VERSION;
use crate::ledger::segment::{HEADER_BYTES, Segment};
use crate::ledger::tables::Tables;

const ATTEMPTS: &str = "SELECT attempt_id, fate, cost_low_nano, cost_nano, cost_high_nano FROM attempts_v1";

fn journal_of(folder: &Path) -> PathBuf {
    let mut found: Vec<PathBuf> = folder
        .read_dir()
        .expect("the folder is there")
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.to_string_lossy().contains(".journal-"))
        .collect();
    found.sort();
    found.pop().expect("there is a journal")
}

#[test]
fn a_killed_attempt_is_interrupted_between_nothing_and_its_bound() {
    let (folder, ledger) = fresh();
    let (done, left) = (RequestId::new(), RequestId::new());
    append(&ledger, &[intent(attempt(done, 1)), outcome(attempt(done, 1), 7, Some(closing()))]);
    append(&ledger, &[intent(attempt(left, 1)), outcome(attempt(left, 1), 3, None), intent(attempt(left, 2))]);
    sync(&ledger);
    let copy = killed_copy(folder.path());
    let (again, recovered) = open(copy.path());
    assert_eq!((recovered.attempts_interrupted, recovered.requests_interrupted), (1, 1));
    check_rows(
        &again,
        "SELECT fate, source, cost_low_nano, cost_nano, cost_high_nano FROM attempts_v1 ORDER BY attempt_id",
        &["completed|reported|7|7|7", "completed|reported|3|3|3", "interrupted|unknown|0|-|1000"],
    );
    check_rows(
        &again,
        "SELECT status, cost_low_nano, cost_nano, cost_high_nano FROM requests_v1 ORDER BY request_id",
        &["ok|7|7|7", "interrupted|3|-|1003"],
    );
}

#[test]
fn a_clean_close_leaves_nothing_to_recover() {
    let (folder, ledger) = fresh();
    let id = RequestId::new();
    append(&ledger, &[intent(attempt(id, 1)), outcome(attempt(id, 1), 7, Some(closing()))]);
    ledger.close().expect("it closes");
    assert!(matches!(ledger.append(&closed(id)), Err(LedgerError::Closed)));
    drop(ledger);
    let (again, recovered) = open(folder.path());
    assert_eq!(recovered, Recovered::default());
    check_rows(&again, "SELECT cost_nano FROM attempts_v1", &["7"]);
}

#[test]
fn a_tail_torn_at_any_byte_is_dropped_and_reported() {
    let (folder, ledger) = fresh();
    let id = RequestId::new();
    ledger.close().expect("it closes");
    drop(ledger);
    let ledger = open(folder.path()).0;
    // Files as they are before the applier has seen anything, plus a journal that we cut.
    let before = killed_copy(folder.path());
    append(&ledger, &[intent(attempt(id, 1))]);
    let kept = journal_of(folder.path()).metadata().expect("it is there").len();
    append(&ledger, &[outcome(attempt(id, 1), 7, Some(closing()))]);
    let journal = std::fs::read(journal_of(folder.path())).expect("it reads");
    for length in kept..=journal.len() as u64 {
        let copy = killed_copy(before.path());
        std::fs::write(journal_of(copy.path()), &journal[..length as usize]).expect("it writes");
        let (again, recovered) = open(copy.path());
        let whole = length == journal.len() as u64;
        assert_eq!(recovered.records_replayed, if whole { 2 } else { 1 }, "cut at {length}");
        assert_eq!(recovered.torn_bytes, if whole { 0 } else { length - kept }, "cut at {length}");
        assert_eq!(recovered.attempts_interrupted, u64::from(!whole), "cut at {length}");
        let fate = if whole { "completed" } else { "interrupted" };
        check_rows(&again, "SELECT fate FROM attempts_v1", &[fate]);
    }
}

#[test]
fn a_second_owner_is_refused_until_the_first_is_gone() {
    let (folder, ledger) = fresh();
    check_refused(
        folder.path(),
        "ledger `DIR/farthing.db` is in use by another process (lock file `DIR/farthing.db.lock`)",
    );
    drop(ledger);
    open(folder.path());
}

#[test]
fn a_file_under_two_names_has_no_second_owner_under_the_other() {
    let (folder, ledger) = fresh();
    let other = tempfile::tempdir_in(folder.path()).expect("a folder");
    std::fs::hard_link(folder.path().join("farthing.db"), other.path().join("farthing.db")).expect("a link");
    let refusal = "ledger `DIR/farthing.db` is one file under 2 names (hard links), and another process could write it \
                   under another; wanted one name: remove the others, or put a copy in the place of this one";
    check_refused(other.path(), refusal);
    drop(ledger);
    check_refused(folder.path(), refusal);
    drop(other);
    open(folder.path());
}

#[test]
fn a_file_that_is_not_ours_is_refused_untouched() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("farthing.db");
    std::fs::write(&path, "dear diary, this is text and not a database at all").expect("it writes");
    check_refused(folder.path(), "`DIR/farthing.db` is not a farthing ledger: it is not an SQLite file");
    std::fs::remove_file(&path).expect("it goes");
    let foreign = Connection::open(&path).expect("it opens");
    foreign.execute_batch("CREATE TABLE bookmarks (url TEXT)").expect("it runs");
    drop(foreign);
    let bytes = std::fs::read(&path).expect("it reads");
    check_refused(
        folder.path(),
        "`DIR/farthing.db` is not a farthing ledger: it is an SQLite file of another application",
    );
    assert_eq!(std::fs::read(&path).expect("it reads"), bytes);
}

#[test]
fn a_ledger_of_a_later_version_is_refused() {
    let (folder, ledger) = fresh();
    drop(ledger);
    let connection = Connection::open(folder.path().join("farthing.db")).expect("it opens");
    let later = SCHEMA_VERSION + 1;
    connection.execute_batch(&format!("PRAGMA user_version = {later}")).expect("it runs");
    let told = format!(
        "ledger `DIR/farthing.db` has version {later} (of farthing 9.1.0), and this program reads up to {SCHEMA_VERSION}; \
         start the program that wrote it, or restore a backup from before the upgrade"
    );
    connection.execute_batch("UPDATE journal SET program = '9.1.0'").expect("it runs");
    check_refused(folder.path(), &told);
}

#[test]
fn another_ledgers_journal_is_refused_and_a_lone_database_opens_with_a_notice() {
    let (folder, ledger) = fresh();
    let (other, stranger) = fresh();
    let id = RequestId::new();
    append(&ledger, &[intent(attempt(id, 1)), outcome(attempt(id, 1), 7, Some(closing()))]);
    drop(ledger);
    drop(stranger);
    let journal = journal_of(folder.path());
    std::fs::copy(journal_of(other.path()), &journal).expect("it copies");
    check_refused(
        folder.path(),
        "journal `DIR/farthing.db.journal-000001` belongs to another ledger; move it away, or restore the database \
         it was written for",
    );
    std::fs::remove_file(journal).expect("it goes");
    let (again, recovered) = open(folder.path());
    assert!(recovered.journal_was_missing);
    check_rows(&again, "SELECT cost_nano FROM attempts_v1", &["7"]);
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Begin,
    End(u8),
    Apply,
    Kill,
    KillTorn(u8),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => Just(Step::Begin),
        6 => any::<u8>().prop_map(Step::End),
        2 => Just(Step::Apply),
        1 => Just(Step::Kill),
        1 => any::<u8>().prop_map(Step::KillTorn),
    ];
    proptest::collection::vec(step, 1..60)
}

/// What the ledger must show for one attempt.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Expected {
    id: AttemptId,
    cost: i64,
    fate: Option<Fate>,
}

/// Kills the owner: a copy of the files goes on, with `garbage` at the end of its journal.
fn kill(folder: &TempDir, ledger: &Ledger, garbage: &[u8]) -> (TempDir, Ledger) {
    // An idle applier cannot be overtaken by the copying; the journal tests above copy unapplied ones.
    sync(ledger);
    let copy = killed_copy(folder.path());
    let mut journal = std::fs::read(journal_of(copy.path())).expect("it reads");
    journal.extend_from_slice(garbage);
    std::fs::write(journal_of(copy.path()), journal).expect("it writes");
    let ledger = open(copy.path()).0;
    (copy, ledger)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn any_order_of_records_batches_and_crashes_keeps_each_attempt_once(steps in steps()) {
        let (mut folder, mut ledger) = fresh();
        let mut expected: Vec<Expected> = Vec::new();
        for (number, step) in steps.into_iter().enumerate() {
            match step {
                Step::Begin => {
                    let id = attempt(RequestId::new(), 1);
                    append(&ledger, &[intent(id)]);
                    expected.push(Expected { id, cost: 0, fate: None });
                }
                Step::End(which) => {
                    let open: Vec<usize> = (0..expected.len()).filter(|at| expected[*at].fate.is_none()).collect();
                    let Some(at) = open.get(usize::from(which) % open.len().max(1)) else { continue };
                    let ended = &mut expected[*at];
                    (ended.cost, ended.fate) = (number as i64, Some(Fate::Completed));
                    append(&ledger, &[outcome(ended.id, ended.cost, Some(closing()))]);
                }
                Step::Apply => sync(&ledger),
                Step::Kill | Step::KillTorn(_) => {
                    let garbage = match step { Step::KillTorn(bytes) => vec![0xa5; usize::from(bytes)], _ => vec![] };
                    (folder, ledger) = kill(&folder, &ledger, &garbage);
                    for attempt in expected.iter_mut().filter(|attempt| attempt.fate.is_none()) {
                        attempt.fate = Some(Fate::Interrupted);
                    }
                }
            }
        }
        sync(&ledger);
        let mut wanted: Vec<String> = expected.iter().map(|attempt| match attempt.fate {
            Some(Fate::Completed) => format!("{}|completed|{1}|{1}|{1}", attempt.id, attempt.cost),
            Some(_) => format!("{}|interrupted|0|-|1000", attempt.id),
            None => format!("{}|open|0|-|1000", attempt.id),
        }).collect();
        wanted.sort();
        let views = ledger.views().expect("the views open");
        prop_assert_eq!(rows(&views, &format!("{ATTEMPTS} ORDER BY attempt_id")), wanted);
        let sums = "SELECT coalesce(sum(cost_low_nano), 0), coalesce(sum(cost_high_nano), 0), count(*)";
        prop_assert_eq!(
            rows(&views, &format!("{sums} FROM requests_v1")),
            rows(&views, &format!("{sums} FROM attempts_v1"))
        );
        drop(folder);
    }

    #[test]
    fn any_applied_prefix_and_any_cut_of_the_journal_recover_to_the_same_rows(
        steps in proptest::collection::vec(any::<u8>(), 1..40),
        commits in proptest::collection::vec(any::<prop::sample::Index>(), 0..4),
        cut in any::<prop::sample::Index>(),
    ) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().canonicalize().expect("it is there").join("farthing.db");
        let mut tables = Tables::open(&path).expect("it opens");
        let number = tables.ledger_number().expect("it reads");
        let mut segment = Segment::create(&path, 1, number).expect("it is created");
        // Where each record ends, and what it was: an attempt's begin (`None`) or end (its cost).
        let mut told: Vec<(u64, AttemptId, Option<i64>)> = Vec::new();
        let mut open_attempts = Vec::new();
        for (place, step) in steps.iter().enumerate() {
            let (id, cost) = if step % 2 == 0 || open_attempts.is_empty() {
                (attempt(RequestId::new(), 1), None)
            } else {
                (open_attempts.swap_remove(usize::from(*step) % open_attempts.len()), Some(place as i64))
            };
            if cost.is_none() { open_attempts.push(id) }
            let record = cost.map_or_else(|| intent(id), |cost| outcome(id, cost, Some(closing())));
            let mut buffer = vec![0; FRAME_BYTES_MAX];
            let frame = frame::encode(&record, &mut buffer).expect("it fits");
            segment.append(std::iter::empty(), frame).expect("it writes");
            told.push((segment.length(), id, cost));
        }
        let mut applied = Position::start_of(1);
        let mut ends: Vec<u64> = commits.iter().map(|at| told[at.index(told.len())].0).collect();
        ends.sort_unstable();
        for end in ends {
            let source = Source { file: &segment.file(), path: &path, seal: segment.seal };
            replay::apply_stretch(&mut tables, source, &mut applied, end, &mut Vec::new()).expect("it applies");
        }
        drop(tables);
        let from = applied.offset.max(HEADER_BYTES);
        let length = from + cut.index((segment.length() - from + 1) as usize) as u64;
        segment.file().set_len(length).expect("it is cut");
        let (ledger, recovered) = open(folder.path());
        let kept: Vec<_> = told.iter().filter(|(end, ..)| *end <= length).collect();
        prop_assert_eq!(recovered.records_replayed, kept.iter().filter(|(end, ..)| *end > applied.offset).count() as u64);
        let mut wanted: Vec<String> = kept.iter().filter(|(_, _, cost)| cost.is_none()).map(|(_, id, _)| {
            let end = kept.iter().find_map(|(_, ended, cost)| (ended == id).then_some(*cost).flatten());
            end.map_or_else(
                || format!("{id}|interrupted|0|-|1000"),
                |cost| format!("{id}|completed|{cost}|{cost}|{cost}"),
            )
        }).collect();
        wanted.sort();
        let views = ledger.views().expect("the views open");
        prop_assert_eq!(rows(&views, &format!("{ATTEMPTS} ORDER BY attempt_id")), wanted);
    }
}
