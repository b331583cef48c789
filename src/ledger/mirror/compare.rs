//! Comparing a ledger with its mirror, day by day, also while both go on.
//!
//! The mirror is read as of one moment, and the ledger as of one soon after: what the ledger has beyond the mirror is then
//! noted as a change that waits, unless the mirror was given more in between. That is seen, and both are read again.

use std::collections::BTreeMap;
use std::path::Path;

use super::MirrorError;
use super::reader::Reader;
use super::target::Target;
use crate::ledger::error::{LedgerError, database_error};
use crate::ledger::reads::{Cell, Reads as _};
use crate::ledger::schema::open_views;

/// How often a mirror that is being fed is looked at again.
const LOOKS_MAX: usize = 20;

/// The sums that are compared, of a day of UTC.
const SUMS: [&str; 7] =
    ["requests", "cost_nano", "cost_low_nano", "attempts", "attempts_cost_nano", "input_tokens", "output_tokens"];

/// A day of UTC in both.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Day {
    /// Its number, counted from the Unix epoch.
    pub day: i64,
    /// What differs, with the ledger's number and the mirror's.
    pub differs: Vec<(&'static str, i64, i64)>,
    /// Changes of its requests are on their way to the mirror.
    pub waits: bool,
}

/// What a comparison found.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Compared {
    /// Days that are in either.
    pub days: u64,
    /// Requests of the ledger.
    pub requests: u64,
    /// Changes that wait, and rows that are still to be copied.
    pub waiting: u64,
    /// Days that differ and that nothing waits of.
    pub wrong: Vec<Day>,
    /// Days that differ since their changes wait.
    pub behind: Vec<Day>,
    /// Days that the ledger has forgotten and the mirror has not.
    pub kept: u64,
    /// Days whose sums for reports are not those of the mirror's rows.
    pub wrong_sums: Vec<i64>,
    /// What differs of statements, adjustments and feedback although nothing of them waits, with the ledger's number and the
    /// mirror's.
    pub wrong_sides: Vec<(&'static str, i64, i64)>,
}

impl Compared {
    /// How much is not as it should be.
    pub fn findings(&self) -> usize {
        self.wrong.len() + self.wrong_sums.len() + self.wrong_sides.len()
    }
}

/// What is compared beside the requests. Feedback that the ledger has forgotten stays in the mirror, so that the mirror may
/// have more of it.
const SIDES: [(&str, &str); 5] = [
    ("statements", "SELECT count(*) FROM statements"),
    ("statement_lines", "SELECT count(*) FROM statement_lines"),
    ("statement_lines_cost_nano", "SELECT CAST(coalesce(sum(cost_nano), 0) AS BIGINT) FROM statement_lines"),
    ("adjustments_cost_nano", "SELECT CAST(coalesce(sum(cost_nano), 0) AS BIGINT) FROM adjustments"),
    ("feedback", "SELECT count(*) FROM feedback"),
];

type Sums = BTreeMap<i64, [i64; SUMS.len()]>;

/// Compares the ledger at `path` with its rows in the mirror.
///
/// # Errors
///
/// [`MirrorError`] if either cannot be read, or the ledger was never fed to it.
pub fn compare(path: &Path, target: &Target) -> Result<Compared, MirrorError> {
    let views = open_views(path)?;
    let ledger: i64 =
        views.query_row("SELECT ledger FROM journal", [], |row| row.get(0)).map_err(database_error("read"))?;
    let reader = Reader::open(target)?;
    if !reader.has_ledgers()? {
        return Err(MirrorError::Unfit("no ledger was mirrored there".to_owned()));
    }
    for _ in 0..LOOKS_MAX {
        if let Some(compared) = look(&views, &reader, ledger)? {
            return Ok(compared);
        }
    }
    Err(MirrorError::Unfit("it is fed faster than it can be looked at; try again when there is less to do".to_owned()))
}

/// `None`: the mirror was given more between the two looks.
fn look(views: &rusqlite::Connection, reader: &Reader, ledger: i64) -> Result<Option<Compared>, MirrorError> {
    reader.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")?;
    let looked = (|| {
        let feed = "SELECT feed, position, copied_to, is_copied FROM mirror_feeds WHERE ledger = ?1";
        let feed = reader.query(feed, &[Cell::Number(ledger)])?;
        let Some(Ok([feed, position, copied_to, is_copied])) = feed.into_iter().next().map(<[Cell; 4]>::try_from)
        else {
            return Err(MirrorError::Unfit("this ledger was never mirrored there".to_owned()));
        };
        let ours = views.unchecked_transaction().map_err(database_error("read"))?;
        let copied_to = if is_copied.number() == 0 { Some(copied_to.text()) } else { None };
        let (acked, copied_to) = match of_feed(&ours)? {
            Some((our_feed, acked)) if our_feed == feed.number() => (acked, copied_to),
            // A list of changes that the mirror has not heard of: all rows will come again.
            Some((_, acked)) => (acked.min(position.number()), Some(String::new())),
            // No mirror is configured: nothing is on its way.
            None => (position.number(), copied_to),
        };
        if acked > position.number() {
            return Ok(None);
        }
        let (waiting, days) = waiting(&ours, acked, copied_to.as_deref())?;
        let sides_wait = copied_to.is_some() || sides_wait(&ours, acked)?;
        let our_sides = sides(|sql| ours.read(&format!("{sql} WHERE ?1 = ?1"), &[Cell::Number(ledger)]))?;
        let our_sums = sums_of(&ours.read(&sums("WHERE ?1 = ?1"), &[Cell::Number(ledger)])?);
        drop(ours);
        let their_sums = sums_of(&reader.query(&sums("WHERE r.ledger = ?1"), &[Cell::Number(ledger)])?);
        let mut compared = held_together(&our_sums, &their_sums, &days);
        compared.waiting = waiting;
        if !sides_wait && reader.query(HAS_SIDES, &[])?[0][0].number() == 1 {
            let theirs = sides(|sql| reader.query(&format!("{sql} WHERE ledger = ?1"), &[Cell::Number(ledger)]))?;
            let pairs = SIDES.iter().zip(our_sides.into_iter().zip(theirs)).map(|((name, _), (o, t))| (*name, o, t));
            let differs =
                |(name, ours, theirs): &(&str, i64, i64)| ours > theirs || ours < theirs && *name != "feedback";
            compared.wrong_sides = pairs.filter(differs).collect();
        }
        compared.wrong_sums = wrong_sums(reader, ledger)?;
        Ok(Some(compared))
    })();
    reader.execute("ROLLBACK")?;
    looked
}

/// The ledger's list of changes and the last one that the mirror has.
fn of_feed(views: &rusqlite::Connection) -> Result<Option<(i64, i64)>, LedgerError> {
    if views.read("SELECT 1 FROM sqlite_schema WHERE name = 'mirror_notes'", &[])?.is_empty() {
        return Ok(None);
    }
    let feed = views.read("SELECT feed, acked FROM mirror_feed", &[])?;
    Ok(feed.first().map(|row| (row[0].number(), row[1].number())))
}

/// How much waits, and the days that it is of.
fn waiting(
    views: &rusqlite::Connection,
    acked: i64,
    copied_to: Option<&str>,
) -> Result<(u64, BTreeMap<i64, ()>), LedgerError> {
    let mut days = BTreeMap::new();
    let mut count = 0;
    let mut take = |rows: Vec<Vec<Cell>>| {
        for row in rows {
            days.insert(row[0].number(), ());
            count += row[1].number().unsigned_abs();
        }
    };
    if of_feed(views)?.is_some() {
        let changes = "SELECT coalesce(r.at_ms, 0) / 86400000, count(*) FROM (
                SELECT id FROM mirror_notes WHERE seq > ?1 AND kind = 0
                UNION ALL SELECT j.value FROM mirror_notes n, json_each(n.id) j WHERE n.seq > ?1 AND n.kind = 4) n
            JOIN requests r ON r.request_id = n.id GROUP BY 1";
        take(views.read(changes, &[Cell::Number(acked)])?);
    }
    if let Some(id) = copied_to {
        let rows = "SELECT coalesce(at_ms, 0) / 86400000, count(*) FROM requests WHERE request_id > ?1 GROUP BY 1";
        take(views.read(rows, &[Cell::Text(id.to_owned())])?);
    }
    Ok((count, days))
}

/// A mirror of an earlier version has none of them until a gateway of this one feeds it.
const HAS_SIDES: &str = "SELECT to_regclass('farthing.feedback') IS NOT NULL";

fn sides<E>(mut read: impl FnMut(&str) -> Result<Vec<Vec<Cell>>, E>) -> Result<Vec<i64>, E> {
    let number = |rows: Vec<Vec<Cell>>| rows.first().map_or(0, |row| row[0].number());
    SIDES.iter().map(|(_, sql)| read(sql).map(number)).collect()
}

/// Whether anything beside requests waits.
fn sides_wait(views: &rusqlite::Connection, acked: i64) -> Result<bool, LedgerError> {
    if of_feed(views)?.is_none() {
        return Ok(false);
    }
    let waits = "SELECT EXISTS (SELECT 1 FROM mirror_notes WHERE seq > ?1 AND kind NOT IN (0, 4))";
    Ok(views.read(waits, &[Cell::Number(acked)])?[0][0].number() == 1)
}

/// Both count an attempt on the day of its request.
fn sums(condition: &str) -> String {
    format!(
        "SELECT coalesce(r.at_ms, 0) / 86400000, count(*), CAST(coalesce(sum(r.cost_nano), 0) AS BIGINT),
            CAST(coalesce(sum(r.cost_low_nano), 0) AS BIGINT), CAST(coalesce(sum(a.made), 0) AS BIGINT),
            CAST(coalesce(sum(a.cost), 0) AS BIGINT), CAST(coalesce(sum(a.input), 0) AS BIGINT),
            CAST(coalesce(sum(a.output), 0) AS BIGINT)
         FROM requests r LEFT JOIN (SELECT request_id, count(*) AS made, sum(cost_nano) AS cost,
            sum(input_tokens) AS input, sum(output_tokens) AS output FROM attempts GROUP BY 1) AS a
            ON a.request_id = r.request_id
         {condition} GROUP BY 1"
    )
}

fn sums_of(rows: &[Vec<Cell>]) -> Sums {
    let sums = |row: &Vec<Cell>| {
        let mut sums = [0; SUMS.len()];
        sums.iter_mut().zip(&row[1..]).for_each(|(sum, cell)| *sum = cell.number());
        (row[0].number(), sums)
    };
    rows.iter().map(sums).collect()
}

fn held_together(ours: &Sums, theirs: &Sums, waits: &BTreeMap<i64, ()>) -> Compared {
    let mut compared = Compared::default();
    let first = ours.keys().next().copied();
    let days: BTreeMap<i64, ()> = ours.keys().chain(theirs.keys()).map(|day| (*day, ())).collect();
    for day in days.into_keys() {
        compared.days += 1;
        let [our, their] = [ours, theirs].map(|sums| sums.get(&day).copied().unwrap_or_default());
        compared.requests += our[0].unsigned_abs();
        let pairs = SUMS.into_iter().zip(our.into_iter().zip(their));
        let differs: Vec<_> =
            pairs.filter(|(_, (our, their))| our != their).map(|(name, (o, t))| (name, o, t)).collect();
        if differs.is_empty() {
            continue;
        }
        if first.is_none_or(|first| day < first) {
            compared.kept += 1;
            continue;
        }
        let waits = waits.contains_key(&day);
        let found = Day { day, differs, waits };
        if waits { compared.behind.push(found) } else { compared.wrong.push(found) }
    }
    compared
}

/// Days whose sums for reports do not count the requests, or cost what the attempts cost, of the mirror's own rows.
fn wrong_sums(reader: &Reader, ledger: i64) -> Result<Vec<i64>, MirrorError> {
    let sql = "SELECT coalesce(s.day, t.day) FROM
            (SELECT slot / 96 AS day, sum(requests) AS requests, sum(cost_nano) AS cost FROM rollup_day
                WHERE ledger = ?1 GROUP BY 1) AS s
         FULL JOIN (SELECT r.at_ms / 86400000 AS day, count(DISTINCT CASE WHEN r.purpose IS NULL THEN r.request_id END) AS requests,
                sum(a.cost_nano) AS cost
                FROM requests r LEFT JOIN attempts a ON a.request_id = r.request_id
                WHERE r.ledger = ?1 AND r.status <> 'open' AND r.at_ms IS NOT NULL GROUP BY 1) AS t ON s.day = t.day
         WHERE coalesce(s.requests, 0) <> coalesce(t.requests, 0) OR coalesce(s.cost, 0) <> coalesce(t.cost, 0) ORDER BY 1";
    let rows = reader.query(sql, &[Cell::Number(ledger)])?;
    Ok(rows.into_iter().map(|row| row[0].number()).collect())
}
