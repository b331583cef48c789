-- A ledger as version 1 wrote it: its tables, a request that is done, and one whose end is still in the journal.
CREATE TABLE requests (
    request_id TEXT PRIMARY KEY NOT NULL,
    at_ms INTEGER, team TEXT, key TEXT, project TEXT, pipeline TEXT, user TEXT, run TEXT, prompt TEXT,
    task TEXT, tier TEXT, policy TEXT, surface TEXT, model TEXT,
    status TEXT NOT NULL,
    cost_low_nano INTEGER NOT NULL, cost_nano INTEGER, cost_high_nano INTEGER,
    http_status INTEGER, duration_ms INTEGER, first_byte_ms INTEGER, edits TEXT
) STRICT, WITHOUT ROWID;

CREATE TABLE attempts (
    attempt_id TEXT PRIMARY KEY NOT NULL,
    request_id TEXT NOT NULL,
    at_ms INTEGER, provider TEXT, model TEXT,
    fate TEXT NOT NULL,
    input_tokens INTEGER, cached_input_tokens INTEGER, cache_write_tokens INTEGER,
    cache_write_1h_tokens INTEGER, output_tokens INTEGER, reasoning_tokens INTEGER,
    cost_low_nano INTEGER NOT NULL, cost_nano INTEGER, cost_high_nano INTEGER,
    source TEXT NOT NULL, price_version TEXT, tokenizer TEXT,
    bound_nano INTEGER, input_tokens_bound INTEGER, output_tokens_bound INTEGER,
    ended_ms INTEGER, provider_status INTEGER, provider_request_id TEXT, overshoot_nano INTEGER,
    reconciled_ms INTEGER, export TEXT, service_tier TEXT, discount_ppm INTEGER
) STRICT, WITHOUT ROWID;

CREATE INDEX attempts_by_request ON attempts (request_id);
CREATE INDEX attempts_open ON attempts (attempt_id) WHERE fate = 'open';
CREATE INDEX requests_open ON requests (request_id) WHERE status = 'open';

-- How far the journal has been applied; `ledger` is the number that its segments carry.
CREATE TABLE journal (
    one INTEGER PRIMARY KEY CHECK (one = 1), ledger INTEGER NOT NULL,
    segment INTEGER NOT NULL, offset INTEGER NOT NULL
) STRICT;

CREATE VIEW requests_v1 AS SELECT
    request_id, at_ms, team, key, project, pipeline, user, run, prompt, task, tier, policy, surface, model,
    status, cost_low_nano, cost_nano, cost_high_nano, 0 AS saved_nano,
    http_status, duration_ms, first_byte_ms, edits
FROM requests;

CREATE VIEW attempts_v1 AS SELECT
    attempt_id, request_id, at_ms, provider, model, fate, input_tokens, cached_input_tokens,
    cache_write_tokens, output_tokens, reasoning_tokens, cost_low_nano, cost_nano, cost_high_nano,
    source, price_version, tokenizer,
    cache_write_1h_tokens, bound_nano, input_tokens_bound, output_tokens_bound, ended_ms,
    provider_status, provider_request_id, overshoot_nano, reconciled_ms, export, service_tier, discount_ppm
FROM attempts;

INSERT INTO journal (one, ledger, segment, offset) VALUES (1, 4711, 3, 32);
INSERT INTO requests (request_id, at_ms, team, key, surface, model, status, cost_low_nano, cost_nano, cost_high_nano)
VALUES ('01990000-0000-7000-8000-000000000001', 1790000000000, 'ops', '', 'chat.completions', 'auto', 'ok', 7, 7, 7),
    ('01990000-0000-7000-8000-000000000002', 1790000000001, 'ops', '', 'chat.completions', 'auto', 'open', 0, NULL, 1000);
INSERT INTO attempts (attempt_id, request_id, at_ms, provider, model, fate, source, cost_low_nano, cost_nano,
    cost_high_nano, bound_nano)
VALUES ('01990000-0000-7000-8000-000000000001-1', '01990000-0000-7000-8000-000000000001', 1790000000000, 'openai',
        'gpt-5.6-luna', 'completed', 'reported', 7, 7, 7, 1000),
    ('01990000-0000-7000-8000-000000000002-1', '01990000-0000-7000-8000-000000000002', 1790000000001, 'openai',
        'gpt-5.6-luna', 'open', 'unknown', 0, NULL, 1000, 1000);
PRAGMA application_id = 1179800648;
PRAGMA user_version = 1;
