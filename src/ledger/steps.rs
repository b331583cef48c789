//! The steps from each version of the tables to the next.
//!
//! A step is released with its version and never changes: it is written out, and not made of the tables of today, so that a
//! ledger of any version comes to be what the program of the next one made of it. A test holds each against its hash.

/// What leads from the version before to the next one.
pub(super) struct Step {
    /// The version that it leads to.
    pub(super) to: u32,
    /// What is done. Views that change are dropped and created anew; columns are only ever added to them.
    pub(super) sql: &'static str,
}

/// Every step since the first version, in order.
pub(super) const STEPS: &[Step] = &[
    Step { to: 2, sql: "ALTER TABLE journal ADD COLUMN program TEXT;" },
    Step { to: 3, sql: REASONS },
    Step { to: 4, sql: DECISIONS },
    Step { to: 5, sql: COMPARISONS },
    Step { to: 6, sql: STATEMENTS },
    Step { to: 7, sql: SKETCHES },
    Step { to: 8, sql: OVERHEADS },
    Step { to: 9, sql: BREAKS },
    Step { to: 10, sql: GUARDS },
    Step { to: 11, sql: APART },
    Step { to: 12, sql: OBJECTS },
    Step { to: 13, sql: WAYS },
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
const COMPARISONS: &str = "
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
FROM requests;
CREATE TABLE rollup (
    slot INTEGER NOT NULL, team TEXT NOT NULL, project TEXT NOT NULL, pipeline TEXT NOT NULL, key TEXT NOT NULL,
    tier TEXT NOT NULL, task TEXT NOT NULL, provider TEXT NOT NULL, model TEXT NOT NULL,
    requests INTEGER NOT NULL, attempts INTEGER NOT NULL, input_tokens INTEGER NOT NULL,
    cached_input_tokens INTEGER NOT NULL, cache_write_tokens INTEGER NOT NULL, output_tokens INTEGER NOT NULL,
    reasoning_tokens INTEGER NOT NULL, cost_nano INTEGER NOT NULL, uncertain INTEGER NOT NULL,
    uncertain_low_nano INTEGER NOT NULL, uncertain_high_nano INTEGER NOT NULL, unbounded INTEGER NOT NULL,
    compared INTEGER NOT NULL, baseline_nano INTEGER NOT NULL, saved_route_nano INTEGER NOT NULL,
    saved_fallback_nano INTEGER NOT NULL, saved_retry_nano INTEGER NOT NULL, saved_compress_nano INTEGER NOT NULL,
    saved_cache_nano INTEGER NOT NULL, provider_cache_nano INTEGER NOT NULL, cache_lost_nano INTEGER NOT NULL,
    PRIMARY KEY (slot, team, project, pipeline, key, tier, task, provider, model)
) STRICT, WITHOUT ROWID;
CREATE TABLE rollup_day (
    slot INTEGER NOT NULL, team TEXT NOT NULL, project TEXT NOT NULL, pipeline TEXT NOT NULL, key TEXT NOT NULL,
    tier TEXT NOT NULL, task TEXT NOT NULL, provider TEXT NOT NULL, model TEXT NOT NULL,
    requests INTEGER NOT NULL, attempts INTEGER NOT NULL, input_tokens INTEGER NOT NULL,
    cached_input_tokens INTEGER NOT NULL, cache_write_tokens INTEGER NOT NULL, output_tokens INTEGER NOT NULL,
    reasoning_tokens INTEGER NOT NULL, cost_nano INTEGER NOT NULL, uncertain INTEGER NOT NULL,
    uncertain_low_nano INTEGER NOT NULL, uncertain_high_nano INTEGER NOT NULL, unbounded INTEGER NOT NULL,
    compared INTEGER NOT NULL, baseline_nano INTEGER NOT NULL, saved_route_nano INTEGER NOT NULL,
    saved_fallback_nano INTEGER NOT NULL, saved_retry_nano INTEGER NOT NULL, saved_compress_nano INTEGER NOT NULL,
    saved_cache_nano INTEGER NOT NULL, provider_cache_nano INTEGER NOT NULL, cache_lost_nano INTEGER NOT NULL,
    PRIMARY KEY (slot, team, project, pipeline, key, tier, task, provider, model)
) STRICT, WITHOUT ROWID;
";

/// Months that are closed, and differences that are booked.
const STATEMENTS: &str = "
CREATE TABLE statements (
    statement_id INTEGER PRIMARY KEY, team TEXT NOT NULL, month TEXT NOT NULL, timezone TEXT NOT NULL,
    from_ms INTEGER NOT NULL, until_ms INTEGER NOT NULL, closed_ms INTEGER, UNIQUE (team, month)
) STRICT;

-- `usage`: of the statement's own month; `correction`: of an earlier one; `rerate`: a difference that was booked.
CREATE TABLE statement_lines (
    statement_id INTEGER NOT NULL, line INTEGER NOT NULL, kind TEXT NOT NULL, month TEXT NOT NULL,
    project TEXT NOT NULL, provider TEXT NOT NULL, model TEXT NOT NULL, note TEXT,
    requests INTEGER NOT NULL, attempts INTEGER NOT NULL, input_tokens INTEGER NOT NULL,
    cached_input_tokens INTEGER NOT NULL, cache_write_tokens INTEGER NOT NULL, output_tokens INTEGER NOT NULL,
    reasoning_tokens INTEGER NOT NULL, cost_nano INTEGER NOT NULL, uncertain INTEGER NOT NULL,
    uncertain_low_nano INTEGER NOT NULL, uncertain_high_nano INTEGER NOT NULL, unbounded INTEGER NOT NULL,
    compared INTEGER NOT NULL, baseline_nano INTEGER NOT NULL, saved_route_nano INTEGER NOT NULL,
    saved_fallback_nano INTEGER NOT NULL, saved_retry_nano INTEGER NOT NULL, saved_compress_nano INTEGER NOT NULL,
    saved_cache_nano INTEGER NOT NULL, provider_cache_nano INTEGER NOT NULL, cache_lost_nano INTEGER NOT NULL,
    PRIMARY KEY (statement_id, line)
) STRICT, WITHOUT ROWID;

-- What re-rating booked: the difference of a day, and the statement that has it.
CREATE TABLE adjustments (
    adjustment_id INTEGER PRIMARY KEY, booked_ms INTEGER NOT NULL, day TEXT NOT NULL, team TEXT NOT NULL,
    project TEXT NOT NULL, provider TEXT NOT NULL, model TEXT NOT NULL, cost_nano INTEGER NOT NULL, note TEXT NOT NULL,
    statement_id INTEGER
) STRICT;

CREATE TRIGGER statements_stay BEFORE UPDATE ON statements WHEN OLD.closed_ms IS NOT NULL
BEGIN SELECT RAISE(ABORT, 'a closed statement never changes'); END;
CREATE TRIGGER statements_remain BEFORE DELETE ON statements
BEGIN SELECT RAISE(ABORT, 'a closed statement never changes'); END;
CREATE TRIGGER statement_lines_end BEFORE INSERT ON statement_lines
WHEN (SELECT closed_ms FROM statements WHERE statement_id = NEW.statement_id) IS NOT NULL
BEGIN SELECT RAISE(ABORT, 'a closed statement never changes'); END;
CREATE TRIGGER statement_lines_stay BEFORE UPDATE ON statement_lines
BEGIN SELECT RAISE(ABORT, 'a closed statement never changes'); END;
CREATE TRIGGER statement_lines_remain BEFORE DELETE ON statement_lines
BEGIN SELECT RAISE(ABORT, 'a closed statement never changes'); END;
CREATE TRIGGER adjustments_stay BEFORE UPDATE ON adjustments
WHEN OLD.statement_id IS NOT NULL OR NEW.cost_nano <> OLD.cost_nano OR NEW.day <> OLD.day OR NEW.team <> OLD.team
BEGIN SELECT RAISE(ABORT, 'what is booked never changes'); END;
CREATE TRIGGER adjustments_remain BEFORE DELETE ON adjustments
BEGIN SELECT RAISE(ABORT, 'what is booked never changes'); END;
";

/// What requests looked like, and what their users say. Nobody knows the one of older rows.
const SKETCHES: &str = "
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
FROM requests;
CREATE TABLE feedback (
    team TEXT NOT NULL, run INTEGER NOT NULL, subject TEXT NOT NULL, key TEXT NOT NULL,
    at_ms INTEGER NOT NULL, outcome TEXT NOT NULL, score_ppm INTEGER, resolved_incidents INTEGER,
    saved_milli_hours INTEGER, note TEXT,
    PRIMARY KEY (team, run, subject, key)
) STRICT, WITHOUT ROWID;
CREATE VIEW feedback_v1 AS SELECT
    iif(run, NULL, subject) AS request_id, iif(run, subject, NULL) AS run, team, key, at_ms, outcome, score_ppm,
    resolved_incidents, saved_milli_hours, note
FROM feedback;
CREATE INDEX requests_by_run ON requests (run, team) WHERE run IS NOT NULL;
";

/// What Farthing's own requests are for, and what teams are charged for answers that cost nothing. Rows of earlier versions
/// have neither.
const OVERHEADS: &str = "
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
FROM requests;
ALTER TABLE rollup ADD COLUMN overhead_nano INTEGER NOT NULL DEFAULT 0;
ALTER TABLE rollup ADD COLUMN transfer_nano INTEGER NOT NULL DEFAULT 0;
ALTER TABLE rollup ADD COLUMN estimated_nano INTEGER NOT NULL DEFAULT 0;
ALTER TABLE rollup ADD COLUMN estimated_low_nano INTEGER NOT NULL DEFAULT 0;
ALTER TABLE rollup ADD COLUMN estimated_high_nano INTEGER NOT NULL DEFAULT 0;
ALTER TABLE rollup ADD COLUMN discount_nano INTEGER NOT NULL DEFAULT 0;
ALTER TABLE rollup_day ADD COLUMN overhead_nano INTEGER NOT NULL DEFAULT 0;
ALTER TABLE rollup_day ADD COLUMN transfer_nano INTEGER NOT NULL DEFAULT 0;
ALTER TABLE rollup_day ADD COLUMN estimated_nano INTEGER NOT NULL DEFAULT 0;
ALTER TABLE rollup_day ADD COLUMN estimated_low_nano INTEGER NOT NULL DEFAULT 0;
ALTER TABLE rollup_day ADD COLUMN estimated_high_nano INTEGER NOT NULL DEFAULT 0;
ALTER TABLE rollup_day ADD COLUMN discount_nano INTEGER NOT NULL DEFAULT 0;
ALTER TABLE statement_lines ADD COLUMN overhead_nano INTEGER NOT NULL DEFAULT 0;
ALTER TABLE statement_lines ADD COLUMN transfer_nano INTEGER NOT NULL DEFAULT 0;
ALTER TABLE statement_lines ADD COLUMN estimated_nano INTEGER NOT NULL DEFAULT 0;
ALTER TABLE statement_lines ADD COLUMN estimated_low_nano INTEGER NOT NULL DEFAULT 0;
ALTER TABLE statement_lines ADD COLUMN estimated_high_nano INTEGER NOT NULL DEFAULT 0;
ALTER TABLE statement_lines ADD COLUMN discount_nano INTEGER NOT NULL DEFAULT 0;
CREATE TABLE rollup_user (
    slot INTEGER NOT NULL, team TEXT NOT NULL, name TEXT NOT NULL,
    requests INTEGER NOT NULL, attempts INTEGER NOT NULL, input_tokens INTEGER NOT NULL,
    cached_input_tokens INTEGER NOT NULL, cache_write_tokens INTEGER NOT NULL, output_tokens INTEGER NOT NULL,
    reasoning_tokens INTEGER NOT NULL, cost_nano INTEGER NOT NULL, uncertain INTEGER NOT NULL,
    uncertain_low_nano INTEGER NOT NULL, uncertain_high_nano INTEGER NOT NULL, unbounded INTEGER NOT NULL,
    compared INTEGER NOT NULL, baseline_nano INTEGER NOT NULL, saved_route_nano INTEGER NOT NULL,
    saved_fallback_nano INTEGER NOT NULL, saved_retry_nano INTEGER NOT NULL, saved_compress_nano INTEGER NOT NULL,
    saved_cache_nano INTEGER NOT NULL, provider_cache_nano INTEGER NOT NULL, cache_lost_nano INTEGER NOT NULL,
    overhead_nano INTEGER NOT NULL, transfer_nano INTEGER NOT NULL, estimated_nano INTEGER NOT NULL,
    estimated_low_nano INTEGER NOT NULL, estimated_high_nano INTEGER NOT NULL, discount_nano INTEGER NOT NULL,
    PRIMARY KEY (slot, team, name)
) STRICT, WITHOUT ROWID;
CREATE TABLE rollup_prompt (
    slot INTEGER NOT NULL, team TEXT NOT NULL, name TEXT NOT NULL,
    requests INTEGER NOT NULL, attempts INTEGER NOT NULL, input_tokens INTEGER NOT NULL,
    cached_input_tokens INTEGER NOT NULL, cache_write_tokens INTEGER NOT NULL, output_tokens INTEGER NOT NULL,
    reasoning_tokens INTEGER NOT NULL, cost_nano INTEGER NOT NULL, uncertain INTEGER NOT NULL,
    uncertain_low_nano INTEGER NOT NULL, uncertain_high_nano INTEGER NOT NULL, unbounded INTEGER NOT NULL,
    compared INTEGER NOT NULL, baseline_nano INTEGER NOT NULL, saved_route_nano INTEGER NOT NULL,
    saved_fallback_nano INTEGER NOT NULL, saved_retry_nano INTEGER NOT NULL, saved_compress_nano INTEGER NOT NULL,
    saved_cache_nano INTEGER NOT NULL, provider_cache_nano INTEGER NOT NULL, cache_lost_nano INTEGER NOT NULL,
    overhead_nano INTEGER NOT NULL, transfer_nano INTEGER NOT NULL, estimated_nano INTEGER NOT NULL,
    estimated_low_nano INTEGER NOT NULL, estimated_high_nano INTEGER NOT NULL, discount_nano INTEGER NOT NULL,
    PRIMARY KEY (slot, team, name)
) STRICT, WITHOUT ROWID;
CREATE TABLE rollup_cache_loss (
    slot INTEGER NOT NULL, team TEXT NOT NULL, name TEXT NOT NULL,
    requests INTEGER NOT NULL, attempts INTEGER NOT NULL, input_tokens INTEGER NOT NULL,
    cached_input_tokens INTEGER NOT NULL, cache_write_tokens INTEGER NOT NULL, output_tokens INTEGER NOT NULL,
    reasoning_tokens INTEGER NOT NULL, cost_nano INTEGER NOT NULL, uncertain INTEGER NOT NULL,
    uncertain_low_nano INTEGER NOT NULL, uncertain_high_nano INTEGER NOT NULL, unbounded INTEGER NOT NULL,
    compared INTEGER NOT NULL, baseline_nano INTEGER NOT NULL, saved_route_nano INTEGER NOT NULL,
    saved_fallback_nano INTEGER NOT NULL, saved_retry_nano INTEGER NOT NULL, saved_compress_nano INTEGER NOT NULL,
    saved_cache_nano INTEGER NOT NULL, provider_cache_nano INTEGER NOT NULL, cache_lost_nano INTEGER NOT NULL,
    overhead_nano INTEGER NOT NULL, transfer_nano INTEGER NOT NULL, estimated_nano INTEGER NOT NULL,
    estimated_low_nano INTEGER NOT NULL, estimated_high_nano INTEGER NOT NULL, discount_nano INTEGER NOT NULL,
    PRIMARY KEY (slot, team, name)
) STRICT, WITHOUT ROWID;

-- Up to which slot those three have everything; `steps` counts what was done to them besides.
CREATE TABLE rollup_named (
    one INTEGER PRIMARY KEY CHECK (one = 1), until_slot INTEGER NOT NULL, steps INTEGER NOT NULL
) STRICT;
INSERT INTO rollup_named VALUES (1, -9223372036854775808, 0);
";

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

/// What is written down is neither altered nor replaced, and there is an audit of who wrote it.
const GUARDS: &str = "
ALTER TABLE adjustments ADD COLUMN baseline_nano INTEGER NOT NULL DEFAULT 0;
ALTER TABLE adjustments ADD COLUMN saved_route_nano INTEGER NOT NULL DEFAULT 0;
ALTER TABLE adjustments ADD COLUMN saved_fallback_nano INTEGER NOT NULL DEFAULT 0;
ALTER TABLE adjustments ADD COLUMN saved_retry_nano INTEGER NOT NULL DEFAULT 0;

CREATE TRIGGER statements_are_not_replaced BEFORE INSERT ON statements
WHEN EXISTS (SELECT 1 FROM statements WHERE statement_id = NEW.statement_id OR (team = NEW.team AND month = NEW.month))
BEGIN SELECT RAISE(ABORT, 'a closed statement never changes'); END;
CREATE TRIGGER statements_keep_their_place BEFORE UPDATE ON statements
WHEN NEW.statement_id IS NOT OLD.statement_id OR NEW.team IS NOT OLD.team OR NEW.month IS NOT OLD.month
    OR NEW.timezone IS NOT OLD.timezone OR NEW.from_ms IS NOT OLD.from_ms OR NEW.until_ms IS NOT OLD.until_ms
BEGIN SELECT RAISE(ABORT, 'a closed statement never changes'); END;
DROP TRIGGER statement_lines_end;
CREATE TRIGGER statement_lines_end BEFORE INSERT ON statement_lines
WHEN NOT EXISTS (SELECT 1 FROM statements WHERE statement_id = NEW.statement_id AND closed_ms IS NULL)
    OR EXISTS (SELECT 1 FROM statement_lines WHERE statement_id = NEW.statement_id AND line = NEW.line)
BEGIN SELECT RAISE(ABORT, 'a closed statement never changes'); END;
DROP TRIGGER adjustments_stay;
CREATE TRIGGER adjustments_stay BEFORE UPDATE ON adjustments
WHEN OLD.statement_id IS NOT NULL OR NEW.adjustment_id IS NOT OLD.adjustment_id OR NEW.booked_ms IS NOT OLD.booked_ms
    OR NEW.day IS NOT OLD.day OR NEW.team IS NOT OLD.team OR NEW.project IS NOT OLD.project
    OR NEW.provider IS NOT OLD.provider OR NEW.model IS NOT OLD.model OR NEW.cost_nano IS NOT OLD.cost_nano
    OR NEW.note IS NOT OLD.note OR NEW.baseline_nano IS NOT OLD.baseline_nano
    OR NEW.saved_route_nano IS NOT OLD.saved_route_nano OR NEW.saved_fallback_nano IS NOT OLD.saved_fallback_nano
    OR NEW.saved_retry_nano IS NOT OLD.saved_retry_nano
BEGIN SELECT RAISE(ABORT, 'what is booked never changes'); END;
CREATE TRIGGER adjustments_are_not_replaced BEFORE INSERT ON adjustments
WHEN EXISTS (SELECT 1 FROM adjustments WHERE adjustment_id = NEW.adjustment_id)
BEGIN SELECT RAISE(ABORT, 'what is booked never changes'); END;

CREATE TABLE audit (
    audit_id INTEGER PRIMARY KEY, at_ms INTEGER NOT NULL, who TEXT NOT NULL, action TEXT NOT NULL, subject TEXT NOT NULL,
    sha256 TEXT NOT NULL, facts TEXT NOT NULL
) STRICT;
CREATE TRIGGER audit_never_changes BEFORE UPDATE ON audit
BEGIN SELECT RAISE(ABORT, 'rows of the audit are never changed'); END;
CREATE TRIGGER audit_is_kept BEFORE DELETE ON audit
BEGIN SELECT RAISE(ABORT, 'rows of the audit are never deleted'); END;
-- `INSERT OR REPLACE` deletes without asking the trigger above.
CREATE TRIGGER audit_is_not_replaced BEFORE INSERT ON audit
WHEN EXISTS (SELECT 1 FROM audit WHERE audit_id = NEW.audit_id)
BEGIN SELECT RAISE(ABORT, 'rows of the audit are never replaced'); END;
";

/// What is priced apart from text. Of older rows nobody knows it.
const APART: &str = "
ALTER TABLE attempts ADD COLUMN audio_input_tokens INTEGER;
ALTER TABLE attempts ADD COLUMN cached_audio_input_tokens INTEGER;
ALTER TABLE attempts ADD COLUMN audio_output_tokens INTEGER;
ALTER TABLE attempts ADD COLUMN image_input_tokens INTEGER;
ALTER TABLE attempts ADD COLUMN image_output_tokens INTEGER;
ALTER TABLE attempts ADD COLUMN web_search_calls INTEGER;
ALTER TABLE attempts ADD COLUMN web_fetch_calls INTEGER;
ALTER TABLE attempts ADD COLUMN code_interpreter_calls INTEGER;
ALTER TABLE attempts ADD COLUMN file_search_calls INTEGER;
DROP VIEW attempts_v1;
CREATE VIEW attempts_v1 AS SELECT
    attempt_id, request_id, at_ms, provider, model, fate, input_tokens, cached_input_tokens,
    cache_write_tokens, output_tokens, reasoning_tokens, cost_low_nano, cost_nano, cost_high_nano,
    source, price_version, tokenizer,
    cache_write_1h_tokens, bound_nano, input_tokens_bound, output_tokens_bound, ended_ms,
    provider_status, provider_request_id, overshoot_nano, reconciled_ms, export, service_tier, discount_ppm,
    priced_tier, unknown_reason,
    audio_input_tokens, cached_audio_input_tokens, audio_output_tokens, image_input_tokens, image_output_tokens,
    web_search_calls, web_fetch_calls, code_interpreter_calls, file_search_calls
FROM attempts;
";

/// What providers keep, and for whom.
const OBJECTS: &str = "
CREATE TABLE objects (
    id TEXT PRIMARY KEY NOT NULL, kind TEXT NOT NULL, provider TEXT NOT NULL, team TEXT NOT NULL,
    created_ms INTEGER NOT NULL, expires_ms INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX objects_by_end ON objects (expires_ms) WHERE expires_ms IS NOT NULL;
";

/// By which of a row's keys they were made. Of older ones nobody knows it.
const WAYS: &str = "
ALTER TABLE objects ADD COLUMN access TEXT;
";
