//! Statements as a mirror has them: of every ledger that is mirrored there.

use crate::ledger::error::LedgerError;
use crate::ledger::reads::{Cell, Reads};
use crate::ledger::statements::{Statement, StatementLine};
use crate::report::Figures;

const HEADS: &str = "SELECT statement_id, team, month, timezone, closed_ms, ledger FROM statements";

/// All closed statements without their lines, newest month first.
///
/// # Errors
///
/// Those of reading the mirror.
pub fn list(mirror: &dyn Reads) -> Result<Vec<Statement>, LedgerError> {
    let rows = mirror.read(&format!("{HEADS} ORDER BY month DESC, team, ledger"), &[])?;
    Ok(rows.into_iter().map(|row| head(row).0).collect())
}

/// The statements of a team for a month: one of each ledger that has closed one.
///
/// # Errors
///
/// Those of reading the mirror.
pub fn show(mirror: &dyn Reads, team: &str, month: &str) -> Result<Vec<Statement>, LedgerError> {
    let of = [Cell::Text(team.to_owned()), Cell::Text(month.to_owned())];
    let heads = mirror.read(&format!("{HEADS} WHERE team = ?1 AND month = ?2 ORDER BY ledger"), &of)?;
    let lines = format!(
        "SELECT kind, month, project, provider, model, note, {} FROM statement_lines
         WHERE ledger = ?1 AND statement_id = ?2 ORDER BY line",
        Figures::NAMES.join(", ")
    );
    let mut statements = Vec::new();
    for row in heads {
        let (mut statement, ledger) = head(row);
        let rows = mirror.read(&lines, &[Cell::Number(ledger), Cell::Number(statement.id)])?;
        statement.lines = rows.into_iter().map(line).collect();
        statements.push(statement);
    }
    Ok(statements)
}

/// A statement without its lines, and its ledger.
fn head(row: Vec<Cell>) -> (Statement, i64) {
    let mut cells = row.into_iter();
    let mut next = || cells.next().unwrap_or(Cell::Null);
    let statement = Statement {
        id: next().number(),
        team: next().text(),
        month: next().text(),
        timezone: next().text(),
        closed_ms: next().number(),
        lines: Vec::new(),
    };
    (statement, next().number())
}

fn line(row: Vec<Cell>) -> StatementLine {
    let mut cells = row.into_iter();
    let mut next = || cells.next().unwrap_or(Cell::Null);
    let [kind, month, project, provider, model] = std::array::from_fn(|_| next().text());
    let note = Some(next()).filter(|cell| *cell != Cell::Null).map(Cell::text);
    let figures = Figures::of(std::array::from_fn(|_| next().number()));
    StatementLine { kind, month, project, provider, model, note, figures }
}
