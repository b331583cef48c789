//! Reading a mirror: for reports, comparisons and `check`.

use tokio::runtime::Runtime;
use tokio_postgres::Client;
use tokio_postgres::types::{ToSql, Type};

use super::MirrorError;
use super::remote::{connect, in_time};
use super::target::Target;
use crate::ledger::error::LedgerError;
use crate::ledger::reads::{Cell, Reads};
use crate::ledger::rollup::as_postgres;

/// A connection that only reads. It blocks, as a command may.
pub struct Reader {
    runtime: Runtime,
    client: Client,
}

impl Reader {
    /// Connects. Must not be called from async code.
    ///
    /// # Errors
    ///
    /// [`MirrorError`]: it cannot be reached, or is no database for it.
    pub fn open(target: &Target) -> Result<Self, MirrorError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| MirrorError::Unfit(format!("no thread for it: {error}")))?;
        let client = runtime.block_on(async {
            let client = connect(target).await?;
            let session = "SET search_path = farthing; SET default_transaction_read_only = on;";
            in_time(target.patience(), async { Ok(client.batch_execute(session).await?) }).await?;
            Ok::<_, MirrorError>(client)
        })?;
        Ok(Self { runtime, client })
    }

    /// Whether ledgers are mirrored there.
    ///
    /// # Errors
    ///
    /// Postgres'.
    pub fn has_ledgers(&self) -> Result<bool, MirrorError> {
        let known = self.client.query_one("SELECT to_regclass('farthing.mirror_feeds') IS NOT NULL", &[]);
        Ok(self.runtime.block_on(known)?.try_get(0)?)
    }

    /// Runs statements that find nothing.
    pub(super) fn execute(&self, sql: &str) -> Result<(), MirrorError> {
        Ok(self.runtime.block_on(self.client.batch_execute(sql))?)
    }

    pub(super) fn query(&self, sql: &str, values: &[Cell]) -> Result<Vec<Vec<Cell>>, MirrorError> {
        let sql = as_postgres(sql).replace('?', "$");
        let null: Option<i64> = None;
        let values: Vec<&(dyn ToSql + Sync)> = values
            .iter()
            .map(|value| match value {
                Cell::Null => &null as &(dyn ToSql + Sync),
                Cell::Number(number) => number,
                Cell::Text(text) => text,
            })
            .collect();
        let rows = self.runtime.block_on(self.client.query(&sql, &values))?;
        let cells = |row: &tokio_postgres::Row| (0..row.len()).map(|at| cell(row, at)).collect::<Result<Vec<_>, _>>();
        Ok(rows.iter().map(cells).collect::<Result<_, _>>()?)
    }
}

fn cell(row: &tokio_postgres::Row, at: usize) -> Result<Cell, tokio_postgres::Error> {
    let number = |number: Option<i64>| number.map_or(Cell::Null, Cell::Number);
    Ok(match *row.columns()[at].type_() {
        Type::INT8 => number(row.try_get(at)?),
        Type::INT4 => number(row.try_get::<_, Option<i32>>(at)?.map(i64::from)),
        Type::BOOL => number(row.try_get::<_, Option<bool>>(at)?.map(i64::from)),
        _ => row.try_get::<_, Option<String>>(at)?.map_or(Cell::Null, Cell::Text),
    })
}

impl Reads for Reader {
    fn read(&self, sql: &str, values: &[Cell]) -> Result<Vec<Vec<Cell>>, LedgerError> {
        self.query(sql, values).map_err(|error| LedgerError::Mirror { reason: error.to_string() })
    }

    fn has(&self, table: &str) -> Result<bool, LedgerError> {
        let known = "SELECT to_regclass('farthing.' || ?1) IS NOT NULL";
        let rows = self.read(known, &[Cell::Text(table.to_owned())])?;
        Ok(rows.first().is_some_and(|row| row[0].number() != 0))
    }
}
