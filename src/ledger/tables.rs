//! The database side: applies merged batches together with the journal position that they end at.
//!
//! Batch and position share one transaction, so that after a crash each record has been applied exactly
//! once. A request's cost columns are always the sum of its attempts' rows: added up in memory for a
//! request born in the batch, by SQL for one that was stored before.

use std::path::Path;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use rusqlite::{CachedStatement, Connection, TransactionBehavior, params};

use crate::ids::AttemptId;
use crate::ledger::batch::{AttemptChange, Batch, RequestChange};
use crate::ledger::columns::{SketchColumns, UsageColumns, insert, nano, some, text_columns, whole};
use crate::ledger::counterfactual;
use crate::ledger::error::{LedgerError, database_error};
use crate::ledger::feedback::Said;
use crate::ledger::journal::Position;
use crate::ledger::migrate;
use crate::ledger::mirror;
use crate::ledger::objects;
use crate::ledger::record::{Amended, Reconciled};
use crate::ledger::recover::{self, Damage, Left};
use crate::ledger::retention::{self, Forgotten};
use crate::ledger::rollup::{self, Sums, counted};
use crate::ledger::schema;
use crate::ledger::sql::{
    AMEND_REQUEST, END_ATTEMPT, INSERT_ATTEMPT, INSERT_NEW_REQUEST, INSERT_REQUEST, INTERRUPT_ATTEMPTS,
    INTERRUPT_REQUESTS, MOVE_POSITION, OPEN_REQUESTS, RECONCILE_ATTEMPT, SET_APART, UPDATE_REQUEST,
};
use crate::ledger::steps::STEPS;
use crate::reply::usage::{Apart, WhyUnknown};
use crate::report::{SLOT_MS, midnight};

/// The owner's connection.
pub(super) struct Tables {
    connection: Connection,
}

impl Tables {
    /// Opens or creates the database; see [`schema::open`].
    pub(super) fn open(path: &Path) -> Result<Self, LedgerError> {
        Ok(Self { connection: schema::open(path)? })
    }

    /// The number that this ledger's journal segments carry.
    pub(super) fn ledger_number(&self) -> Result<i64, LedgerError> {
        self.connection
            .query_row("SELECT ledger FROM journal", [], |row| row.get(0))
            .map_err(database_error("read the journal position from"))
    }

    /// Opens or creates the database and brings its layout up to date, once its journal is known to be readable.
    pub(super) fn open_upgraded(path: &Path, damage: Damage) -> Result<Self, LedgerError> {
        let mut tables = Self::open(path)?;
        if tables.are_older()? {
            let journal = Left::all(path, tables.ledger_number()?, damage)?;
            recover::check_all(&journal, tables.position()?, path, damage)?;
            migrate::migrate(&mut tables.connection, STEPS).map_err(database_error("upgrade"))?;
        }
        schema::index(&mut tables.connection).map_err(database_error("upgrade"))?;
        Ok(tables)
    }

    /// The tables of a copy that nobody else knows of.
    pub(super) fn of(connection: Connection) -> Self {
        Self { connection }
    }

    /// Whether the tables were laid out by an earlier version.
    pub(super) fn are_older(&self) -> Result<bool, LedgerError> {
        let version = migrate::version(&self.connection).map_err(database_error("read"))?;
        Ok(version < schema::SCHEMA_VERSION)
    }

    /// Up to where the journal has been applied; segment 0 before there was one.
    pub(super) fn position(&self) -> Result<Position, LedgerError> {
        self.connection
            .query_row("SELECT segment, offset FROM journal", [], |row| {
                Ok(Position { segment: row.get(0)?, offset: row.get::<_, i64>(1)?.unsigned_abs() })
            })
            .map_err(database_error("read the journal position from"))
    }

    /// Applies `batch`, which ends at `position`, all or nothing.
    pub(super) fn apply(&mut self, mut batch: Batch<'_>, position: Position) -> rusqlite::Result<()> {
        // At once, since it reads before it writes: another writer in between would undo it.
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let noting = mirror::Noting::begin(&transaction, batch.records())?;
        {
            let mut writer = Writer::new(&transaction)?;
            for request in batch.requests() {
                writer.write(request)?;
            }
            for (attempt, apart) in &batch.apart {
                set_apart(&transaction, attempt, apart)?;
            }
            for word in &batch.reconciled {
                writer.reconcile(&transaction, word)?;
            }
            for amended in &batch.amended {
                writer.amend(amended)?;
            }
            for said in &batch.feedback {
                writer.feedback.write(said)?;
            }
            objects::write(&transaction, &batch.kept)?;
            writer.sums.write(&transaction)?;
        }
        noting.end(&transaction, || batch.changed())?;
        move_position(&transaction, position)?;
        transaction.commit()
    }

    /// Moves on to another segment and syncs, so that the segments before it can be deleted.
    pub(super) fn enter_segment(&mut self, position: Position) -> rusqlite::Result<()> {
        self.synced(|connection| {
            let transaction = connection.transaction()?;
            move_position(&transaction, position)?;
            transaction.commit()
        })
    }

    /// After a replay: marks what is still open as interrupted, moves on to a new segment, and syncs.
    /// Returns how many attempts and requests were interrupted.
    pub(super) fn interrupt_open(&mut self, position: Position) -> rusqlite::Result<(u64, u64)> {
        self.synced(|connection| {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let open: Vec<String> =
                transaction.prepare(OPEN_REQUESTS)?.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
            let mut sums = Sums::new(&transaction)?;
            open.iter().try_for_each(|id| sums.take(id))?;
            let attempts = transaction.execute(INTERRUPT_ATTEMPTS, [])?;
            let requests = transaction.execute(INTERRUPT_REQUESTS, [])?;
            open.iter().try_for_each(|id| sums.add(id))?;
            sums.write(&transaction)?;
            move_position(&transaction, position)?;
            transaction.execute("UPDATE journal SET program = ?1", [env!("CARGO_PKG_VERSION")])?;
            transaction.commit()?;
            Ok((attempts as u64, requests as u64))
        })
    }

    /// Deletes the rows of the months before a day; see [`retention::forget`].
    pub(super) fn forget(&mut self, first_kept: Date, zone: &TimeZone) -> rusqlite::Result<Forgotten> {
        let cut = midnight(first_kept, zone) / SLOT_MS;
        while rollup::fill_next(&mut self.connection, cut)? {}
        retention::forget(&mut self.connection, first_kept, zone, |_| true)
    }

    /// Whether a mirror lacks rows that would be forgotten; `None`: the ledger knows of no mirror.
    pub(super) fn lacks_mirror(&self, first_kept: Date, zone: &TimeZone) -> rusqlite::Result<Option<bool>> {
        mirror::lacks(&self.connection, &retention::first_id_kept(first_kept, zone))
    }

    /// Rewrites the file without its free pages, in one transaction. Needs room for a second copy on the
    /// ledger's disk and in the folder for temporary files.
    pub(super) fn vacuum(&mut self) -> rusqlite::Result<()> {
        self.connection.execute_batch("PRAGMA temp_store = FILE; VACUUM; PRAGMA temp_store = MEMORY")
    }

    /// Lets tests have a small disk.
    #[cfg(test)]
    pub(super) fn limit_pages(&self, pages: u32) {
        let limit = format!("PRAGMA max_page_count = {pages}");
        self.connection.query_row(&limit, [], |_| Ok(())).expect("it is a number");
    }

    /// Moves the write-ahead log into the database file and syncs it.
    pub(super) fn checkpoint(&mut self) -> rusqlite::Result<()> {
        self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
    }

    /// As [`Self::checkpoint`], without waiting for readers; whether the database file has everything now.
    pub(super) fn checkpoint_if_free(&mut self) -> rusqlite::Result<bool> {
        // https://www.sqlite.org/pragma.html#pragma_wal_checkpoint
        self.connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| {
            Ok(row.get::<_, i64>(0)? == 0 && row.get::<_, i64>(1)? == row.get::<_, i64>(2)?)
        })
    }

    /// One sync of the write-ahead log makes every commit so far durable, not only this one.
    fn synced<T>(&mut self, change: impl FnOnce(&mut Connection) -> rusqlite::Result<T>) -> rusqlite::Result<T> {
        self.connection.execute_batch("PRAGMA synchronous = FULL")?;
        let result = change(&mut self.connection);
        self.connection.execute_batch("PRAGMA synchronous = NORMAL")?;
        result
    }
}

/// Few attempts have any of it, so that the statement is prepared where it is needed.
fn set_apart(connection: &Connection, attempt: &AttemptId, apart: &Apart) -> rusqlite::Result<()> {
    let [web_search, web_fetch, code_interpreter, file_search] = apart.calls.each().map(some);
    connection
        .prepare_cached(SET_APART)?
        .execute(params![
            attempt.to_string(),
            some(apart.audio_input_tokens),
            whole(apart.cached_audio_input_tokens),
            some(apart.audio_output_tokens),
            some(apart.image_input_tokens),
            some(apart.image_output_tokens),
            web_search,
            web_fetch,
            code_interpreter,
            file_search,
        ])
        .map(drop)
}

fn move_position(connection: &Connection, position: Position) -> rusqlite::Result<()> {
    let offset = i64::try_from(position.offset).unwrap_or(i64::MAX);
    connection.prepare_cached(MOVE_POSITION)?.execute(params![position.segment, offset]).map(drop)
}

/// The statements of one transaction.
struct Writer<'c, 'k> {
    insert_attempt: CachedStatement<'c>,
    end_attempt: CachedStatement<'c>,
    insert_request: CachedStatement<'c>,
    insert_new_request: CachedStatement<'c>,
    update_request: CachedStatement<'c>,
    reconcile_attempt: CachedStatement<'c>,
    amend_request: CachedStatement<'c>,
    feedback: Said<'c>,
    sums: Sums<'c, 'k>,
    attempt_id: String,
}

impl<'c, 'k> Writer<'c, 'k> {
    fn new(connection: &'c Connection) -> rusqlite::Result<Self> {
        Ok(Self {
            insert_attempt: connection.prepare_cached(INSERT_ATTEMPT)?,
            end_attempt: connection.prepare_cached(END_ATTEMPT)?,
            insert_request: connection.prepare_cached(INSERT_REQUEST)?,
            insert_new_request: connection.prepare_cached(INSERT_NEW_REQUEST)?,
            update_request: connection.prepare_cached(UPDATE_REQUEST)?,
            reconcile_attempt: connection.prepare_cached(RECONCILE_ATTEMPT)?,
            amend_request: connection.prepare_cached(AMEND_REQUEST)?,
            feedback: Said::new(connection)?,
            sums: Sums::new(connection)?,
            attempt_id: String::with_capacity(44),
        })
    }

    fn write(&mut self, change: &RequestChange<'k>) -> rusqlite::Result<()> {
        let mut buffer = [0; uuid::fmt::Hyphenated::LENGTH];
        let id: &str = change.id.0.as_hyphenated().encode_lower(&mut buffer);
        if change.facts.is_none() || !self.write_new(id, change)? {
            return self.merge(id, change);
        }
        if counted::is_whole(change) {
            self.sums.add_whole(change);
        } else if change.closing.is_some() {
            self.sums.add(id)?;
        }
        // One that is open counts for nothing yet.
        Ok(())
    }

    /// Writes a request that nobody has heard of before; false, and nothing is written, if somebody has.
    fn write_new(&mut self, id: &str, change: &RequestChange<'_>) -> rusqlite::Result<bool> {
        if self.insert(id, change, Known::Nothing)? == 0 {
            return Ok(false);
        }
        for attempt in &change.attempts {
            self.write_attempt(id, attempt)?;
        }
        Ok(true)
    }

    /// Brings what is stored of a request up to date. Attempts first: the request's sums read them.
    fn merge(&mut self, id: &str, change: &RequestChange<'_>) -> rusqlite::Result<()> {
        self.sums.take(id)?;
        for attempt in &change.attempts {
            self.write_attempt(id, attempt)?;
        }
        if change.facts.is_some() || self.update(id, change)? == 0 {
            self.insert(id, change, Known::Perhaps)?;
        }
        self.sums.add(id)
    }

    fn write_attempt(&mut self, request_id: &str, change: &AttemptChange<'_>) -> rusqlite::Result<()> {
        self.name_attempt(request_id, change.id.ordinal);
        if change.intent.is_none() && self.end_attempt(change)? > 0 {
            return Ok(());
        }
        let (intent, outcome) = (change.intent.as_ref(), change.outcome.as_ref());
        let usage = UsageColumns::of(outcome.and_then(|outcome| outcome.usage));
        let cost = change.cost();
        let inserted = insert(
            &mut self.insert_attempt,
            params![
                self.attempt_id.as_str(),
                request_id,
                intent.map(|intent| intent.at_ms).or(outcome.map(|outcome| outcome.at_ms)),
                intent.map(|intent| intent.provider),
                intent.map(|intent| intent.model),
                outcome.and_then(|outcome| outcome.price_version).or(intent.and_then(|intent| intent.price_version)),
                nano(intent.and_then(|intent| intent.bound)),
                whole(intent.and_then(|intent| intent.input_tokens_bound)),
                whole(intent.and_then(|intent| intent.output_tokens_bound)),
                outcome.map_or("open", |outcome| outcome.fate.as_str()),
                outcome.map_or("unknown", |outcome| outcome.source.as_str()),
                cost.low.0,
                nano(cost.exact),
                nano(cost.high),
                outcome.map(|outcome| outcome.at_ms),
                outcome.and_then(|outcome| outcome.provider_status),
                outcome.and_then(|outcome| outcome.provider_request_id),
                outcome.and_then(|outcome| outcome.tokenizer),
                nano(outcome.and_then(|outcome| outcome.overshoot)),
                usage.0[0],
                usage.0[1],
                usage.0[2],
                usage.0[3],
                usage.0[4],
                usage.0[5],
                outcome.and_then(|outcome| outcome.service_tier),
                outcome.map(|outcome| outcome.discount_ppm),
                change.pricing.tier,
                change.pricing.unknown.map(WhyUnknown::as_str),
            ],
        )?;
        // An intent that is told twice must not stop the ledger, nor hide the outcome.
        if inserted == 0 { self.end_attempt(change).map(drop) } else { Ok(()) }
    }

    /// Spells an attempt's id without the formatting machinery, which showed in profiles.
    fn name_attempt(&mut self, request_id: &str, ordinal: u16) {
        self.attempt_id.clear();
        self.attempt_id.push_str(request_id);
        self.attempt_id.push('-');
        match char::from_digit(u32::from(ordinal), 10) {
            Some(digit) => self.attempt_id.push(digit),
            None => self.attempt_id.push_str(&ordinal.to_string()),
        }
    }

    /// Ends an attempt that an earlier batch began; 0 if there is none.
    fn end_attempt(&mut self, change: &AttemptChange<'_>) -> rusqlite::Result<usize> {
        let Some(outcome) = &change.outcome else { return Ok(0) };
        let usage = UsageColumns::of(outcome.usage);
        self.end_attempt.execute(params![
            self.attempt_id.as_str(),
            outcome.price_version,
            outcome.fate.as_str(),
            outcome.source.as_str(),
            outcome.cost.low.0,
            nano(outcome.cost.exact),
            nano(outcome.cost.high),
            outcome.at_ms,
            outcome.provider_status,
            outcome.provider_request_id,
            outcome.tokenizer,
            nano(outcome.overshoot),
            usage.0[0],
            usage.0[1],
            usage.0[2],
            usage.0[3],
            usage.0[4],
            usage.0[5],
            outcome.service_tier,
            outcome.discount_ppm,
            change.pricing.tier,
            change.pricing.unknown.map(WhyUnknown::as_str),
        ])
    }

    /// Inserts a request; 0 if it is known and may not be.
    fn insert(&mut self, id: &str, change: &RequestChange<'_>, known: Known) -> rusqlite::Result<usize> {
        let (facts, closing) = (change.facts.as_ref(), change.closing.as_ref());
        let decision = change.decision.as_ref();
        let first_at = || change.attempts.iter().find_map(|attempt| attempt.intent.map(|intent| intent.at_ms));
        let cost = change.cost();
        let comparison = change.comparison.as_deref();
        let sketch = SketchColumns::of(change.sketch.as_deref());
        let statement = match known {
            Known::Nothing => &mut self.insert_new_request,
            Known::Perhaps => &mut self.insert_request,
        };
        insert(
            statement,
            params![
                id,
                facts.map(|facts| facts.at_ms).or_else(first_at),
                facts.map(|facts| facts.team),
                facts.map(|facts| facts.key),
                facts.and_then(|facts| facts.project),
                facts.and_then(|facts| facts.pipeline),
                facts.and_then(|facts| facts.user),
                facts.and_then(|facts| facts.run),
                facts.and_then(|facts| facts.prompt),
                facts.and_then(|facts| facts.task),
                facts.and_then(|facts| facts.tier),
                facts.and_then(|facts| facts.policy),
                facts.map(|facts| facts.surface),
                facts.map(|facts| facts.model),
                closing.map_or("open", |closing| closing.status),
                cost.low.0,
                nano(cost.exact),
                nano(cost.high),
                closing.map(|closing| closing.http_status),
                whole(closing.map(|closing| closing.duration_ms)),
                whole(closing.and_then(|closing| closing.first_byte_ms)),
                closing.map(|closing| closing.edits),
                decision.map(|decision| decision.reason),
                decision.and_then(|decision| decision.confidence_ppm),
                decision.and_then(|decision| decision.needs_strong_ppm),
                decision.and_then(|decision| decision.session),
                decision.and_then(|decision| decision.would_tier),
                decision.and_then(|decision| decision.would_model),
                decision.and_then(|decision| decision.state),
                comparison.and_then(|found| found.model),
                nano(comparison.and_then(|found| found.baseline)),
                nano(comparison.and_then(|found| found.fallback)),
                nano(comparison.and_then(|found| found.retry)),
                comparison.map(|found| found.compress.0),
                comparison.map(|found| found.cache.0),
                nano(comparison.and_then(|found| found.provider_cache)),
                comparison.and_then(|found| found.arm),
                comparison.and_then(|found| found.lost).map(|lost| lost.cost.0),
                comparison.and_then(|found| found.lost).map(|lost| lost.culprit),
                sketch.0[0],
                sketch.0[1],
                sketch.0[2],
                sketch.0[3],
                sketch.0[4],
                sketch.0[5],
                sketch.0[6],
                sketch.0[7],
                sketch.0[8],
                sketch.0[9],
                sketch.0[10],
                change.cause.map(|cause| cause.purpose),
                change.cause.and_then(|cause| cause.request).map(|request| request.to_string()),
                change.transfer.map(|transfer| transfer.amount.0),
                change.transfer.map(|transfer| transfer.to),
                nano(change.would_cost),
            ],
        )
    }

    /// Brings a stored request up to date; 0 if there is none.
    fn update(&mut self, id: &str, change: &RequestChange<'_>) -> rusqlite::Result<usize> {
        let (closing, comparison) = (change.closing.as_ref(), change.comparison.as_deref());
        let sketch = SketchColumns::of(change.sketch.as_deref());
        self.update_request.execute(params![
            id,
            closing.map(|closing| closing.status),
            closing.map(|closing| closing.http_status),
            whole(closing.map(|closing| closing.duration_ms)),
            whole(closing.and_then(|closing| closing.first_byte_ms)),
            closing.map(|closing| closing.edits),
            comparison.and_then(|found| found.model),
            nano(comparison.and_then(|found| found.baseline)),
            nano(comparison.and_then(|found| found.fallback)),
            nano(comparison.and_then(|found| found.retry)),
            comparison.map(|found| found.compress.0),
            comparison.map(|found| found.cache.0),
            nano(comparison.and_then(|found| found.provider_cache)),
            comparison.and_then(|found| found.arm),
            comparison.and_then(|found| found.lost).map(|lost| lost.cost.0),
            comparison.and_then(|found| found.lost).map(|lost| lost.culprit),
            sketch.0[0],
            sketch.0[1],
            sketch.0[2],
            sketch.0[3],
            sketch.0[4],
            sketch.0[5],
            sketch.0[6],
            sketch.0[7],
            sketch.0[8],
            sketch.0[9],
            sketch.0[10],
            nano(change.would_cost),
        ])
    }

    fn amend(&mut self, amended: &Amended<'_>) -> rusqlite::Result<()> {
        let texts = text_columns(amended.texts.as_ref());
        let mut buffer = [0; uuid::fmt::Hyphenated::LENGTH];
        let id: &str = amended.request.0.as_hyphenated().encode_lower(&mut buffer);
        let (culprit, at) = (amended.broke.map(|broke| broke.culprit), amended.broke.and_then(|broke| broke.at_tokens));
        // Sums are kept by culprit, and by nothing else of it.
        if amended.broke.is_some() {
            self.sums.take(id)?;
        }
        let values = params![id, texts[0], texts[1], texts[2], texts[3], texts[4], culprit, whole(at)];
        self.amend_request.execute(values)?;
        if amended.broke.is_some() {
            self.sums.add(id)?;
        }
        Ok(())
    }

    fn reconcile(&mut self, connection: &Connection, word: &Reconciled<'_>) -> rusqlite::Result<()> {
        let usage = UsageColumns::known(word.tokens);
        let request_id = word.attempt.request.to_string();
        self.sums.take(&request_id)?;
        counterfactual::before(connection, word)?;
        self.reconcile_attempt.execute(params![
            word.attempt.to_string(),
            word.cost.0,
            word.at_ms,
            word.export,
            usage.0[0],
            usage.0[1],
            usage.0[2],
            usage.0[3],
            usage.0[4],
            usage.0[5],
        ])?;
        let id = word.attempt.request;
        self.update(&request_id, &RequestChange::new(id))?;
        counterfactual::after(connection, &request_id)?;
        self.sums.add(&request_id)
    }
}

/// What may be stored of a request that is inserted.
#[derive(Clone, Copy)]
enum Known {
    /// Nothing, or it is left as it is.
    Nothing,
    /// A part of it, which is brought up to date.
    Perhaps,
}
