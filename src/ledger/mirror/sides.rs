//! What a mirror has besides requests and attempts: statements with their lines, what re-rating booked, what users said.
//!
//! Their changes stand in the same list of notes as those of requests ([`super::outbox`]), each with a kind and an id. They
//! are few; a copy of a whole ledger begins by noting all of them.

/// The kind of a note that is of a request.
pub(super) const REQUEST: i64 = 0;
/// The kind of a note that is of many requests: a JSON array of their ids, the oldest first.
pub(super) const BATCH: i64 = 4;

/// A table beside those of requests.
pub(super) struct Side {
    /// Its name, in the ledger and in the mirror.
    pub(super) table: &'static str,
    /// What tells its rows apart within a ledger.
    pub(super) key: &'static str,
    /// The kind of note that its rows go by.
    pub(super) kind: i64,
    /// What finds them by the id of the note.
    pub(super) condition: &'static str,
}

/// All of them, in the order in which they are put in.
pub(super) const SIDES: [Side; 4] = [
    Side { table: "statements", key: "statement_id", kind: 1, condition: "statement_id = ?1" },
    Side { table: "statement_lines", key: "statement_id, line", kind: 1, condition: "statement_id = ?1" },
    Side { table: "adjustments", key: "adjustment_id", kind: 2, condition: "adjustment_id = ?1" },
    Side { table: "feedback", key: "team, run, subject, key", kind: 3, condition: OF_FEEDBACK },
];

const OF_FEEDBACK: &str = "team = json_extract(?1, '$[0]') AND run = json_extract(?1, '$[1]')
    AND subject = json_extract(?1, '$[2]') AND key = json_extract(?1, '$[3]')";

/// Notes of what changes. A statement is noted when it is closed: it never changes afterwards, and neither do its lines.
pub(super) const TRIGGERS: &str = "
CREATE TRIGGER mirror_statement_closed AFTER UPDATE ON statements
BEGIN INSERT INTO mirror_notes (kind, id) VALUES (1, NEW.statement_id); END;
CREATE TRIGGER mirror_adjustment_booked AFTER INSERT ON adjustments
BEGIN INSERT INTO mirror_notes (kind, id) VALUES (2, NEW.adjustment_id); END;
CREATE TRIGGER mirror_adjustment_stated AFTER UPDATE ON adjustments
BEGIN INSERT INTO mirror_notes (kind, id) VALUES (2, NEW.adjustment_id); END;
CREATE TRIGGER mirror_feedback_said AFTER INSERT ON feedback
BEGIN INSERT INTO mirror_notes (kind, id) VALUES (3, json_array(NEW.team, NEW.run, NEW.subject, NEW.key)); END;
CREATE TRIGGER mirror_feedback_said_again AFTER UPDATE ON feedback
BEGIN INSERT INTO mirror_notes (kind, id) VALUES (3, json_array(NEW.team, NEW.run, NEW.subject, NEW.key)); END;
";

/// What notes all rows that there are.
pub(super) const NOTE_ALL: &str = "
INSERT INTO mirror_notes (kind, id) SELECT 1, statement_id FROM statements WHERE closed_ms IS NOT NULL;
INSERT INTO mirror_notes (kind, id) SELECT 2, adjustment_id FROM adjustments;
INSERT INTO mirror_notes (kind, id) SELECT 3, json_array(team, run, subject, key) FROM feedback;
";

/// What undoes the triggers.
pub(super) const FORGET: &str = "
DROP TRIGGER IF EXISTS mirror_statement_closed; DROP TRIGGER IF EXISTS mirror_adjustment_booked;
DROP TRIGGER IF EXISTS mirror_adjustment_stated; DROP TRIGGER IF EXISTS mirror_feedback_said;
DROP TRIGGER IF EXISTS mirror_feedback_said_again;
";
