//! The thread that brings the tables up to date with the journal.
//!
//! It sleeps while nothing is appended; the first record of a quiet time wakes it, and it then gathers
//! for [`GATHER`] before it syncs the journal and applies what came. It also starts new segments and
//! deletes the applied ones. A round that fails is reported and tried again.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::ledger::error::{LedgerError, database_error, file_error};
use crate::ledger::journal::{Call, Journal, Position, Stretch};
use crate::ledger::replay::{self, Source};
use crate::ledger::segment::Segment;
use crate::ledger::tables::Tables;

/// How long records gather before a round: bounds both the views' delay and what a power cut can take.
const GATHER: Duration = Duration::from_millis(100);

/// The applier's own state.
pub(super) struct Applier {
    pub(super) journal: Arc<Journal>,
    pub(super) tables: Tables,
    pub(super) database: PathBuf,
    pub(super) ledger: i64,
    pub(super) position: Position,
    pub(super) buffer: Vec<u8>,
    /// Applied segments that the database file does not have yet.
    pub(super) passed: Vec<PathBuf>,
}

impl Applier {
    /// Runs until the journal is closed and everything in it is applied; says what went wrong at the end.
    pub(super) fn run(mut self) -> Result<(), LedgerError> {
        loop {
            let call = self.journal.wait_for_work(GATHER);
            let result = self.round();
            self.journal.end_round(self.position, result.as_ref().err().map(LedgerError::to_string));
            if call == Call::Finish {
                result?;
                return self.tables.checkpoint().map_err(database_error("checkpoint"));
            }
        }
    }

    /// A new segment is begun even while the tables take nothing: the journal must stay fit to be written.
    fn round(&mut self) -> Result<(), LedgerError> {
        let applied = self.journal.begin_round().iter().try_for_each(|stretch| self.apply(stretch));
        if let Some(number) = self.journal.segment_due() {
            self.journal.enter_segment(Segment::create(&self.database, number, self.ledger)?);
        }
        applied
    }

    /// The sync comes first, so that the tables never know more than the journal after a power cut. A
    /// segment whose sync has failed is applied without one: the tables are the way of its records to the disk.
    fn apply(&mut self, stretch: &Stretch) -> Result<(), LedgerError> {
        if self.position < stretch.end {
            if stretch.trusted {
                self.journal.sync(stretch).map_err(file_error("sync", &stretch.path))?;
            }
            let (position, end) = (&mut self.position, stretch.end.offset);
            let (tables, buffer) = (&mut self.tables, &mut self.buffer);
            let source = Source { file: &stretch.file, path: &stretch.path, seal: stretch.seal };
            let replayed = replay::apply_stretch(tables, source, position, end, buffer)?;
            if replayed.rest_bytes > 0 {
                let (path, offset) = (stretch.path.clone(), self.position.offset);
                return Err(LedgerError::Unreadable { path, offset, found: "a damaged frame" });
            }
        }
        if stretch.full && self.position == stretch.end {
            let next = Position::start_of(stretch.end.segment + 1);
            self.tables.enter_segment(next).map_err(database_error("write"))?;
            self.position = next;
            self.passed.push(stretch.path.clone());
            self.delete_passed()?;
        }
        Ok(())
    }

    /// A write-ahead log can be lost; so segments go once the database file has them, and stay for the next time
    /// where a reader is in the way of that.
    fn delete_passed(&mut self) -> Result<(), LedgerError> {
        if self.tables.checkpoint_if_free().map_err(database_error("checkpoint"))? {
            for path in self.passed.drain(..) {
                std::fs::remove_file(&path).map_err(file_error("delete", &path))?;
            }
        }
        Ok(())
    }
}
