//! Holes in the journal: what a power cut leaves of pages that were not synced, and what only damage can do.

use std::path::PathBuf;

use super::*;
use crate::ledger::frame::{self, FRAME_BYTES_MAX};
use crate::ledger::journal::Position;
use crate::ledger::open_views;
use crate::ledger::salvage::salvage;
use crate::ledger::segment::{self, HEADER_BYTES, Segment};
use crate::ledger::tables::Tables;
use crate::ledger::verify::verify;

fn database(folder: &Path) -> PathBuf {
    folder.join("farthing.db")
}

/// A ledger's files with one segment that nobody has applied, whose frames and marks a test decides on.
struct Written {
    folder: TempDir,
    segments: Vec<Segment>,
    number: i64,
}

impl Written {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let number = Tables::open(&database(folder.path())).and_then(|tables| tables.ledger_number());
        let mut written = Self { folder, segments: Vec::new(), number: number.expect("it opens") };
        written.begin_segment();
        written
    }

    fn begin_segment(&mut self) {
        let next = self.segments.len() as u32 + 1;
        self.segments.push(Segment::create(&database(self.folder.path()), next, self.number).expect("it is created"));
    }

    /// Appends an attempt's whole life, behind a mark if one is given; where it starts.
    fn append(&mut self, cost: i64, mark: Option<Position>) -> u64 {
        let id = attempt(RequestId::new(), 1);
        let segment = self.segments.last_mut().expect("there is one");
        let start = segment.length();
        let mut buffer = vec![0; FRAME_BYTES_MAX];
        for (record, mark) in [(intent(id), mark), (outcome(id, cost, Some(closing())), None)] {
            let frame = frame::encode(&record, &mut buffer).expect("it fits");
            segment.append(mark.into_iter(), frame).expect("it writes");
        }
        start
    }

    /// Overwrites bytes of a segment with zeros, as a page that never reached the disk reads.
    fn lose(&self, segment: u32, bytes: std::ops::Range<u64>) {
        let path = segment::path_of(&database(self.folder.path()), segment);
        let mut journal = std::fs::read(&path).expect("it reads");
        journal[bytes.start as usize..bytes.end as usize].fill(0);
        std::fs::write(path, journal).expect("it writes");
    }

    fn at(&self, offset: u64) -> Option<Position> {
        Some(Position { segment: 1, offset })
    }
}

const COSTS: &str = "SELECT cost_nano FROM attempts_v1 ORDER BY cost_nano";

#[test]
fn a_hole_that_was_not_synced_is_skipped_and_told() {
    let mut written = Written::new();
    written.append(1, None);
    let second = written.append(2, None);
    let third = written.append(3, written.at(second));
    written.append(4, None);
    written.lose(1, second + 5..second + 60);
    let seen = verify(&database(written.folder.path()), &mut |_| {}).expect("it looks");
    // The outcome of the second attempt stands behind the hole and is whole.
    assert_eq!((seen.found, seen.journal.records), (1, 7), "{seen:?}");
    assert!(seen.findings[0].what.contains("are lost, which had not been synced"), "{seen:?}");
    let (ledger, recovered) = open(written.folder.path());
    assert_eq!((recovered.records_replayed, recovered.lost_places, recovered.torn_bytes), (7, 1, 0));
    assert!((60..third - second).contains(&recovered.lost_bytes), "{recovered:?}");
    check_rows(&ledger, COSTS, &["1", "2", "3", "4"]);
}

#[test]
fn damage_in_what_was_synced_is_refused_and_changes_nothing() {
    let mut written = Written::new();
    written.append(1, None);
    let second = written.append(2, None);
    written.append(3, written.at(second + 1));
    written.lose(1, second + 5..second + 60);
    for _ in 0..2 {
        check_refused(
            written.folder.path(),
            &format!(
                "journal `DIR/farthing.db.journal-000001` is damaged at byte {second} (a damaged frame, with whole ones \
                 behind it), and had been on the disk; restore the file, or run `farthing ledger salvage` to go on with \
                 every record of it that can be read"
            ),
        );
    }
}

#[test]
fn salvaging_applies_what_can_be_read_and_keeps_the_files() {
    let mut written = Written::new();
    written.append(1, None);
    let second = written.append(2, None);
    let third = written.append(3, written.at(second + 1));
    written.begin_segment();
    written.append(4, None);
    written.lose(1, second..third);
    let database = database(written.folder.path());
    let damaged = std::fs::read(&written.segments[0].path).expect("it reads");
    let done = salvage(&database).expect("it goes on");
    assert_eq!((done.records_replayed, done.lost_places, done.lost_bytes), (6, 1, third - second));
    assert_eq!(std::fs::read(segment::beside(&database, ".salvaged-000001")).expect("it is kept"), damaged);
    check_rows(&open(written.folder.path()).0, COSTS, &["1", "3", "4"]);
}

#[test]
fn salvaging_goes_on_over_a_lost_header_and_a_lost_segment() {
    let mut written = Written::new();
    written.append(1, None);
    for cost in 2..=3 {
        written.begin_segment();
        written.append(cost, None);
    }
    written.lose(1, 0..20);
    std::fs::remove_file(&written.segments[1].path).expect("it goes");
    Ledger::open(&options(written.folder.path())).expect_err("it is damaged");
    // A reader is in the way of the checkpoint, and the files are kept nevertheless.
    let reader = open_views(&database(written.folder.path())).expect("the views open");
    reader.execute_batch("BEGIN; SELECT count(*) FROM requests_v1;").expect("it reads");
    let done = salvage(&database(written.folder.path())).expect("it goes on");
    assert_eq!((done.records_replayed, done.lost_places), (4, 1));
    assert!(segment::beside(&database(written.folder.path()), ".salvaged-000003").exists());
    drop(reader);
    check_rows(&open(written.folder.path()).0, COSTS, &["1", "3"]);
}

#[test]
fn a_hole_between_marks_is_judged_by_the_last_mark_behind_it() {
    let mut written = Written::new();
    let first = written.append(1, None);
    let second = written.append(2, written.at(first));
    let third = written.append(3, None);
    written.append(4, written.at(third));
    written.lose(1, third + 5..third + 60);
    assert_eq!(open(written.folder.path()).1.lost_places, 1);
    let mut written = Written::new();
    written.append(1, None);
    written.append(2, None);
    written.append(3, None);
    written.append(4, written.at(third));
    written.lose(1, second + 5..second + 60);
    Ledger::open(&options(written.folder.path())).expect_err("it had been synced");
}

#[test]
fn the_end_of_a_segment_may_be_lost_though_a_later_one_was_begun() {
    for (marked, lost) in [(false, true), (true, false)] {
        let mut written = Written::new();
        written.append(1, None);
        let second = written.append(2, None);
        let end = written.segments[0].length();
        written.begin_segment();
        written.append(3, marked.then_some(Position { segment: 1, offset: end }));
        written.lose(1, second..end);
        let opened = Ledger::open(&options(written.folder.path()));
        assert_eq!(opened.is_ok(), lost, "{opened:?}");
        let Ok((ledger, recovered)) = opened else { continue };
        assert_eq!((recovered.lost_places, recovered.lost_bytes), (1, end - second));
        check_rows(&ledger, COSTS, &["1", "3"]);
    }
}

#[test]
fn bytes_in_a_clients_text_are_no_record() {
    let mut written = Written::new();
    let forged = {
        let mut buffer = vec![0; FRAME_BYTES_MAX];
        frame::encode(&closed(RequestId::new()), &mut buffer).expect("it fits").to_vec()
    };
    let start = written.append(1, None);
    let bytes = [vec![0x41; 40], forged.clone(), vec![0x42; 40], forged].concat();
    std::fs::write(segment::path_of(&database(written.folder.path()), 1), {
        let mut journal = std::fs::read(&written.segments[0].path).expect("it reads");
        journal.extend(bytes);
        journal
    })
    .expect("it writes");
    let (ledger, recovered) = open(written.folder.path());
    assert_eq!((recovered.records_replayed, recovered.lost_places), (2, 0));
    assert!(recovered.torn_bytes > 0 && start == HEADER_BYTES);
    check_rows(&ledger, COSTS, &["1"]);
}

#[test]
fn a_running_ledger_marks_what_it_has_synced() {
    let (folder, ledger) = fresh();
    // Tables that know of nothing: only the marks say what had been synced.
    let before = killed_copy(folder.path());
    for _ in 0..3 {
        append(&ledger, &[closed(RequestId::new())]);
        sync(&ledger);
    }
    let mut journal = std::fs::read(segment::path_of(&database(folder.path()), 1)).expect("it reads");
    drop(ledger);
    journal[HEADER_BYTES as usize + 12] ^= 1;
    std::fs::write(segment::path_of(&database(before.path()), 1), journal).expect("it writes");
    let refused = Ledger::open(&options(before.path())).expect_err("it had been synced").to_string();
    assert!(refused.contains("is damaged at byte 32") && refused.contains("had been on the disk"), "{refused}");
}

#[test]
fn what_a_lost_write_ahead_log_had_is_in_the_journal_or_in_the_database() {
    let (folder, ledger) = fresh();
    ledger.journal.limit_segments(2_000);
    let mut appended = 0;
    // Through several segments, with a reader that never lets the log be emptied.
    let reader = ledger.views().expect("the views open");
    for round in 0..12 {
        for _ in 0..5 {
            append(&ledger, &[closed(RequestId::new())]);
            appended += 1;
        }
        sync(&ledger);
        if round == 5 {
            reader.execute_batch("BEGIN; SELECT count(*) FROM requests_v1;").expect("it reads");
        }
        let copy = killed_copy(folder.path());
        for ending in ["-wal", "-shm"] {
            let _ = std::fs::remove_file(segment::beside(&database(copy.path()), ending));
        }
        let (again, _) = open(copy.path());
        check_rows(&again, "SELECT count(*) FROM requests_v1", &[&appended.to_string()]);
    }
}

#[test]
fn what_a_start_replayed_outlives_its_write_ahead_log() {
    let mut written = Written::new();
    written.append(1, None);
    let (ledger, _) = open(written.folder.path());
    let copy = killed_copy(written.folder.path());
    drop(ledger);
    for ending in ["-wal", "-shm"] {
        let _ = std::fs::remove_file(segment::beside(&database(copy.path()), ending));
    }
    check_rows(&open(copy.path()).0, COSTS, &["1"]);
}
