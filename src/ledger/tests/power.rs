//! `durability: power`: who waits for the disk, how many share a sync, and what a failed one means.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};

use super::*;

fn power(folder: &Path) -> Ledger {
    let options = LedgerOptions { durability: Durability::Power, ..options(folder) };
    Ledger::open(&options).expect("the ledger opens").0
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

/// Waits for the disk to have everything so far.
async fn secured(ledger: &Ledger) -> Result<(), String> {
    ledger.secured().expect("the ledger must survive a power cut").wait().await.map_err(|error| error.to_string())
}

/// A disk that says when a sync begins, and ends it with what it is told.
struct SlowDisk {
    begun: mpsc::Receiver<()>,
    end: mpsc::Sender<std::io::Result<()>>,
    syncs: Arc<AtomicU64>,
}

impl SlowDisk {
    fn under(ledger: &Ledger) -> Self {
        let ((begin, begun), (end, ended)) = (mpsc::channel(), mpsc::channel());
        let syncs = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&syncs);
        ledger.journal.pretend_sync(move || {
            counted.fetch_add(1, Ordering::SeqCst);
            // Once the test has let go of it, it is as fast as any.
            let _ = begin.send(());
            ended.recv().unwrap_or(Ok(()))
        });
        Self { begun, end, syncs }
    }

    fn begun(&self) {
        self.begun.recv_timeout(Duration::from_secs(20)).expect("a sync begins");
    }

    fn end(&self, with: std::io::Result<()>) {
        self.end.send(with).expect("the disk waits");
    }

    /// Lets it be fast from now on; gives the count of its syncs.
    fn release(self) -> Arc<AtomicU64> {
        self.syncs
    }
}

fn failing(ledger: &Ledger) {
    ledger.journal.pretend_sync(|| Err(std::io::Error::other("the disk is on fire")));
}

#[test]
fn with_durability_process_nobody_waits_for_the_disk() {
    let (_folder, ledger) = fresh();
    append(&ledger, &[intent(attempt(RequestId::new(), 1))]);
    assert!(ledger.secured().is_none());
}

#[test]
fn what_is_secured_has_been_synced_after_it_was_appended() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let ledger = power(folder.path());
    runtime().block_on(async {
        for _ in 0..20 {
            let syncs = Arc::new(AtomicU64::new(0));
            let counted = Arc::clone(&syncs);
            append(&ledger, &[closed(RequestId::new())]);
            ledger.journal.pretend_sync(move || {
                counted.fetch_add(1, Ordering::SeqCst);
                Ok(())
            });
            secured(&ledger).await.expect("the disk takes it");
            assert!(syncs.load(Ordering::SeqCst) >= 1);
        }
        secured(&ledger).await.expect("nothing is new, and all of it is there");
    });
}

#[test]
fn all_who_come_during_a_sync_share_the_next_one() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let ledger = power(folder.path());
    let disk = SlowDisk::under(&ledger);
    runtime().block_on(async {
        append(&ledger, &[closed(RequestId::new())]);
        let first = ledger.secured().expect("power");
        disk.begun();
        let waiting: Vec<_> = (0..500)
            .map(|_| {
                append(&ledger, &[closed(RequestId::new())]);
                tokio::spawn(ledger.secured().expect("power").wait())
            })
            .collect();
        tokio::task::yield_now().await;
        assert!(waiting.iter().all(|waits| !waits.is_finished()), "nobody goes on before the disk has spoken");
        disk.end(Ok(()));
        first.wait().await.expect("the first sync was for the first");
        let syncs = disk.release();
        for waits in waiting {
            waits.await.expect("it ends well").expect("the disk takes it");
        }
        // The applier syncs for itself, now and then.
        let syncs = syncs.load(Ordering::SeqCst);
        assert!(syncs <= 8, "{syncs} syncs for 501 records");
    });
}

#[test]
fn a_thread_may_append_while_a_sync_runs() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let ledger = power(folder.path());
    let disk = SlowDisk::under(&ledger);
    append(&ledger, &[closed(RequestId::new())]);
    let waits = ledger.secured();
    disk.begun();
    append(&ledger, &[intent(attempt(RequestId::new(), 1))]);
    drop((waits, disk));
}

#[test]
fn a_failed_sync_is_final_for_its_records_and_the_next_segment_begins_anew() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let ledger = power(folder.path());
    let id = attempt(RequestId::new(), 1);
    runtime().block_on(async {
        append(&ledger, &[intent(id)]);
        secured(&ledger).await.expect("the disk takes it");
        failing(&ledger);
        append(&ledger, &[outcome(id, 7, Some(closing()))]);
        let (one, other) = (ledger.secured().expect("power"), ledger.secured().expect("power"));
        let told = "the ledger cannot write its journal: a sync failed: ";
        assert!(one.wait().await.expect_err("it failed").to_string().starts_with(told));
        // The disk recovers, as the system tells it: what it dropped is still not there.
        ledger.journal.pretend_sync(|| Ok(()));
        assert!(other.wait().await.is_err());
        sync(&ledger);
        append(&ledger, &[intent(attempt(RequestId::new(), 1))]);
        secured(&ledger).await.expect("it stands in another segment");
    });
    assert!(ledger.healthy());
    check_rows(&ledger, "SELECT fate FROM attempts_v1 ORDER BY attempt_id", &["completed", "open"]);
    let segments = crate::ledger::segment::list(&folder.path().join("farthing.db")).expect("the folder lists");
    assert_eq!(segments, [2]);
}

#[test]
fn no_second_sync_of_a_segment_succeeds_after_a_failed_one() {
    let (_folder, ledger) = fresh();
    append(&ledger, &[closed(RequestId::new())]);
    let stretch = ledger.journal.stretches().pop().expect("there is a segment");
    failing(&ledger);
    assert!(ledger.journal.sync(&stretch).is_err());
    ledger.journal.pretend_sync(|| Ok(()));
    if ledger.journal.stretches().iter().any(|still| still.end.segment == stretch.end.segment) {
        assert!(ledger.journal.sync(&stretch).is_err());
    }
    sync(&ledger);
    check_rows(&ledger, "SELECT count(*) FROM requests_v1", &["1"]);
}

#[test]
fn while_no_segment_can_be_trusted_intents_are_refused_and_outcomes_kept() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let ledger = power(folder.path());
    // A folder where the next segment would be: none can be begun.
    let blocked = crate::ledger::segment::path_of(&folder.path().join("farthing.db"), 2);
    std::fs::create_dir(&blocked).expect("a folder");
    let id = attempt(RequestId::new(), 1);
    runtime().block_on(async {
        append(&ledger, &[intent(id)]);
        failing(&ledger);
        secured(&ledger).await.expect_err("the disk is on fire");
    });
    assert!(!ledger.healthy());
    let refused = ledger.append(&intent(attempt(RequestId::new(), 1))).expect_err("nothing may leave");
    assert_eq!(refused.to_string(), "the ledger cannot write its journal: a sync failed");
    append(&ledger, &[outcome(id, 7, Some(closing()))]);
    std::fs::remove_dir(&blocked).expect("it goes");
    ledger.journal.pretend_sync(|| Ok(()));
    check_rows(&ledger, "SELECT fate, cost_nano FROM attempts_v1", &["completed|7"]);
    while !ledger.healthy() {
        std::thread::yield_now();
    }
    append(&ledger, &[intent(attempt(RequestId::new(), 1))]);
}

#[test]
fn what_the_disk_has_not_even_been_given_is_not_secured() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let ledger = power(folder.path());
    let id = attempt(RequestId::new(), 1);
    append(&ledger, &[intent(id)]);
    ledger.journal.with_segment(|segment| segment.room = Some(0));
    append(&ledger, &[outcome(id, 7, Some(closing()))]);
    let told = "the ledger cannot write its journal: the disk refused the last records";
    assert_eq!(runtime().block_on(secured(&ledger)), Err(told.to_owned()));
    ledger.journal.with_segment(|segment| segment.room = None);
    check_rows(&ledger, "SELECT fate, cost_nano FROM attempts_v1", &["completed|7"]);
    assert_eq!(runtime().block_on(secured(&ledger)), Ok(()));
}

#[test]
fn a_disk_that_does_not_answer_is_waited_for_within_a_bound() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let ledger = power(folder.path());
    let disk = SlowDisk::under(&ledger);
    append(&ledger, &[closed(RequestId::new())]);
    let waits = ledger.secured().expect("power");
    let refused = runtime().block_on(waits.within(Duration::from_millis(50))).expect_err("the disk says nothing");
    assert_eq!(
        refused.to_string(),
        "the ledger cannot write its journal: the disk has not taken the record within 50ms"
    );
    drop(disk);
}

#[test]
fn closing_secures_what_was_appended() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let ledger = power(folder.path());
    append(&ledger, &[closed(RequestId::new())]);
    let waits = ledger.secured().expect("power");
    ledger.close().expect("it closes");
    runtime().block_on(waits.wait()).expect("it was synced on the way");
}
