//! Values as the columns of SQLite take them: what `tables` binds to its statements.

use rusqlite::types::{ToSqlOutput, Value, ValueRef};
use rusqlite::{Statement, ToSql};

use crate::ledger::record::{KnownTokens, Sketch, SketchedTexts};
use crate::money::NanoUsd;
use crate::reply::usage::Usage;

/// Executes an insert, half of whose values are null in most rows: what is not bound is null.
pub(super) fn insert(statement: &mut Statement<'_>, values: &[&dyn ToSql]) -> rusqlite::Result<usize> {
    // Before, not behind: nothing of a row that failed may stay for the next.
    statement.clear_bindings();
    for (place, value) in values.iter().enumerate() {
        match value.to_sql()? {
            ToSqlOutput::Borrowed(ValueRef::Null) | ToSqlOutput::Owned(Value::Null) => {}
            value => statement.raw_bind_parameter(place + 1, value)?,
        }
    }
    statement.raw_execute()
}

/// The six token columns in the order of the statements; all null where the provider said nothing.
pub(super) struct UsageColumns(pub(super) [Option<i64>; 6]);

impl UsageColumns {
    pub(super) fn of(usage: Option<Usage>) -> Self {
        Self::known(usage.map(KnownTokens::from).unwrap_or_default())
    }

    pub(super) fn known(tokens: KnownTokens) -> Self {
        Self(tokens.kinds().map(|(.., tokens)| whole(tokens)))
    }
}

/// The columns of a sketch in the order of the statements.
pub(super) struct SketchColumns(pub(super) [Option<i64>; 11]);

impl SketchColumns {
    pub(super) fn of(sketch: Option<&Sketch>) -> Self {
        let Some(sketch) = sketch else { return Self([None; 11]) };
        let [masked, masked_system, masks, read_bytes, repeated_bytes] = text_columns(sketch.texts.as_ref());
        Self([
            whole(Some(sketch.head_bytes)),
            whole(Some(sketch.opening_bytes)),
            whole(Some(sketch.messages_bytes)),
            whole(sketch.common_tokens),
            Some(hash(sketch.prefix)),
            Some(hash(sketch.exact)),
            masked,
            masked_system,
            masks,
            read_bytes,
            repeated_bytes,
        ])
    }
}

/// Those of them that are read from the texts.
pub(super) fn text_columns(texts: Option<&SketchedTexts>) -> [Option<i64>; 5] {
    [
        texts.and_then(|texts| texts.masked).map(hash),
        texts.and_then(|texts| texts.masked_system).map(hash),
        texts.map(|texts| i64::from(texts.masks)),
        whole(texts.map(|texts| texts.read_bytes)),
        whole(texts.map(|texts| texts.repeated_bytes)),
    ]
}

/// The lower 53 bits of a hash: programs that read numbers as doubles, JavaScript's above all, hold those exactly.
/// <https://www.rfc-editor.org/rfc/rfc8259#section-6>
fn hash(hash: u64) -> i64 {
    (hash & ((1 << 53) - 1)).cast_signed()
}

pub(super) fn nano(amount: Option<NanoUsd>) -> Option<i64> {
    amount.map(|amount| amount.0)
}

/// A count that is null where there is none.
pub(super) fn some(count: u64) -> Option<i64> {
    whole(Some(count).filter(|count| *count > 0))
}

/// SQLite's integers are signed; a count beyond them is held at the largest.
pub(super) fn whole(count: Option<u64>) -> Option<i64> {
    count.map(|count| i64::try_from(count).unwrap_or(i64::MAX))
}
