//! Every bound of the process in one place, each with its unit.
//!
//! The configurable ones are fields of [`Limits`] (`limits:` in `farthing.yaml`); the constants
//! are bounds that no deployment should need to change.

use std::time::Duration;

/// The configurable bounds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Largest request body that is parsed, in bytes.
    pub body_bytes: usize,
    /// Largest upload that is streamed through, in bytes.
    pub upload_bytes: usize,
    /// All bodies, whole replies and unfinished events in flight together, in bytes.
    pub memory_bytes: usize,
    /// Requests in flight together.
    pub concurrency: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { body_bytes: 64 << 20, upload_bytes: 512 << 20, memory_bytes: 1 << 30, concurrency: 4096 }
    }
}

/// Largest head (request line and headers) that is read, in bytes.
pub const HEAD_BYTES_MAX: usize = 64 << 10;
/// Most headers in one request.
pub const HEADERS_MAX: usize = 128;
/// How long a client may take to send its head.
pub const HEAD_READ_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a client may take to send its whole body.
pub const BODY_READ_TIMEOUT: Duration = Duration::from_secs(300);
/// How long a client may leave what is sent to it untaken.
pub const CLIENT_STALL_TIMEOUT: Duration = Duration::from_secs(60);
/// Most connections of the agents' door; further ones wait to be accepted until one ends.
pub const CONNECTIONS_MAX: usize = 16_384;
/// Most connections of the operators' door.
pub const OPERATORS_CONNECTIONS_MAX: usize = 256;
/// How many file descriptors the process asks for at its start, where it may have them.
pub const DESCRIPTORS_WANTED: u64 = 65_536;
/// File descriptors that connections leave to the ledger, the log and the files that are read again.
pub const DESCRIPTORS_KEPT: usize = 40;
/// How much of a body that was refused unread is read and thrown away, in bytes, so that its sender gets to the answer.
pub const LINGER_BYTES_MAX: usize = 64 << 20;
/// For how long that is done.
pub const LINGER_TIMEOUT: Duration = Duration::from_secs(10);
/// Most request bodies that are on their way at once: waited for, with no place among the requests in flight yet.
pub const BODIES_ARRIVING_MAX: usize = 16_384;
/// Most of them for one key.
pub const BODIES_ARRIVING_PER_KEY_MAX: usize = 4_096;
/// How long streams that shutting down cuts have to tell their clients so.
pub const CUT_GRACE: Duration = Duration::from_secs(1);
/// How long reading a changed file again may take before that is told as a failure.
pub const RELOAD_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a client may take to agree on TLS.
pub const TLS_HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Largest file of certificates or of a key that is read, in bytes.
pub const TLS_FILE_BYTES_MAX: u64 = 4 << 20;
/// Most requests at once in one HTTP/2 connection.
pub const H2_STREAMS_MAX: u32 = 256;
/// Most streams of one HTTP/2 connection that were reset before they were looked at; a client beyond it is sent away.
pub const H2_RESETS_MAX: usize = 32;
/// How much of one HTTP/2 request may arrive before it is read, in bytes.
pub const H2_STREAM_WINDOW_BYTES: u32 = 256 << 10;
/// How much of all requests of one HTTP/2 connection may arrive before it is read, in bytes.
pub const H2_CONNECTION_WINDOW_BYTES: u32 = 1 << 20;
/// How much of one HTTP/2 reply may wait for its client, in bytes, besides one event.
pub const H2_SEND_BUFFER_BYTES: usize = 64 << 10;
/// Most calls at once in one HTTP/2 connection to a provider; most providers allow 100 or more.
pub const H2_CALLS_MAX: usize = 80;
/// Most connections' worth of calls of one provider row that are told apart; further calls share the last.
pub const H2_LANES_MAX: usize = 64;
/// How often an HTTP/2 peer is asked whether it is still there.
pub const H2_PING_INTERVAL: Duration = Duration::from_secs(30);
/// How long it may take to say so.
pub const H2_PING_TIMEOUT: Duration = Duration::from_secs(20);
/// How old an HTTP/2 connection may grow before its client is asked to open another, which spreads load anew.
pub const H2_CONNECTION_AGE_MAX: Duration = Duration::from_secs(3600);
/// How long connections without a request stay open once draining has begun, and once more after they were asked to end.
pub const DRAIN_GRACE: Duration = Duration::from_millis(250);
/// Most bodies, of requests and of answers, that are decoded at once, or gone through away from the threads that serve; each may need up to 16 MiB for the window of its encoding.
pub const DECODERS_MAX: usize = 8;
/// How long a client may pause while sending its body.
pub const BODY_READ_IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// Deepest nesting of a JSON body.
pub const JSON_DEPTH_MAX: usize = 512;
/// Largest single event of a stream, in bytes.
pub const SSE_EVENT_BYTES_MAX: usize = 8 << 20;
/// An unfinished event is counted in `memory_bytes` from this size on, in bytes: most are far smaller.
pub const SSE_EVENT_COUNTED_BYTES: usize = 64 << 10;
/// Requests that ask the ledger at once whose objects are.
pub const OBJECT_LOOKUPS_MAX: usize = 32;
/// How long is waited for an object to stand in the tables that was just made.
pub const OBJECT_PATIENCE: Duration = Duration::from_secs(2);
/// How long a provider keeps responses, in milliseconds: OpenAI's word, and a day more.
pub const RESPONSES_KEPT_MS: i64 = 31 * 24 * 3600 * 1000;
/// How much of an upload is looked at for the model that it names, in bytes.
pub const UPLOAD_BEGINNING_BYTES: usize = 64 << 10;
/// Most objects that one request may name of those that providers keep.
pub const NAMED_OBJECTS_MAX: usize = 100;
/// Largest reply that is not a stream, in bytes.
pub const REPLY_BYTES_MAX: usize = 16 << 20;
/// How long a provider's key rests that is not valid or has no money, the first time; twice as long each further time.
pub const DEAD_KEY_REST: Duration = Duration::from_secs(5 * 60);
/// The longest that one rests.
pub const DEAD_KEY_REST_MAX: Duration = Duration::from_secs(60 * 60);
/// How long a provider's key rests at least for a model for which it is limited.
pub const LIMITED_KEY_REST: Duration = Duration::from_secs(1);
/// The longest that one rests, whatever wait is asked for.
pub const LIMITED_KEY_REST_MAX: Duration = Duration::from_secs(10 * 60);
/// Most models for which it is remembered of one key that it rests.
pub const RESTING_MODELS_MAX: usize = 256;
/// Most targets of which it is remembered how busy they are, and how long their answers took.
pub const LOADED_TARGETS_MAX: usize = 4096;
/// Second attempts that requests without one leave to later ones, at most.
pub const HEDGES_SAVED_MAX: u64 = 10;
/// So many answers of a target, and it is known how long most of them take.
pub const HEDGE_SAMPLES_MIN: u32 = 20;
/// Largest reply with embeddings, in bytes: 2,048 vectors of 3,072 numbers, spelt as text.
pub const EMBEDDINGS_BYTES_MAX: usize = 160 << 20;
/// A whole reply is read on the threads that serve up to this size, in bytes: that takes about a millisecond.
pub const READ_AT_ONCE_BYTES_MAX: usize = 1 << 20;
/// Largest error body of a provider that is read and passed on, in bytes.
pub const PROVIDER_ERROR_BYTES_MAX: usize = 1 << 20;
/// Longest name taken from a header or from metadata, in bytes; longer ones are cut at a character.
pub const NAME_BYTES_MAX: usize = 128;
/// Largest body of `POST /v1/feedback`, in bytes.
pub const FEEDBACK_BODY_BYTES_MAX: usize = 16 << 10;
/// Longest note of it, in bytes.
pub const FEEDBACK_NOTE_BYTES_MAX: usize = 500;
/// Most incidents, and most hours, that one word of feedback may claim.
pub const FEEDBACK_CLAIM_MAX: u32 = 1_000;
/// Most feedback that looks at the ledger at a time; more waits.
pub const FEEDBACK_LOOKUPS_MAX: usize = 4;
/// How often a key may say something of an answer, on the average.
pub const FEEDBACK_EVERY: Duration = Duration::from_millis(100);
/// How often it may say something at once.
pub const FEEDBACK_AT_ONCE: u32 = 100;
/// How long feedback waits for the ledger to show a request that may just have ended.
pub const FEEDBACK_PATIENCE: Duration = Duration::from_secs(2);
/// Most bytes of a request's texts that a sketch reads.
pub const SKETCH_TEXT_BYTES_MAX: usize = 32 << 10;
/// Shortest line that counts as a repeated block, in bytes.
pub const SKETCH_BLOCK_BYTES_MIN: usize = 64;
/// Most beginnings of prompts that are marked in order to tell what changed in them, at up to a kilobyte each.
pub const MARKS_MAX: usize = 2_048;
/// Most tools that are marked one by one.
pub const MARKED_TOOLS_MAX: usize = 128;
/// Most bytes of bodies that wait for their sketch; further ones have none.
pub const SKETCH_WAITING_BYTES_MAX: usize = 4 << 20;
/// How long sketches gather before they are drawn together: a thread that wakes for each would cost more than they do.
pub const SKETCH_GATHER: Duration = Duration::from_millis(20);
/// Of how many bytes of bodies, in each such time, sketches are drawn though their requests have ended meanwhile; further ones have none.
pub const SKETCH_LATE_BYTES: usize = 16 << 10;
/// More requests than this in such a time are a flood, of which a quarter of those bytes is enough.
pub const SKETCH_FLOOD: usize = 64;
/// Longest name of a model that a client may ask for, in bytes.
pub const MODEL_NAME_BYTES_MAX: usize = 256;
/// Most messages whose token counts are remembered, at 24 bytes each and a little more.
pub const TOKEN_MEMO_ENTRIES_MAX: usize = 65_536;
/// Largest body whose tokens are counted, in bytes, and most bodies that wait for that or are being counted. They are not
/// held in `limits.memory_bytes`.
pub const COUNTED_BODY_BYTES_MAX: usize = 1 << 20;
/// See [`COUNTED_BODY_BYTES_MAX`].
pub const COUNTINGS_MAX: usize = 16;
/// Most models for which the ratio of reported to measured tokens is kept.
pub const CALIBRATED_MODELS_MAX: usize = 256;
/// Links of a conversation's chain of hashes that are kept: a request is known as an extension of one that had at most so
/// many messages fewer.
pub const CHAIN_LINKS: usize = 32;
/// Most system and developer messages that are classified by.
pub const INSTRUCTIONS_MAX: usize = 4;
/// Most tools that are offered whose names are read; a request with more counts as one that offers any tool.
pub const TOOL_NAMES_MAX: usize = 4096;
/// How much of a request's texts a classifier reads, in bytes of raw JSON at the start and at the end of each.
pub const CLASSIFIED_TURN_BYTES: (usize, usize) = (4 << 10, 2 << 10);
/// The same of the user turn before it, of each tool result, and of each system message.
pub const CLASSIFIED_CONTEXT_BYTES: (usize, usize) = (1 << 10, 512);
/// Most tool results that a classifier reads, the newest ones.
pub const CLASSIFIED_RESULTS_MAX: usize = 4;
/// Most user turns of which is remembered what a classifier read of them, at 1.2 KB each.
pub const CLASSIFIED_TURNS_MAX: usize = 1_024;
/// Most other texts (system prompts, earlier turns, beginnings of material), at 300 bytes each, and as many tool results,
/// at 100 bytes each.
pub const CLASSIFIED_PIECES_MAX: usize = 4_096;
/// Most tools that a classifier counts.
pub const CLASSIFIED_TOOLS_MAX: usize = 256;
/// Most bytes of a body that are gone through on a thread that serves to decide where it goes; what has more is decided
/// elsewhere, in one of the [`DECODERS_MAX`] places.
pub const DECIDED_AT_ONCE_BYTES_MAX: usize = 128 << 10;
/// How much of the tool results rules look at, in bytes of raw JSON, the newest ones first; the last user turn they
/// always see whole.
pub const RULED_RESULTS_BYTES: usize = 128 << 10;
/// Most conversations that are remembered, at 111 bytes each: what fills their tables (sixteen, twice) as far as
/// tables are filled, 6.4 MB in all.
pub const CONVERSATIONS_MAX: usize = 2 * 16 * 1_792;
/// Most models that conversations remember to have been answered by; tiers have far fewer.
pub const REMEMBERED_MODELS_MAX: usize = 1_024;
/// How long a conversation may pause before it is forgotten, and with it the version of the policy that it began with.
pub const CONVERSATION_IDLE: Duration = Duration::from_secs(30 * 60);
/// How long a conversation that never pauses that long keeps the version of the policy that it began with: a run may be
/// named alike for ever.
pub const CONVERSATION_POLICY_MAX: Duration = Duration::from_secs(4 * 3600);
/// How long a provider is taken to keep the prefix of a conversation in its cache after using it.
pub const WARM_PREFIX: Duration = Duration::from_secs(5 * 60);
/// Most ends of prompts that are remembered in order to know what another model would have had in its cache, at some 50
/// bytes each.
pub const PREFIXES_MAX: usize = 131_072;
/// Most values that one metric label takes before the rest become `other`.
pub const LABEL_VALUES_DEFAULT: usize = 200;
/// Most bytes of log lines that wait for the log writer; beyond them lines are dropped and counted.
pub const LOG_BACKLOG_BYTES_MAX: usize = 4 << 20;
/// How long an owner of a ledger that is just leaving is waited for.
pub const LEDGER_LOCK_PATIENCE: Duration = Duration::from_millis(200);
/// Most ledger records that wait for a disk that refuses writes.
pub const LEDGER_BACKLOG_RECORDS_MAX: usize = 65_536;
/// Size at which the ledger's journal starts a new segment, in bytes.
pub const JOURNAL_SEGMENT_BYTES: u64 = 64 << 20;
/// Largest single ledger record, in bytes; names are far shorter, so that only a mistake meets it.
pub const LEDGER_RECORD_BYTES_MAX: usize = 16 << 10;
/// How long a record of a ledger with `durability: power` may take to reach the disk before it counts as failed.
pub const LEDGER_SYNC_TIMEOUT: Duration = Duration::from_secs(5);
/// How many times the most that a call could cost an export may bill before it is taken for a mistake.
pub const EXPORT_BEYOND_TIMES: i64 = 10;
/// What an export may bill for any call, in nano-dollars: below this nothing is far beyond.
pub const EXPORT_ALWAYS_NANO: i64 = 1_000_000_000;
/// What it may bill for a call that nothing bounds, in nano-dollars.
pub const EXPORT_UNBOUNDED_NANO: i64 = 1_000_000_000_000;
/// Most calls of an export with a line a call: at about 700 bytes each they are what is held in memory.
pub const EXPORT_CALLS_MAX: usize = 2_000_000;
/// What is not taken for one call whatever somebody says, in nano-dollars: sums of such amounts soon end at the largest number.
pub const EXPORT_MOST_NANO: i64 = 1_000_000_000_000_000;
/// Most findings that a look through a ledger lists; all are counted.
pub const LEDGER_FINDINGS_MAX: usize = 100;
/// Most journal bytes that are applied in one transaction, which also bounds the applier's memory: some thousand requests,
/// at about 2 KB each until they are written. A request that is cut in two by the end of a batch costs three times as much.
pub const LEDGER_BATCH_BYTES_MAX: usize = 768 << 10;
/// Most problems that are told of a file; the others are counted.
pub const PROBLEMS_SHOWN_MAX: usize = 100;
/// Longest pattern that a file may have for names or paths, in bytes.
pub const PATTERN_BYTES_MAX: usize = 1024;
/// Most braces within each other in such a pattern.
pub const PATTERN_BRACES_MAX: usize = 8;
/// Longest word of a request that is taken for a path when a policy's globs are held against it, in bytes.
pub const POLICY_PATH_BYTES_MAX: usize = 4096;
/// Largest policy file that is read, in bytes.
pub const POLICY_BYTES_MAX: usize = 256 << 10;
/// Most policy files of a directory.
pub const POLICY_FILES_MAX: usize = 256;
/// Most tasks of a policy.
pub const POLICY_TASKS_MAX: usize = 256;
/// Most examples, and most tests, of a policy.
pub const POLICY_EXAMPLES_MAX: usize = 4096;
/// Most rules of a policy. A request's text is gone through for all of them together: once for keywords, once for paths.
pub const POLICY_RULES_MAX: usize = 64;
/// Most patterns in the `globs` and `tools` of a policy's rules together: a path that has the letters of all of them is
/// held against each.
pub const POLICY_PATTERNS_MAX: usize = 1024;
/// Most entries of one list in a policy's front matter.
pub const POLICY_LIST_MAX: usize = 256;
/// Most keys that are made at a prompt or through the admin API, revoked ones included.
pub const STORED_KEYS_MAX: i64 = 100_000;
/// Largest body of a request to the admin API, in bytes, and how long it may take to arrive.
pub const ADMIN_BODY_BYTES_MAX: usize = 64 << 10;
/// See [`ADMIN_BODY_BYTES_MAX`].
pub const ADMIN_BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// Most answers of the admin API that are kept for a request that is repeated, and how long.
pub const ADMIN_ANSWERS_MAX: usize = 256;
/// See [`ADMIN_ANSWERS_MAX`].
pub const ADMIN_ANSWERS_KEPT: Duration = Duration::from_secs(600);
/// Longest `Idempotency-Key`, in bytes.
pub const IDEMPOTENCY_KEY_BYTES_MAX: usize = 255;
/// How long an answer is kept for a request that is repeated under its `Idempotency-Key`.
pub const REPLAYS_KEPT: Duration = Duration::from_secs(600);
/// Largest answer that is kept so, in bytes.
pub const REPLAY_BYTES_MAX: usize = 4 << 20;
/// Most bytes of such answers; as much again may be on its way.
pub const REPLAYS_BYTES_MAX: usize = 64 << 20;
/// Most of them for one key and team.
pub const REPLAYS_OF_HOLDER_BYTES_MAX: usize = 16 << 20;
/// Highest budget, in dollars: sums of that size are far from the largest amount that a row holds.
pub const BUDGET_USD_MAX: i64 = 1_000_000_000;
/// Shortest rolling period of a budget.
pub const ROLLING_MIN: Duration = Duration::from_secs(3600);
/// Longest rolling period of a budget.
pub const ROLLING_MAX: Duration = Duration::from_secs(366 * 24 * 3600);
/// Most payers' accounts that are told apart; projects and users beyond them share one of their team's.
pub const PAYERS_MAX: usize = 65_536;
/// Time between two searches for payers that need be told apart no longer, where there are that many.
pub const PAYERS_SWEPT_EVERY: Duration = Duration::from_secs(60);
/// Most users, and projects that share one line of the configuration, whose budgets are listed.
pub const STANDINGS_MAX: usize = 1_000;
/// Most pieces of news of budgets that wait to be told; further ones are dropped.
pub const NEWS_WAITING_MAX: usize = 4096;
/// Fewest output tokens that a request whose limit is lowered to what is left is served with, unless it asks for fewer.
pub const OUTPUT_TOKENS_LEAST: u64 = 256;

/// The output limit of a request that is translated for a protocol which wants one, where neither the client names one nor
/// the price book, in tokens.
pub const OUTPUT_TOKENS_GIVEN: u64 = 4_096;
/// Largest body whose tokens are counted to hold less for it, in bytes.
pub const HELD_BODY_BYTES_MAX: usize = 4 << 20;
/// Most messages that wait for one webhook; further ones are dropped, and that is told.
pub const WEBHOOK_MESSAGES_MAX: usize = 256;
/// Most tries to send one message: about an hour.
pub const WEBHOOK_TRIES_MAX: u32 = 20;
/// Longest list of prices that is read or fetched, in bytes: LiteLLM's has about two million.
pub const PRICE_LIST_BYTES_MAX: usize = 32 << 20;
/// Most times that such a list may be said to be elsewhere.
pub const PRICE_LIST_REDIRECTS_MAX: u32 = 5;
/// Most requests that go to a mirror at once.
pub const MIRROR_BATCH_REQUESTS_MAX: u32 = 1_000;
/// How much their rows may be before a batch is full, in bytes.
pub const MIRROR_BATCH_BYTES_MAX: usize = 4 << 20;
/// How long a mirror may take for one step before it counts as gone.
pub const MIRROR_TIMEOUT: Duration = Duration::from_secs(30);
/// How often it is looked whether there is anything for a mirror.
pub const MIRROR_INTERVAL: Duration = Duration::from_millis(200);
/// How long a mirror that cannot be reached is left alone at first, and at most.
pub const MIRROR_BACKOFF: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(30));
/// How long the end of the process waits for a mirror to catch up.
pub const MIRROR_GRACE: Duration = Duration::from_secs(2);
