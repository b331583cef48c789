//! Upgrades of the tables: one step a version, all in one transaction, at the first start of a newer program (`steps` has them).
//!
//! The journal is read to its end before (`recover::check`), so that a ledger whose journal this program
//! cannot replay is still whole for the program that wrote it. Replaying comes after, since it writes to
//! the tables of today. A step that fails leaves the file as it was.

use rusqlite::{Connection, TransactionBehavior};

use crate::ledger::counterfactual;
use crate::ledger::rollup;
use crate::ledger::schema::SCHEMA_VERSION;
use crate::ledger::steps::Step;

/// The version from which on what was saved is the sum of its parts, also once an export has settled a row.
const WHOLE: u32 = 10;

/// The version of the tables.
pub(super) fn version(connection: &Connection) -> rusqlite::Result<u32> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

/// Takes the steps that the file has not seen yet, all or none, and syncs.
pub(super) fn migrate(connection: &mut Connection, steps: &[Step]) -> rusqlite::Result<()> {
    connection.execute_batch("PRAGMA synchronous = FULL")?;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let found = version(&transaction)?;
    for step in steps.iter().filter(|step| step.to > found) {
        transaction.execute_batch(step.sql)?;
        transaction.pragma_update(None, "user_version", step.to)?;
    }
    // At the end: the sums of today are of the columns of today.
    let is_summed = |connection: &Connection| {
        connection.query_row("SELECT EXISTS (SELECT 1 FROM rollup)", [], |row| row.get::<_, bool>(0))
    };
    let is_of_today = version(&transaction)? == SCHEMA_VERSION;
    if found < SCHEMA_VERSION && is_of_today {
        if is_summed(&transaction)? {
            if found < WHOLE {
                rollup::mend_last(&transaction)?;
            }
            rollup::complete(&transaction)?;
        } else {
            rollup::fill(&transaction)?;
        }
    }
    if found < WHOLE && is_of_today {
        counterfactual::mend(&transaction)?;
    }
    transaction.commit()?;
    connection.execute_batch("PRAGMA synchronous = NORMAL")
}
