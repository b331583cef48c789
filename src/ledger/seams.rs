//! Where statements of a team meet: each begins where the last one ended, also once `timezone` is another.

use jiff::Span;
use jiff::civil::Date;
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use crate::ledger::statements::{Month, name_of};

/// What a statement of the month has: all between the team's statements that were closed of months beside it, whatever zone
/// that was in.
pub(super) fn span_between(connection: &Connection, team: &str, month: &Month) -> rusqlite::Result<(i64, i64)> {
    let (from_ms, until_ms) = month.span();
    let beside = |sql: &str| {
        let columns = |row: &Row<'_>| Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?));
        connection.query_row(sql, params![team, month.name()], columns).optional()
    };
    let before = "SELECT month, until_ms FROM statements WHERE team = ?1 AND month < ?2 ORDER BY month DESC LIMIT 1";
    let behind = "SELECT month, from_ms FROM statements WHERE team = ?1 AND month > ?2 ORDER BY month LIMIT 1";
    let first = month.first.first_of_month();
    let of = |months: i64| name_of(first.saturating_add(Span::new().months(months)));
    let from_ms = match beside(before)? {
        Some((name, ended_ms)) => {
            if name == of(-1) {
                ended_ms
            } else {
                from_ms.max(ended_ms)
            }
        }
        None => from_ms,
    };
    let until_ms = match beside(behind)? {
        Some((name, began_ms)) => {
            if name == of(1) {
                began_ms
            } else {
                until_ms.min(began_ms)
            }
        }
        None => until_ms,
    };
    Ok((from_ms, until_ms))
}

/// Statements of a team that have the same hours, and months beside each other between whose statements there are some that
/// none has: each with the statement and what is wrong.
pub(super) fn seams(connection: &Connection) -> rusqlite::Result<Vec<(String, String)>> {
    let known = "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'statements'";
    if !connection.prepare(known)?.exists([])? {
        return Ok(Vec::new());
    }
    let sql = "SELECT team, month, from_ms, until_ms FROM statements WHERE closed_ms IS NOT NULL ORDER BY team, month";
    let columns = |row: &Row<'_>| {
        Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, row.get::<_, i64>(2)?, row.get::<_, i64>(3)?))
    };
    let all: Vec<_> = connection.prepare(sql)?.query_map([], columns)?.collect::<Result<_, _>>()?;
    let found = all.windows(2).filter_map(|pair| {
        let [(team, earlier, _, ended_ms), (of, later, began_ms, _)] = pair else { return None };
        let next = format!("{earlier}-01").parse::<Date>().ok()?.saturating_add(Span::new().months(1));
        let what = match began_ms - ended_ms {
            _ if team != of => return None,
            apart if apart < 0 => format!("{} minutes of it are stated of {earlier} as well", -apart / 60_000),
            apart if apart > 0 && *later == name_of(next) => {
                format!("{} minutes between {earlier} and it are in no statement", apart / 60_000)
            }
            _ => return None,
        };
        Some((format!("statement {later} {team}"), what))
    });
    Ok(found.collect())
}
