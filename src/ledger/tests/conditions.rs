//! What a start meets on a disk: files that are gone, damaged, in the way or not to be written.

use super::*;
use crate::ledger::batch::Batch;
use crate::ledger::journal::Position;
use crate::ledger::segment::{self, beside};
use crate::ledger::tables::Tables;

fn database(folder: &Path) -> std::path::PathBuf {
    folder.join("farthing.db")
}

/// A ledger of so many requests, closed well.
fn filled(requests: usize) -> TempDir {
    let (folder, ledger) = fresh();
    for _ in 0..requests {
        let id = attempt(RequestId::new(), 1);
        append(&ledger, &[intent(id), outcome(id, 7, Some(closing()))]);
    }
    ledger.close().expect("it closes");
    folder
}

#[test]
fn no_new_database_is_begun_beside_a_journal_whose_database_is_gone() {
    let folder = filled(1);
    std::fs::remove_file(database(folder.path())).expect("it goes");
    for leave in [None, Some("")] {
        if let Some(empty) = leave {
            std::fs::write(database(folder.path()), empty).expect("it writes");
        }
        check_refused(
            folder.path(),
            "ledger `DIR/farthing.db` is gone and `DIR/farthing.db.journal-000001` is still there; restore the \
             database, or move that file away to begin anew",
        );
    }
    std::fs::remove_file(segment::path_of(&database(folder.path()), 1)).expect("it goes");
    open(folder.path());
}

#[test]
fn a_write_ahead_log_whose_database_is_gone_is_kept() {
    let (folder, ledger) = fresh();
    append(&ledger, &[closed(RequestId::new())]);
    sync(&ledger);
    let copy = killed_copy(folder.path());
    std::fs::remove_file(database(copy.path())).expect("it goes");
    std::fs::remove_file(segment::path_of(&database(copy.path()), 1)).expect("it goes");
    check_refused(
        copy.path(),
        "ledger `DIR/farthing.db` is gone and `DIR/farthing.db-wal` is still there; restore the database, or move \
         that file away to begin anew",
    );
    assert!(beside(&database(copy.path()), "-wal").exists());
}

#[test]
fn a_write_ahead_log_that_a_kill_left_is_read() {
    let (folder, ledger) = fresh();
    append(&ledger, &[closed(RequestId::new())]);
    sync(&ledger);
    let copy = killed_copy(folder.path());
    assert!(beside(&database(copy.path()), "-wal").metadata().expect("it is there").len() > 0);
    let (again, _) = open(copy.path());
    check_rows(&again, "SELECT count(*) FROM requests_v1", &["1"]);
}

#[test]
fn a_closed_ledger_is_read_where_nothing_may_be_written_beside_it_and_an_open_one_is_not() {
    let folder = filled(3);
    let path = database(folder.path());
    // What SQLite shares a file by cannot be made, whoever asks.
    std::os::unix::fs::symlink("no/where", beside(&path, "-shm")).expect("a link");
    let count = |views: Connection| views.query_row("SELECT count(*) FROM requests_v1", [], |row| row.get(0));
    assert_eq!(crate::ledger::open_views(&path).map(count).expect("it opens"), Ok(3));
    let told = || crate::ledger::open_views(&path).expect_err("it may not").to_string();
    let lock = crate::ledger::lock(&path).expect("nobody has it");
    assert!(
        told().contains("is in use or was not closed") && told().contains("`farthing ledger backup`"),
        "{}",
        told()
    );
    drop(lock);
    std::fs::write(beside(&path, "-wal"), "changes").expect("it writes");
    assert!(told().contains("is in use or was not closed"), "{}", told());
}

#[test]
fn a_folder_is_no_ledger_to_whoever_reads_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let told = crate::ledger::open_views(folder.path()).expect_err("it is none").to_string();
    assert!(told.ends_with("is not a farthing ledger: it is a folder; wanted a file"), "{told}");
}

/// Damages a database at `places`, and checks that whoever opens or uses it is told so.
#[track_caller]
fn check_damage(places: impl Fn(usize) -> std::ops::Range<usize>) {
    let folder = filled(400);
    let mut bytes = std::fs::read(database(folder.path())).expect("it reads");
    let damaged = places(bytes.len());
    bytes[damaged].fill(0xa5);
    std::fs::write(database(folder.path()), &bytes).expect("it writes");
    let told = Ledger::open(&options(folder.path())).expect_err("it is damaged").to_string();
    assert!(told.starts_with("the ledger's database is damaged (") && told.ends_with("restore a backup"), "{told}");
}

#[test]
fn a_damaged_database_is_noticed_at_the_start() {
    check_damage(|length| length - 8192..length);
    check_damage(|_| 8192..8192 * 9);
    check_damage(|length| 8192..length);
}

#[test]
fn a_database_that_was_cut_is_noticed_at_the_start() {
    let folder = filled(400);
    let file = std::fs::OpenOptions::new().write(true).open(database(folder.path())).expect("it opens");
    file.set_len(8192 * 6).expect("it is cut");
    let told = Ledger::open(&options(folder.path())).expect_err("it is cut").to_string();
    assert!(told.starts_with("the ledger's database is damaged ("), "{told}");
}

#[test]
fn damage_that_a_start_does_not_meet_never_stops_the_process() {
    let folder = filled(3_000);
    let whole = std::fs::read(database(folder.path())).expect("it reads");
    for page in (1..whole.len() / 8192).step_by(17) {
        let mut bytes = whole.clone();
        bytes[page * 8192..(page + 1) * 8192].fill(0x5a);
        std::fs::write(database(folder.path()), &bytes).expect("it writes");
        let Ok((ledger, _)) = Ledger::open(&options(folder.path())) else { continue };
        let id = attempt(RequestId::new(), 1);
        append(&ledger, &[intent(id), outcome(id, 7, Some(closing()))]);
        if ledger.sync_views(Duration::from_secs(20)).is_err() {
            assert!(ledger.failure().is_some_and(|told| told.contains("damaged")), "{:?}", ledger.failure());
        }
        drop(ledger);
        for left in segment::list(&database(folder.path())).expect("the folder lists") {
            std::fs::remove_file(segment::path_of(&database(folder.path()), left)).expect("it goes");
        }
        for ending in ["-wal", "-shm"] {
            let _ = std::fs::remove_file(beside(&database(folder.path()), ending));
        }
    }
}

#[test]
fn tables_on_a_full_disk_keep_their_place_and_go_on_later() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut tables = Tables::open(&database(folder.path())).expect("it opens");
    let batch = || {
        let mut batch = Batch::default();
        for number in 0..2_000_u128 {
            let id = RequestId(uuid::Uuid::from_u128((0x0199 << 112) + (7 << 76) + (8 << 60) + number));
            batch.add(intent(attempt(id, 1)));
        }
        batch
    };
    let position = Position { segment: 1, offset: 99 };
    tables.limit_pages(40);
    let full = tables.apply(batch(), position).expect_err("the disk is full").to_string();
    assert_eq!(
        (full.as_str(), tables.position().expect("it reads")),
        ("database or disk is full", Position::default())
    );
    tables.limit_pages(1_000_000);
    tables.apply(batch(), position).expect("there is room again");
    assert_eq!(tables.position().expect("it reads"), position);
}

#[test]
fn a_segment_that_cannot_be_begun_leaves_the_one_before_in_use() {
    let (folder, ledger) = fresh();
    let next = segment::path_of(&database(folder.path()), 2);
    std::fs::create_dir(&next).expect("a folder");
    ledger.journal.limit_segments(200);
    append(&ledger, &[closed(RequestId::new())]);
    sync(&ledger);
    append(&ledger, &[closed(RequestId::new())]);
    sync(&ledger);
    assert!(ledger.healthy());
    let failure = ledger.failure().expect("it is told");
    assert!(failure.contains("farthing.db.journal-000002`: Is a directory"), "{failure}");
    std::fs::remove_dir(&next).expect("it goes");
    append(&ledger, &[closed(RequestId::new())]);
    check_rows(&ledger, "SELECT count(*) FROM requests_v1", &["3"]);
    while ledger.failure().is_some() {
        append(&ledger, &[closed(RequestId::new())]);
        sync(&ledger);
    }
}
