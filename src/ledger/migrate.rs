//! Upgrades of the tables: one step a version, all in one transaction, at the first start of a newer program.
//!
//! The journal is read to its end before (`recover::check`), so that a ledger whose journal this program
//! cannot replay is still whole for the program that wrote it. Replaying comes after, since it writes to
//! the tables of today. A step that fails leaves the file as it was.

use rusqlite::{Connection, TransactionBehavior};

use crate::ledger::audit;
use crate::ledger::counterfactual;
use crate::ledger::feedback;
use crate::ledger::rollup;
use crate::ledger::schema::SCHEMA_VERSION;
use crate::ledger::statements;

/// What leads from the version before to the next one.
pub(super) struct Step {
    /// The version that it leads to.
    pub(super) to: u32,
    /// What is done. Views that change are dropped and created anew; columns are only ever added to them.
    pub(super) sql: &'static str,
}

/// Every step since the first version, in order. A step never changes once it was released.
pub(super) const STEPS: &[Step] = &[
    Step { to: 2, sql: "ALTER TABLE journal ADD COLUMN program TEXT;" },
    Step { to: 3, sql: REASONS },
    Step { to: 4, sql: DECISIONS },
    Step { to: 5, sql: COMPARISONS },
    Step { to: 6, sql: statements::TABLES },
    Step { to: 7, sql: SKETCHES },
    Step { to: 8, sql: OVERHEADS },
    Step { to: 9, sql: BREAKS },
    Step { to: WHOLE, sql: GUARDS },
];

/// The tier that a row was priced at, and why its cost is unknown; of older rows as far as they say so. Of an attempt
/// that failed nobody had reported that it cost nothing.
const REASONS: &str = "
ALTER TABLE attempts ADD COLUMN priced_tier TEXT;
ALTER TABLE attempts ADD COLUMN unknown_reason TEXT;
UPDATE attempts SET source = 'estimated'
WHERE fate = 'failed' AND source = 'reported' AND export IS NULL AND input_tokens IS NULL;
UPDATE attempts SET unknown_reason = CASE WHEN price_version IS NULL THEN 'price' ELSE 'unreported' END
WHERE cost_nano IS NULL AND fate <> 'open' AND (price_version IS NULL OR source = 'unknown');
DROP VIEW attempts_v1;
CREATE VIEW attempts_v1 AS SELECT
    attempt_id, request_id, at_ms, provider, model, fate, input_tokens, cached_input_tokens,
    cache_write_tokens, output_tokens, reasoning_tokens, cost_low_nano, cost_nano, cost_high_nano,
    source, price_version, tokenizer,
    cache_write_1h_tokens, bound_nano, input_tokens_bound, output_tokens_bound, ended_ms,
    provider_status, provider_request_id, overshoot_nano, reconciled_ms, export, service_tier, discount_ppm,
    priced_tier, unknown_reason
FROM attempts;";

/// How tiers were decided.
const DECISIONS: &str = "
ALTER TABLE requests ADD COLUMN reason TEXT;
ALTER TABLE requests ADD COLUMN confidence_ppm INTEGER;
ALTER TABLE requests ADD COLUMN needs_strong_ppm INTEGER;
ALTER TABLE requests ADD COLUMN session TEXT;
ALTER TABLE requests ADD COLUMN would_tier TEXT;
ALTER TABLE requests ADD COLUMN would_model TEXT;
ALTER TABLE requests ADD COLUMN state TEXT;
DROP VIEW requests_v1;
CREATE VIEW requests_v1 AS SELECT
    request_id, at_ms, team, key, project, pipeline, user, run, prompt, task, tier, policy, surface, model,
    status, cost_low_nano, cost_nano, cost_high_nano, 0 AS saved_nano,
    http_status, duration_ms, first_byte_ms, edits,
    reason, confidence_ppm, needs_strong_ppm, session, would_tier, would_model, state
FROM requests;";

/// What requests would have cost without us. Nobody knows that of older rows.
const COMPARISONS: &str = concat!(
    "
ALTER TABLE requests ADD COLUMN baseline_model TEXT;
ALTER TABLE requests ADD COLUMN baseline_nano INTEGER;
ALTER TABLE requests ADD COLUMN saved_fallback_nano INTEGER;
ALTER TABLE requests ADD COLUMN saved_retry_nano INTEGER;
ALTER TABLE requests ADD COLUMN saved_compress_nano INTEGER;
ALTER TABLE requests ADD COLUMN saved_cache_nano INTEGER;
ALTER TABLE requests ADD COLUMN provider_cache_nano INTEGER;
ALTER TABLE requests ADD COLUMN arm TEXT;
ALTER TABLE requests ADD COLUMN cache_lost_nano INTEGER;
ALTER TABLE requests ADD COLUMN cache_lost_to TEXT;
DROP VIEW requests_v1;
CREATE VIEW requests_v1 AS SELECT
    request_id, at_ms, team, key, project, pipeline, user, run, prompt, task, tier, policy, surface, model,
    status, cost_low_nano, cost_nano, cost_high_nano, baseline_nano - cost_nano AS saved_nano,
    http_status, duration_ms, first_byte_ms, edits,
    reason, confidence_ppm, needs_strong_ppm, session, would_tier, would_model, state,
    baseline_model, baseline_nano,
    baseline_nano - cost_nano - saved_fallback_nano - saved_retry_nano - saved_compress_nano - saved_cache_nano
        AS saved_route_nano,
    saved_fallback_nano, saved_retry_nano, saved_compress_nano, saved_cache_nano, provider_cache_nano, arm,
    cache_lost_nano, cache_lost_to
FROM requests;",
    rollup::tables!()
);

/// What requests looked like, and what their users say. Nobody knows the one of older rows.
const SKETCHES: &str = concat!(
    "
ALTER TABLE requests ADD COLUMN tools_bytes INTEGER;
ALTER TABLE requests ADD COLUMN opening_bytes INTEGER;
ALTER TABLE requests ADD COLUMN messages_bytes INTEGER;
ALTER TABLE requests ADD COLUMN common_tokens INTEGER;
ALTER TABLE requests ADD COLUMN prefix_hash INTEGER;
ALTER TABLE requests ADD COLUMN exact_hash INTEGER;
ALTER TABLE requests ADD COLUMN masked_hash INTEGER;
ALTER TABLE requests ADD COLUMN masked_system_hash INTEGER;
ALTER TABLE requests ADD COLUMN masks INTEGER;
ALTER TABLE requests ADD COLUMN read_bytes INTEGER;
ALTER TABLE requests ADD COLUMN repeated_bytes INTEGER;
DROP VIEW requests_v1;
CREATE VIEW requests_v1 AS SELECT
    request_id, at_ms, team, key, project, pipeline, user, run, prompt, task, tier, policy, surface, model,
    status, cost_low_nano, cost_nano, cost_high_nano, baseline_nano - cost_nano AS saved_nano,
    http_status, duration_ms, first_byte_ms, edits,
    reason, confidence_ppm, needs_strong_ppm, session, would_tier, would_model, state,
    baseline_model, baseline_nano,
    baseline_nano - cost_nano - saved_fallback_nano - saved_retry_nano - saved_compress_nano - saved_cache_nano
        AS saved_route_nano,
    saved_fallback_nano, saved_retry_nano, saved_compress_nano, saved_cache_nano, provider_cache_nano, arm,
    cache_lost_nano, cache_lost_to,
    tools_bytes, opening_bytes, messages_bytes, common_tokens, prefix_hash, exact_hash, masked_hash, masked_system_hash,
    masks, read_bytes, repeated_bytes
FROM requests;",
    feedback::tables!()
);

/// What Farthing's own requests are for, and what teams are charged for answers that cost nothing. Rows of earlier versions
/// have neither.
const OVERHEADS: &str = concat!(
    "
ALTER TABLE requests ADD COLUMN purpose TEXT;
ALTER TABLE requests ADD COLUMN caused_by TEXT;
ALTER TABLE requests ADD COLUMN transfer_nano INTEGER;
ALTER TABLE requests ADD COLUMN transfer_to TEXT;
DROP VIEW requests_v1;
CREATE VIEW requests_v1 AS SELECT
    request_id, at_ms, team, key, project, pipeline, user, run, prompt, task, tier, policy, surface, model,
    status, cost_low_nano, cost_nano, cost_high_nano, baseline_nano - cost_nano AS saved_nano,
    http_status, duration_ms, first_byte_ms, edits,
    reason, confidence_ppm, needs_strong_ppm, session, would_tier, would_model, state,
    baseline_model, baseline_nano,
    baseline_nano - cost_nano - saved_fallback_nano - saved_retry_nano - saved_compress_nano - saved_cache_nano
        AS saved_route_nano,
    saved_fallback_nano, saved_retry_nano, saved_compress_nano, saved_cache_nano, provider_cache_nano, arm,
    cache_lost_nano, cache_lost_to,
    tools_bytes, opening_bytes, messages_bytes, common_tokens, prefix_hash, exact_hash, masked_hash, masked_system_hash,
    masks, read_bytes, repeated_bytes, purpose, caused_by, transfer_nano, transfer_to
FROM requests;",
    rollup::added!()
);

/// Where cached prefixes broke.
const BREAKS: &str = "
ALTER TABLE requests ADD COLUMN cache_lost_at_tokens INTEGER;
CREATE INDEX requests_broken ON requests (request_id) WHERE cache_lost_to IS NOT NULL;
DROP VIEW requests_v1;
CREATE VIEW requests_v1 AS SELECT
    request_id, at_ms, team, key, project, pipeline, user, run, prompt, task, tier, policy, surface, model,
    status, cost_low_nano, cost_nano, cost_high_nano, baseline_nano - cost_nano AS saved_nano,
    http_status, duration_ms, first_byte_ms, edits,
    reason, confidence_ppm, needs_strong_ppm, session, would_tier, would_model, state,
    baseline_model, baseline_nano,
    baseline_nano - cost_nano - saved_fallback_nano - saved_retry_nano - saved_compress_nano - saved_cache_nano
        AS saved_route_nano,
    saved_fallback_nano, saved_retry_nano, saved_compress_nano, saved_cache_nano, provider_cache_nano, arm,
    cache_lost_nano, cache_lost_to,
    tools_bytes, opening_bytes, messages_bytes, common_tokens, prefix_hash, exact_hash, masked_hash, masked_system_hash,
    masks, read_bytes, repeated_bytes, purpose, caused_by, transfer_nano, transfer_to, cache_lost_at_tokens
FROM requests;";

/// The version from which on what was saved is the sum of its parts, also once an export has settled a row.
const WHOLE: u32 = 10;

/// What is written down is neither altered nor replaced, and there is an audit of who wrote it.
const GUARDS: &str = concat!(statements::guards!(), audit::tables!());

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
    if found < SCHEMA_VERSION && version(&transaction)? == SCHEMA_VERSION {
        match is_summed(&transaction)? {
            true => rollup::complete(&transaction)?,
            false => rollup::fill(&transaction)?,
        }
    }
    if found < WHOLE && version(&transaction)? == SCHEMA_VERSION {
        counterfactual::mend(&transaction)?;
    }
    transaction.commit()?;
    connection.execute_batch("PRAGMA synchronous = NORMAL")
}
