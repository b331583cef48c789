//! What closed statements say of groups and what re-rating booked, for charges of closed months: off a ledger or a mirror.

use std::collections::BTreeMap;

use jiff::civil::Date;
use jiff::tz::TimeZone;

use crate::ledger::error::LedgerError;
use crate::ledger::reads::{Cell, Reads};
use crate::ledger::rollup;
use crate::ledger::statements::{ADJUSTED, adjustment};
use crate::report::stated::{Booked, Books, Group, Stated, month_behind};
use crate::report::{By, Figures, Report, midnight};

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
    let same_ledger = |of: &str| match views.has("mirror_feeds")? {
        true => Ok(format!(" AND s.ledger = {of}.ledger")),
        false => Ok::<_, LedgerError>(String::new()),
    };
    for row in views.read("SELECT team, month, from_ms FROM statements WHERE closed_ms IS NOT NULL", &[])? {
        let Ok([team, month, from]) = <[Cell; 3]>::try_from(row) else { continue };
        let month = month_of(&month.text());
        books
            .closed
            .extend(month.filter(|month| midnight(*month, zone) == from.number()).map(|month| (team.text(), month)));
    }
    let sums = Figures::NAMES.map(|name| format!("CAST(sum(l.{name}) AS BIGINT)")).join(", ");
    let sql = format!(
        "SELECT s.team, l.project, l.provider, l.model, s.month, l.month, {sums}
         FROM statement_lines l JOIN statements s ON s.statement_id = l.statement_id{}
         WHERE s.closed_ms IS NOT NULL AND l.kind <> 'rerate' GROUP BY 1, 2, 3, 4, 5, 6",
        same_ledger("l")?
    );
    for row in views.read(&sql, &[])? {
        let figures: Vec<i64> = row.iter().skip(6).map(Cell::number).collect();
        let mut names = row.into_iter().take(6).map(Cell::text);
        let mut name = || names.next().unwrap_or_default();
        let group = group_of([name(), name(), name(), name()]);
        let (Some(in_month), Some(about)) = (month_of(&name()), month_of(&name())) else { continue };
        let figures = Figures::of(std::array::from_fn(|at| figures.get(at).copied().unwrap_or_default()));
        if books.closed.contains(&(group.0.clone(), about)) {
            books.lines.push(Stated { in_month, about, group, figures });
        }
    }
    let sums = ADJUSTED.map(|name| format!("CAST(sum(a.{name}) AS BIGINT)")).join(", ");
    let sql = format!(
        "SELECT a.team, a.project, a.provider, a.model, a.day, coalesce(s.month, ''), {sums}
         FROM adjustments a LEFT JOIN statements s ON s.statement_id = a.statement_id{}
         GROUP BY 1, 2, 3, 4, 5, 6",
        same_ledger("a")?
    );
    for row in views.read(&sql, &[])? {
        let figures: Vec<i64> = row.iter().skip(6).map(Cell::number).collect();
        let mut names = row.into_iter().take(6).map(Cell::text);
        let mut name = || names.next().unwrap_or_default();
        let group = group_of([name(), name(), name(), name()]);
        let Ok(day) = name().parse::<Date>() else { continue };
        let figures = adjustment(std::array::from_fn(|at| figures.get(at).copied().unwrap_or_default()));
        let figures = Figures { adjusted: figures.cost, cost: 0, ..figures };
        books.booked.push(Booked { day, in_month: month_of(&name()), group, figures });
    }
    Ok(books)
}

/// What closed months come to by group as rows and sums stand.
///
/// # Errors
///
/// The database's.
pub fn as_they_stand(
    views: &impl Reads,
    books: &Books,
    zone: &TimeZone,
) -> Result<BTreeMap<(Date, Group), Figures>, LedgerError> {
    let months = || books.closed.iter().map(|(_, month)| *month);
    let (Some(first), Some(last)) = (months().min(), months().max()) else { return Ok(BTreeMap::new()) };
    let by = [By::Month, By::Team, By::Project, By::Model];
    let lines = rollup::lines(views, &by, midnight(first, zone), midnight(month_behind(last), zone), zone)?;
    let rows = Report::of(&by, lines, zone).rows.into_iter().filter_map(|row| {
        let [month, team, project, model] = <[String; 4]>::try_from(row.names).ok()?;
        Some(((month_of(&month)?, (team, project, model)), row.figures))
    });
    Ok(rows.collect())
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
