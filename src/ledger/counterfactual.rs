//! What a request is held against, once an export has said what its attempts did cost.
//!
//! The parts of what was saved add up to the whole, also when a cost becomes known or another one later. What attempts besides
//! the last cost is the part `retry`; the last is the one that answered. Where the last one had answered at the price that it is held against, it still did. Else
//! the counterfactual is of the tokens that were priced: once an export names others, nobody knows it.

use rusqlite::{Connection, params};

use crate::ledger::columns::UsageColumns;
use crate::ledger::record::Reconciled;
use crate::ledger::rollup::Sums;
use crate::ledger::sql::its_attempts;

/// Whether attempt `a` is its request's last one: the one that answered, else the one with the highest number. Ids are ordered
/// as their numbers are.
macro_rules! is_last {
    () => {
        concat!(
            "NOT EXISTS (SELECT 1 FROM attempts b WHERE ",
            its_attempts!("b", "a"),
            " AND (b.fate = 'completed', length(b.attempt_id), b.attempt_id)
                > (a.fate = 'completed', length(a.attempt_id), a.attempt_id))"
        )
    };
}

/// Before attempt `?1` is billed `?2` for the tokens `?3` to `?8`: what its request is held against from then on, if it is
/// the last one. A word of the provider's own on tokens stands where the export has none.
const ANSWERED: &str = concat!(
    "UPDATE requests SET
        baseline_nano = CASE WHEN at_own AND (same OR saved_fallback_nano = 0) THEN ?2 WHEN same THEN baseline_nano END,
        saved_fallback_nano = CASE WHEN saved_fallback_nano = 0 THEN 0 WHEN same THEN saved_fallback_nano + old_nano - ?2 END,
        provider_cache_nano = CASE WHEN same AND old_nano = ?2 THEN provider_cache_nano END,
        cache_lost_to = CASE WHEN same AND old_nano = ?2 THEN cache_lost_to END,
        cache_lost_nano = CASE WHEN same AND old_nano = ?2 THEN cache_lost_nano END,
        cache_lost_at_tokens = CASE WHEN same AND old_nano = ?2 THEN cache_lost_at_tokens END,
        would_cost_nano = CASE
            WHEN stays AND (same OR would_cost_nano = cost_nano) THEN would_cost_nano + ?2 - old_nano
            WHEN same AND NOT stays THEN would_cost_nano END
     FROM (SELECT a.request_id AS id, a.cost_nano AS old_nano, coalesce(r.would_model = r.baseline_model, 0) AS stays,
            coalesce(r.baseline_model = a.provider || '/' || a.model AND r.baseline_nano = a.cost_nano, 0) AS at_own,
            (a.source = 'reported' AND a.tokenizer IS NULL OR ?3 IS NOT NULL AND ?7 IS NOT NULL)
                AND coalesce(?3, a.input_tokens) IS a.input_tokens
                AND coalesce(?4, a.cached_input_tokens) IS a.cached_input_tokens
                AND coalesce(?5, a.cache_write_tokens) IS a.cache_write_tokens
                AND coalesce(?6, a.cache_write_1h_tokens) IS a.cache_write_1h_tokens
                AND coalesce(?7, a.output_tokens) IS a.output_tokens
                AND coalesce(?8, a.reasoning_tokens) IS a.reasoning_tokens AS same
        FROM attempts a JOIN requests r USING (request_id) WHERE a.attempt_id = ?1 AND ",
    is_last!(),
    ") WHERE request_id = id"
);

/// The same of an attempt that gave no answer: what it costs more or less it would have cost too.
const UNANSWERED: &str = concat!(
    "UPDATE requests SET would_cost_nano = would_cost_nano + ?2 - old_nano
     FROM (SELECT a.request_id AS id, a.cost_nano AS old_nano FROM attempts a WHERE a.attempt_id = ?1 AND NOT (",
    is_last!(),
    ")) WHERE request_id = id AND would_cost_nano IS NOT NULL"
);

/// Afterwards: what attempts before the last cost; and where there is no whole, there are no parts.
const PARTS: &str = concat!(
    "UPDATE requests SET
        saved_retry_nano = CASE WHEN baseline_nano IS NOT NULL AND saved_fallback_nano IS NOT NULL THEN
            (SELECT CASE WHEN count(*) = count(a.cost_nano) THEN -coalesce(sum(a.cost_nano), 0) END
             FROM attempts a WHERE ",
    its_attempts!("a", "requests"),
    " AND NOT (",
    is_last!(),
    ")) END,
        saved_fallback_nano = CASE WHEN baseline_nano IS NOT NULL THEN saved_fallback_nano END,
        baseline_nano = CASE WHEN saved_fallback_nano IS NOT NULL THEN baseline_nano END
     WHERE request_id = ?1"
);

/// An attempt is about to take an export's figures.
pub(super) fn before(connection: &Connection, word: &Reconciled<'_>) -> rusqlite::Result<()> {
    let [input, cached, written, written_1h, output, reasoning] = UsageColumns::known(word.tokens).0;
    let id = word.attempt.to_string();
    connection.prepare_cached(UNANSWERED)?.execute(params![id, word.cost.0])?;
    connection
        .prepare_cached(ANSWERED)?
        .execute(params![id, word.cost.0, input, cached, written, written_1h, output, reasoning])
        .map(drop)
}

/// It has taken them, and so has its request.
pub(super) fn after(connection: &Connection, request_id: &str) -> rusqlite::Result<()> {
    connection.prepare_cached(PARTS)?.execute([request_id]).map(drop)
}

/// Rows that may lack it, of versions that settled attempts alone: those that an export has settled, and those of which the
/// whole is known and a part is not.
const TO_MEND: &str = "
SELECT request_id FROM requests WHERE baseline_nano IS NOT NULL
    AND (saved_fallback_nano IS NULL OR (cost_nano IS NOT NULL AND saved_retry_nano IS NULL))
UNION SELECT request_id FROM attempts WHERE reconciled_ms IS NOT NULL";

/// What an answer was held against before an export settled it is not known of other tokens.
const UNSETTLE: &str = concat!(
    "UPDATE requests SET baseline_nano = NULL WHERE request_id = ?1 AND EXISTS (
        SELECT 1 FROM attempts a WHERE ",
    its_attempts!("a", "requests"),
    " AND a.reconciled_ms IS NOT NULL
            AND (requests.baseline_model IS NOT a.provider || '/' || a.model OR requests.baseline_nano IS NOT a.cost_nano) AND ",
    is_last!(),
    ")"
);

/// Brings the rows of earlier versions, and their sums, to what this one makes of them.
pub(super) fn mend(connection: &Connection) -> rusqlite::Result<()> {
    let ids: Vec<String> = connection.prepare(TO_MEND)?.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
    let mut sums = Sums::new(connection)?;
    for id in &ids {
        sums.take(id)?;
        connection.prepare_cached(UNSETTLE)?.execute([id])?;
        after(connection, id)?;
        sums.add(id)?;
    }
    sums.write(connection)
}
