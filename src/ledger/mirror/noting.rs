//! Notes of what the ledger's own thread puts in and changes: a few for a batch, where a trigger writes one for each row.
//!
//! While `by_batch` is set in `mirror_feed` the trigger on changed requests keeps silent. It is set and taken back within the
//! transaction of the batch, so that nobody else ever sees it: what other hands change is noted row by row.

use rusqlite::{Connection, params};

use super::sides::BATCH;
use crate::ids::RequestId;

/// Most requests that one note names: those of a few of them are sent together.
const NOTED_MAX: usize = 250;

/// Whether there is a list of changes that knows of batches. One of an earlier version does not, and its triggers go on.
const KNOWN: &str =
    "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = 'mirror_feed' AND instr(sql, 'by_batch') > 0)";

/// Fewest records of a batch that the trigger is kept silent for: a few notes twice cost less than two changes of `by_batch`.
const RECORDS_MIN: u64 = 16;

const SET: &str = "UPDATE mirror_feed SET by_batch = ?1";

/// A note's number is that of its last change, as if each had one of its own.
const NOTE: &str = "INSERT INTO mirror_notes (seq, kind, id)
    VALUES ((SELECT ifnull(max(seq), 0) FROM mirror_notes) + ?1, ?2, ?3)";

/// Whether what follows in this transaction is to be noted by [`note`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::ledger) enum Noting {
    /// There is no mirror, or triggers note it.
    Not,
    /// It is. Of changes a trigger may have notes of its own, which say the same.
    Besides,
    /// It is, and triggers keep silent.
    ByBatch,
}

impl Noting {
    /// Asks for it at the beginning of the transaction of a batch of so many records.
    pub(in crate::ledger) fn begin(connection: &Connection, records: u64) -> rusqlite::Result<Self> {
        if !connection.prepare_cached(KNOWN)?.query_row([], |row| row.get::<_, bool>(0))? {
            return Ok(Self::Not);
        }
        if records < RECORDS_MIN {
            return Ok(Self::Besides);
        }
        connection.prepare_cached(SET)?.execute([true])?;
        Ok(Self::ByBatch)
    }

    /// Notes at its end which requests changed.
    pub(in crate::ledger) fn end(
        self,
        connection: &Connection,
        changed: impl FnOnce() -> Vec<RequestId>,
    ) -> rusqlite::Result<()> {
        if self == Self::Not {
            return Ok(());
        }
        let mut note = connection.prepare_cached(NOTE)?;
        for ids in changed().chunks(NOTED_MAX) {
            note.execute(params![i64::try_from(ids.len()).unwrap_or(0), BATCH, listed(ids)])?;
        }
        if self == Self::ByBatch {
            connection.prepare_cached(SET)?.execute([false])?;
        }
        Ok(())
    }
}

/// As a JSON array of texts, the oldest first.
fn listed(ids: &[RequestId]) -> String {
    let mut text = String::with_capacity(ids.len() * (uuid::fmt::Hyphenated::LENGTH + 3) + 2);
    let mut buffer = [0; uuid::fmt::Hyphenated::LENGTH];
    text.push('[');
    for id in ids {
        text.push_str(if text.len() == 1 { "\"" } else { ",\"" });
        text.push_str(id.0.as_hyphenated().encode_lower(&mut buffer));
        text.push('"');
    }
    text.push(']');
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::batch::Batch;
    use crate::ledger::journal::Position;
    use crate::ledger::mirror::outbox::Outbox;
    use crate::ledger::tables::Tables;
    use crate::ledger::tests::{attempt, closing, intent, outcome};

    #[test]
    fn what_one_batch_changes_is_few_notes_and_what_a_hand_changes_one_each() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("farthing.db");
        let mut tables = Tables::open(&path).expect("it opens");
        let mut outbox = Outbox::open(&path).expect("a list");
        let ids: Vec<RequestId> = (0..600).map(|_| RequestId::new()).collect();
        let (mut begun, mut ended) = (Batch::default(), Batch::default());
        ids.iter().for_each(|id| begun.add(intent(attempt(*id, 1))));
        ids.iter().take(16).for_each(|id| ended.add(outcome(attempt(*id, 1), 7, Some(closing()))));
        for (batch, offset) in [(begun, 1), (ended, 2)] {
            tables.apply(batch, Position { segment: 1, offset }).expect("it applies");
        }
        let hand = Connection::open(&path).expect("it opens");
        let touch = "UPDATE requests SET status = status WHERE request_id = ?1";
        assert_eq!(hand.execute(touch, [ids[9].to_string()]), Ok(1));
        let notes = || -> Vec<(i64, i64, i64)> {
            let sql = "SELECT seq, kind, iif(kind = 4, json_array_length(id), 1) FROM mirror_notes ORDER BY seq";
            let columns = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
            hand.prepare(sql).and_then(|mut all| all.query_map([], columns)?.collect()).expect("notes")
        };
        assert_eq!(notes(), [(250, 4, 250), (500, 4, 250), (600, 4, 100), (616, 4, 16), (617, 0, 1)]);
        assert_eq!(outbox.waiting().expect("it reads").changes, 617, "as many as if each had its own");
        let mut sorted: Vec<String> = ids.iter().map(ToString::to_string).collect();
        sorted.sort_unstable();
        let sent = outbox.changes().expect("it reads").expect("changes");
        assert_eq!((sent.seq, sent.rows), (Some(617), 1_200));
        assert_eq!(sent.ids, sorted, "each once");
        outbox.ack(617).expect("it is noted");
        assert!(outbox.changes().expect("it reads").is_none());
    }
}
