//! What users say of answers: the table, and who a request or a run belongs to.
//!
//! One row for each key and subject: the last word counts, so that nobody weighs more by saying it often. Whether a key
//! may speak of a subject at all is the door's to judge, by what [`owners`] finds.

use rusqlite::{CachedStatement, Connection, Row, params, params_from_iter};

use crate::ids::RequestId;
use crate::ledger::error::{LedgerError, database_error};
use crate::ledger::record::Feedback;

/// Most requests of a run that are looked at for whom it belongs to.
const RUN_REQUESTS_MAX: u32 = 1_000;

/// The table, its view, and how a run is found.
macro_rules! tables {
    () => {
        "
CREATE TABLE feedback (
    team TEXT NOT NULL, run INTEGER NOT NULL, subject TEXT NOT NULL, key TEXT NOT NULL,
    at_ms INTEGER NOT NULL, outcome TEXT NOT NULL, score_ppm INTEGER, resolved_incidents INTEGER,
    saved_milli_hours INTEGER, note TEXT,
    PRIMARY KEY (team, run, subject, key)
) STRICT, WITHOUT ROWID;
CREATE VIEW feedback_v1 AS SELECT
    iif(run, NULL, subject) AS request_id, iif(run, subject, NULL) AS run, team, key, at_ms, outcome, score_ppm,
    resolved_incidents, saved_milli_hours, note
FROM feedback;
CREATE INDEX requests_by_run ON requests (run, team) WHERE run IS NOT NULL;
"
    };
}
pub(super) use tables;

const SAY: &str = "
INSERT INTO feedback (team, run, subject, key, at_ms, outcome, score_ppm, resolved_incidents, saved_milli_hours, note)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
ON CONFLICT DO UPDATE SET at_ms = excluded.at_ms, outcome = excluded.outcome, score_ppm = excluded.score_ppm,
    resolved_incidents = excluded.resolved_incidents, saved_milli_hours = excluded.saved_milli_hours,
    note = excluded.note";

/// Writes what was said.
pub(super) struct Said<'c>(CachedStatement<'c>);

impl<'c> Said<'c> {
    pub(super) fn new(connection: &'c Connection) -> rusqlite::Result<Self> {
        Ok(Self(connection.prepare_cached(SAY)?))
    }

    pub(super) fn write(&mut self, said: &Feedback<'_>) -> rusqlite::Result<()> {
        let subject = said.request.map(|id| id.to_string());
        let values = params![
            said.team,
            subject.is_none(),
            subject.as_deref().unwrap_or(said.run),
            said.key,
            said.at_ms,
            said.outcome,
            said.score_ppm,
            said.resolved_incidents,
            said.saved_milli_hours,
            said.note,
        ];
        self.0.execute(values).map(drop)
    }
}

/// What feedback is about.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Subject {
    /// One request.
    Request(RequestId),
    /// All requests of an agent run, by its name.
    Run(String),
}

/// Who a request belongs to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Owner {
    /// Who paid.
    pub team: String,
    /// The key's public name; empty on loopback without keys.
    pub key: String,
    /// Project.
    pub project: Option<String>,
    /// Pipeline.
    pub pipeline: Option<String>,
    /// Task kind.
    pub task: Option<String>,
}

/// Who the subject belongs to, as far as the views show it; none: there is no such request or run. Only the requests of
/// `teams` are looked at, where they are given: several teams may have runs of one name.
///
/// # Errors
///
/// SQLite's.
pub fn owners(views: &Connection, subject: &Subject, teams: Option<&[&str]>) -> Result<Vec<Owner>, LedgerError> {
    let owner = |row: &Row<'_>| {
        let (team, key) = (row.get::<_, Option<String>>(0)?, row.get::<_, Option<String>>(1)?);
        let (project, pipeline, task) = (row.get(2)?, row.get(3)?, row.get(4)?);
        Ok(Owner { team: team.unwrap_or_default(), key: key.unwrap_or_default(), project, pipeline, task })
    };
    let read = |condition: &str, values: &[&str]| -> rusqlite::Result<Vec<Owner>> {
        let sql = format!(
            "SELECT DISTINCT team, key, project, pipeline, task FROM
             (SELECT * FROM requests WHERE {condition} LIMIT {RUN_REQUESTS_MAX})"
        );
        views.prepare(&sql)?.query_map(params_from_iter(values), owner)?.collect()
    };
    let found = || -> rusqlite::Result<Vec<Owner>> {
        match (subject, teams) {
            (Subject::Request(id), _) => {
                let mut owners = read("request_id = ?1", &[&id.to_string()])?;
                owners.retain(|owner| teams.is_none_or(|teams| teams.contains(&&*owner.team)));
                Ok(owners)
            }
            (Subject::Run(run), None) => read("run = ?1", &[run]),
            (Subject::Run(run), Some(teams)) => {
                let of_teams = teams.iter().map(|team| read("run = ?1 AND team = ?2", &[run, team]));
                of_teams.collect::<rusqlite::Result<Vec<_>>>().map(|owners| owners.concat())
            }
        }
    };
    found().map_err(database_error("read"))
}
