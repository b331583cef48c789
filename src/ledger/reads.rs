//! What reports read with: SQL in the words that SQLite and Postgres share, rows of numbers and text out.
//!
//! Values are bound as `?1`, which is `$1` to Postgres. Numbers are whole and fit in 64 bits: a sum is cast where it is made.

use rusqlite::Connection;
use rusqlite::types::{ToSqlOutput, Value, ValueRef};

use crate::ledger::error::{LedgerError, database_error};

/// A ledger's views, or those of its mirror.
pub trait Reads {
    /// The rows that a query finds.
    ///
    /// # Errors
    ///
    /// The database's.
    fn read(&self, sql: &str, values: &[Cell]) -> Result<Vec<Vec<Cell>>, LedgerError>;

    /// Whether there is a table besides those that every version, and a mirror, has.
    ///
    /// # Errors
    ///
    /// The database's.
    fn has(&self, _table: &str) -> Result<bool, LedgerError> {
        Ok(false)
    }
}

/// A value of a row, or for a query.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Cell {
    /// There is none.
    Null,
    /// A number.
    Number(i64),
    /// A text.
    Text(String),
}

impl Cell {
    /// The number; 0 where there is none.
    pub fn number(&self) -> i64 {
        match self {
            Self::Number(number) => *number,
            Self::Null | Self::Text(_) => 0,
        }
    }

    /// The text; empty where there is none.
    pub fn text(self) -> String {
        match self {
            Self::Text(text) => text,
            Self::Null | Self::Number(_) => String::new(),
        }
    }
}

impl rusqlite::ToSql for Cell {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match self {
            Self::Null => ToSqlOutput::Owned(Value::Null),
            Self::Number(number) => ToSqlOutput::Owned(Value::Integer(*number)),
            Self::Text(text) => ToSqlOutput::Borrowed(ValueRef::Text(text.as_bytes())),
        })
    }
}

impl Reads for Connection {
    fn read(&self, sql: &str, values: &[Cell]) -> Result<Vec<Vec<Cell>>, LedgerError> {
        let read = || -> rusqlite::Result<Vec<Vec<Cell>>> {
            let mut statement = self.prepare(sql)?;
            let columns = statement.column_count();
            let mut found = statement.query(rusqlite::params_from_iter(values))?;
            let mut rows = Vec::new();
            while let Some(row) = found.next()? {
                let cell = |column| match row.get_ref(column) {
                    Ok(ValueRef::Integer(number)) => Ok(Cell::Number(number)),
                    Ok(ValueRef::Text(text)) => Ok(Cell::Text(String::from_utf8_lossy(text).into_owned())),
                    Ok(ValueRef::Null | ValueRef::Real(_) | ValueRef::Blob(_)) => Ok(Cell::Null),
                    Err(error) => Err(error),
                };
                rows.push((0..columns).map(cell).collect::<rusqlite::Result<_>>()?);
            }
            Ok(rows)
        };
        read().map_err(database_error("read"))
    }

    fn has(&self, table: &str) -> Result<bool, LedgerError> {
        let sql = "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?1";
        Ok(!self.read(sql, &[Cell::Text(table.to_owned())])?.is_empty())
    }
}
