//! What SQLite is told when rows are written: the statements of `tables`.

/// Whether an attempt is one of a request's, by their ids: `<request>-<n>`. It reads a range of the primary key where an index
/// on `request_id` would be one more tree to write to for each attempt. `.` comes next after `-`.
macro_rules! its_attempts {
    ($attempt:literal, $request:literal) => {
        concat!(
            $attempt,
            ".attempt_id > ",
            $request,
            ".request_id || '-' AND ",
            $attempt,
            ".attempt_id < ",
            $request,
            ".request_id || '.'"
        )
    };
}
pub(super) use its_attempts;

/// The three cost columns as sums over the attempts of request `?1`; null if any part is null.
macro_rules! cost_sums {
    () => {
        concat!(
            "(cost_low_nano, cost_nano, cost_high_nano) = (SELECT coalesce(sum(a.cost_low_nano), 0),
            CASE WHEN count(*) = count(a.cost_nano) THEN coalesce(sum(a.cost_nano), 0) END,
            CASE WHEN count(*) = count(a.cost_high_nano) THEN coalesce(sum(a.cost_high_nano), 0) END
            FROM attempts a WHERE ",
            its_attempts!("a", "requests"),
            ")"
        )
    };
}

pub(super) const INSERT_ATTEMPT: &str = "
INSERT INTO attempts (attempt_id, request_id, at_ms, provider, model, price_version,
    bound_nano, input_tokens_bound, output_tokens_bound, fate, source,
    cost_low_nano, cost_nano, cost_high_nano, ended_ms, provider_status, provider_request_id, tokenizer,
    overshoot_nano, input_tokens, cached_input_tokens, cache_write_tokens, cache_write_1h_tokens,
    output_tokens, reasoning_tokens, service_tier, discount_ppm, priced_tier, unknown_reason)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22, ?23,
    ?24, ?25, ?26, ?27, ?28, ?29)
ON CONFLICT (attempt_id) DO NOTHING";

pub(super) const END_ATTEMPT: &str = "
UPDATE attempts SET price_version = coalesce(?2, price_version), fate = ?3, source = ?4,
    cost_low_nano = ?5, cost_nano = ?6, cost_high_nano = ?7, ended_ms = ?8, provider_status = ?9,
    provider_request_id = ?10, tokenizer = ?11, overshoot_nano = ?12, input_tokens = ?13,
    cached_input_tokens = ?14, cache_write_tokens = ?15, cache_write_1h_tokens = ?16,
    output_tokens = ?17, reasoning_tokens = ?18, service_tier = ?19, discount_ppm = ?20,
    priced_tier = ?21, unknown_reason = ?22
WHERE attempt_id = ?1";

macro_rules! insert_request {
    () => {
        "INSERT INTO requests (request_id, at_ms, team, key, project, pipeline, user, run, prompt, task, tier, policy,
        surface, model, status, cost_low_nano, cost_nano, cost_high_nano, http_status, duration_ms,
        first_byte_ms, edits, reason, confidence_ppm, needs_strong_ppm, session, would_tier, would_model, state,
        baseline_model, baseline_nano, saved_fallback_nano, saved_retry_nano, saved_compress_nano, saved_cache_nano,
        provider_cache_nano, arm, cache_lost_nano, cache_lost_to, tools_bytes, opening_bytes, messages_bytes,
        common_tokens, prefix_hash, exact_hash, masked_hash, masked_system_hash, masks, read_bytes, repeated_bytes,
        purpose, caused_by, transfer_nano, transfer_to, would_cost_nano)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22, ?23,
        ?24, ?25, ?26, ?27, ?28, ?29, ?30, ?31, ?32, ?33, ?34, ?35, ?36, ?37, ?38, ?39, ?40, ?41, ?42, ?43,
        ?44, ?45, ?46, ?47, ?48, ?49, ?50, ?51, ?52, ?53, ?54, ?55)
    ON CONFLICT (request_id) DO "
    };
}

/// Of a request whose beginning a batch has.
pub(super) const INSERT_NEW_REQUEST: &str = concat!(insert_request!(), "NOTHING");

pub(super) const INSERT_REQUEST: &str = concat!(
    insert_request!(),
    "UPDATE SET
        at_ms = coalesce(at_ms, excluded.at_ms), team = coalesce(team, excluded.team),
        status = CASE WHEN excluded.status = 'open' THEN status ELSE excluded.status END,
        http_status = coalesce(excluded.http_status, http_status),
        duration_ms = coalesce(excluded.duration_ms, duration_ms), first_byte_ms = coalesce(excluded.first_byte_ms, first_byte_ms),
        edits = coalesce(excluded.edits, edits), baseline_model = coalesce(excluded.baseline_model, baseline_model),
        baseline_nano = coalesce(excluded.baseline_nano, baseline_nano),
        saved_fallback_nano = coalesce(excluded.saved_fallback_nano, saved_fallback_nano),
        saved_retry_nano = coalesce(excluded.saved_retry_nano, saved_retry_nano),
        saved_compress_nano = coalesce(excluded.saved_compress_nano, saved_compress_nano),
        saved_cache_nano = coalesce(excluded.saved_cache_nano, saved_cache_nano),
        transfer_nano = coalesce(excluded.transfer_nano, transfer_nano), transfer_to = coalesce(excluded.transfer_to, transfer_to),
        would_cost_nano = coalesce(excluded.would_cost_nano, would_cost_nano), ",
    cost_sums!()
);

pub(super) const UPDATE_REQUEST: &str = concat!(
    "UPDATE requests SET status = coalesce(?2, status), http_status = coalesce(?3, http_status),
        duration_ms = coalesce(?4, duration_ms), first_byte_ms = coalesce(?5, first_byte_ms),
        edits = coalesce(?6, edits), baseline_model = coalesce(?7, baseline_model),
        baseline_nano = coalesce(?8, baseline_nano), saved_fallback_nano = coalesce(?9, saved_fallback_nano),
        saved_retry_nano = coalesce(?10, saved_retry_nano), saved_compress_nano = coalesce(?11, saved_compress_nano),
        saved_cache_nano = coalesce(?12, saved_cache_nano), provider_cache_nano = coalesce(?13, provider_cache_nano),
        arm = coalesce(?14, arm), cache_lost_nano = coalesce(?15, cache_lost_nano),
        cache_lost_to = coalesce(?16, cache_lost_to), tools_bytes = coalesce(?17, tools_bytes),
        opening_bytes = coalesce(?18, opening_bytes), messages_bytes = coalesce(?19, messages_bytes),
        common_tokens = coalesce(?20, common_tokens), prefix_hash = coalesce(?21, prefix_hash),
        exact_hash = coalesce(?22, exact_hash), masked_hash = coalesce(?23, masked_hash),
        masked_system_hash = coalesce(?24, masked_system_hash), masks = coalesce(?25, masks),
        read_bytes = coalesce(?26, read_bytes), repeated_bytes = coalesce(?27, repeated_bytes),
        would_cost_nano = coalesce(?28, would_cost_nano), ",
    cost_sums!(),
    " WHERE request_id = ?1"
);

pub(super) const RECONCILE_ATTEMPT: &str = "
UPDATE attempts SET source = 'reported', unknown_reason = NULL, cost_low_nano = ?2, cost_nano = ?2, cost_high_nano = ?2,
    overshoot_nano = CASE WHEN ?2 > bound_nano THEN ?2 - bound_nano END, reconciled_ms = ?3, export = ?4,
    input_tokens = coalesce(?5, input_tokens), cached_input_tokens = coalesce(?6, cached_input_tokens),
    cache_write_tokens = coalesce(?7, cache_write_tokens), cache_write_1h_tokens = coalesce(?8, cache_write_1h_tokens),
    output_tokens = coalesce(?9, output_tokens), reasoning_tokens = coalesce(?10, reasoning_tokens),
    tokenizer = CASE WHEN ?9 IS NULL THEN tokenizer END
WHERE attempt_id = ?1";

pub(super) const SET_APART: &str = "
UPDATE attempts SET audio_input_tokens = ?2, cached_audio_input_tokens = ?3, audio_output_tokens = ?4,
    image_input_tokens = ?5, image_output_tokens = ?6, web_search_calls = ?7, web_fetch_calls = ?8,
    code_interpreter_calls = ?9, file_search_calls = ?10
WHERE attempt_id = ?1";

pub(super) const AMEND_REQUEST: &str = "
UPDATE requests SET masked_hash = coalesce(?2, masked_hash), masked_system_hash = coalesce(?3, masked_system_hash),
    masks = coalesce(?4, masks), read_bytes = coalesce(?5, read_bytes), repeated_bytes = coalesce(?6, repeated_bytes),
    cache_lost_to = coalesce(?7, cache_lost_to), cache_lost_at_tokens = coalesce(?8, cache_lost_at_tokens)
WHERE request_id = ?1";

pub(super) const OPEN_REQUESTS: &str = "SELECT request_id FROM requests WHERE status = 'open'
    UNION SELECT request_id FROM attempts WHERE fate = 'open'";

pub(super) const INTERRUPT_ATTEMPTS: &str = "
UPDATE attempts SET fate = 'interrupted', source = 'unknown', cost_low_nano = 0, cost_nano = NULL,
    cost_high_nano = bound_nano, unknown_reason = CASE WHEN price_version IS NULL THEN 'price' ELSE 'unreported' END
WHERE fate = 'open'";

pub(super) const INTERRUPT_REQUESTS: &str =
    concat!("UPDATE requests SET status = 'interrupted', ", cost_sums!(), " WHERE status = 'open'");

pub(super) const MOVE_POSITION: &str = "UPDATE journal SET segment = ?1, offset = ?2 WHERE one = 1";
