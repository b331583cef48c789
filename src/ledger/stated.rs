//! What closed statements say of groups and what re-rating booked, for charges of closed months: off a ledger or a mirror.

use std::collections::BTreeSet;

use jiff::civil::Date;
use jiff::tz::TimeZone;

use crate::ledger::error::LedgerError;
use crate::ledger::reads::{Cell, Reads};
use crate::ledger::rollup;
use crate::ledger::statements::{ADJUSTED, adjustment};
use crate::report::stated::{Booked, Books, Group, Stated, Sums, month_behind};
use crate::report::{Figures, midnight};

/// What statements say whose months are those of `zone`, and what was booked besides. A ledger of an earlier version, and a
/// mirror that none of this one feeds, have none.
///
/// # Errors
///
/// The database's.
pub fn books(views: &impl Reads, zone: &TimeZone) -> Result<Books, LedgerError> {
    let mut books = Books::default();
    if !views.has("statements")? || !views.has("adjustments")? {
        return Ok(books);
    }
    // A mirror has statements of several ledgers under the same numbers.
    let is_mirror = views.has("mirror_feeds")?;
    let ledger = |of: &str| if is_mirror { format!("{of}.ledger") } else { "0".to_owned() };
    let same_ledger = |of: &str| if is_mirror { format!(" AND s.ledger = {of}.ledger") } else { String::new() };
    let sql =
        format!("SELECT {}, s.team, s.month, s.from_ms FROM statements s WHERE s.closed_ms IS NOT NULL", ledger("s"));
    for row in views.read(&sql, &[])? {
        let Ok([ledger, team, month, from]) = <[Cell; 4]>::try_from(row) else { continue };
        let Some(month) = month_of(&month.text()) else { continue };
        if midnight(month, zone) == from.number() {
            books.closed.insert((ledger.number(), team.text(), month));
        } else {
            books.elsewhere.insert((team.text(), month));
        }
    }
    let sums = Figures::NAMES.map(|name| format!("CAST(sum(l.{name}) AS BIGINT)")).join(", ");
    let sql = format!(
        "SELECT s.team, l.project, l.provider, l.model, s.month, l.month, {}, {sums}
         FROM statement_lines l JOIN statements s ON s.statement_id = l.statement_id{}
         WHERE s.closed_ms IS NOT NULL AND l.kind <> 'rerate' GROUP BY 1, 2, 3, 4, 5, 6, 7",
        ledger("l"),
        same_ledger("l")
    );
    for row in views.read(&sql, &[])? {
        let ledger = row.get(6).map_or(0, Cell::number);
        let figures: Vec<i64> = row.iter().skip(7).map(Cell::number).collect();
        let mut names = row.into_iter().take(6).map(Cell::text);
        let mut name = || names.next().unwrap_or_default();
        let group = group_of([name(), name(), name(), name()]);
        let (Some(in_month), Some(about)) = (month_of(&name()), month_of(&name())) else { continue };
        let figures = Figures::of(std::array::from_fn(|at| figures.get(at).copied().unwrap_or_default()));
        if books.closed.contains(&(ledger, group.0.clone(), about)) {
            books.lines.push(Stated { ledger, in_month, about, group, figures });
        }
    }
    let sums = ADJUSTED.map(|name| format!("CAST(sum(a.{name}) AS BIGINT)")).join(", ");
    let sql = format!(
        "SELECT a.team, a.project, a.provider, a.model, a.day, coalesce(s.month, ''), {}, {sums}
         FROM adjustments a LEFT JOIN statements s ON s.statement_id = a.statement_id{}
         GROUP BY 1, 2, 3, 4, 5, 6, 7",
        ledger("a"),
        same_ledger("a")
    );
    for row in views.read(&sql, &[])? {
        let ledger = row.get(6).map_or(0, Cell::number);
        let figures: Vec<i64> = row.iter().skip(7).map(Cell::number).collect();
        let mut names = row.into_iter().take(6).map(Cell::text);
        let mut name = || names.next().unwrap_or_default();
        let group = group_of([name(), name(), name(), name()]);
        let Ok(day) = name().parse::<Date>() else { continue };
        let figures = adjustment(std::array::from_fn(|at| figures.get(at).copied().unwrap_or_default()));
        let figures = Figures { adjusted: figures.cost, cost: 0, ..figures };
        books.booked.push(Booked { ledger, day, in_month: month_of(&name()), group, figures });
    }
    Ok(books)
}

/// What months that a team has closed come to by group and ledger, as rows and sums stand.
///
/// # Errors
///
/// The database's.
pub fn as_they_stand(views: &impl Reads, books: &Books, zone: &TimeZone) -> Result<Sums, LedgerError> {
    let ledger = if views.has("mirror_feeds")? { "ledger" } else { "0" };
    let figures = Figures::NAMES.map(|name| format!("CAST(sum({name}) AS BIGINT)")).join(", ");
    let mut sums = Sums::new();
    let months: BTreeSet<Date> = books.closed.iter().map(|(_, _, month)| *month).collect();
    for month in months {
        let span = rollup::over(midnight(month, zone), midnight(month_behind(month), zone));
        let sql = format!(
            "SELECT team, project, provider, model, {ledger}, {figures} FROM {span} AS summed GROUP BY 1, 2, 3, 4, 5"
        );
        for row in views.read(&sql, &[])? {
            let (ledger, all) = (row.get(4).map_or(0, Cell::number), row.iter().skip(5).map(Cell::number));
            let all: Vec<i64> = all.collect();
            let mut names = row.into_iter().take(4).map(Cell::text);
            let group = group_of(std::array::from_fn(|_| names.next().unwrap_or_default()));
            let figures = Figures::of(std::array::from_fn(|at| all.get(at).copied().unwrap_or_default()));
            sums.entry((month, group)).or_default().insert(ledger, figures);
        }
    }
    Ok(sums)
}

fn group_of([team, project, provider, model]: [String; 4]) -> Group {
    // As reports name models.
    let model = if provider.is_empty() { String::new() } else { format!("{provider}/{model}") };
    (team, project, model)
}

/// The first day of `2026-11`.
pub fn month_of(name: &str) -> Option<Date> {
    format!("{name}-01").parse().ok()
}
