//! Agents that watch: log triage, health checks, run summaries, schema comparison. Routine work.

use serde_json::json;

use super::super::Label;
use super::super::chance::Chance;
use super::super::conversation::{Conversation, Wants};
use super::super::logs::{KNOWN, execution_log};
use super::super::tables::{CHANGES, TABLES, health_report, run_history, schema};
use crate::task::Tier;

const LOG_PARSING: Label =
    Label { task: "parsing-log-lines-and-sorting-them-into-categories", tier: Tier::Lightweight };
const HEALTH: Label = Label { task: "routine-health-checks-and-validation-of-formats", tier: Tier::Lightweight };
const SUMMARY: Label = Label { task: "summarising-the-history-of-runs", tier: Tier::Lightweight };
const SCHEMA_DIFF: Label = Label { task: "comparing-two-versions-of-a-schema", tier: Tier::Lightweight };

const TRIAGE_RULES: &str = "You sort execution logs of the orders_daily pipeline. Put every WARN and ERROR line into exactly one \
    category: schema (types, columns, casts), delay (freshness, late upstream, 5xx of a source), capacity (pools, memory, slow \
    statements), duplicate (keys, markers), clock, or other. INFO lines are never listed. Quote at most one line for each category, \
    the first. Count the others. Never guess at a cause: that is the work of another agent. Answer in JSON of the given shape.";

/// Batches of a log, sorted line by line; the last one holds the failure.
pub(super) fn triage_logs(talk: &mut Conversation<'_>, chance: &mut Chance) {
    let failure = chance.pick(KNOWN);
    talk.system(TRIAGE_RULES);
    talk.format(
        "triage",
        json!({"type": "object", "additionalProperties": false, "required": ["categories", "needs_diagnosis"], "properties": {
            "categories": {"type": "array", "items": {"type": "object", "additionalProperties": false,
                "required": ["name", "count", "first"], "properties": {
                    "name": {"type": "string"}, "count": {"type": "integer"}, "first": {"type": "string"}}}},
            "needs_diagnosis": {"type": "boolean"}}}),
    );
    let batches = chance.between(5, 7);
    for batch in 1..=batches {
        let last = batch == batches;
        let lines = chance.between(25, 60);
        let log = execution_log(chance, lines, last.then_some(&failure));
        talk.user(&format!("Parse and categorize batch {batch} of {batches} of the orders_daily log:\n\n{log}"));
        let mut categories = vec![
            json!({"name": "capacity", "count": chance.between(2, 6), "first": "slow statement: 184.2s, threshold 120s"}),
            json!({"name": "delay", "count": chance.between(1, 4), "first": "retrying request to orders_api after 503, attempt 2 of 5"}),
        ];
        if last {
            categories.push(
                json!({"name": "schema", "count": 1, "first": format!("{}: {}", failure.class, failure.message)}),
            );
        }
        talk.asks(
            Wants::Document,
            LOG_PARSING,
            &json!({"categories": categories, "needs_diagnosis": last}).to_string(),
        );
    }
}

/// The same small question every hour, about reports that hardly differ.
pub(super) fn check_health(talk: &mut Conversation<'_>, chance: &mut Chance) {
    talk.system(
        "You check hourly health reports of orders_daily. If every table's age is within its limit, its null ratio below 0.01 and its \
         row count change within 20%, answer with the single word HEALTHY. Otherwise answer with LATE, NULLS or VOLUME, a colon, and \
         the tables, separated by commas. No other text.",
    );
    let first = chance.between(3, 12);
    let hours = chance.between(7, 10);
    for hour in first..first + hours {
        let stale = (hour == first + hours - 1 && chance.once_in(2)).then(|| chance.pick(TABLES));
        talk.user(&format!(
            "Routine health check. Validate the format and the limits of this report:\n{}",
            health_report(hour, stale)
        ));
        let verdict = stale.map_or_else(|| "HEALTHY".to_owned(), |table| format!("LATE: {table}"));
        talk.asks(Wants::Document, HEALTH, &verdict);
    }
}

/// The history of a month for the stand-up, then the questions that people ask about it.
pub(super) fn summarise_runs(talk: &mut Conversation<'_>, chance: &mut Chance) {
    let runs = chance.between(14, 30);
    let failed = chance.between(2, 5);
    talk.system(
        "You summarise run histories of data pipelines for a stand-up. At most six bullet points, plain words, figures with their unit. \
         Name failed runs by date. Do not explain why they failed.",
    );
    talk.user(&format!(
        "Summarise the execution history of orders_daily:\n```json\n{}\n```",
        run_history(chance, runs)
    ));
    talk.asks(
        Wants::StreamWithUsage,
        SUMMARY,
        &format!(
            "- {runs} scheduled runs, {} succeeded, {failed} failed.\n- Median duration {} min, slowest {} min.\n- {} runs needed at \
             least one retry, most of them in stage_payments.\n- Rows loaded stay between 180,000 and 260,000 a day.\n- Queue time is \
             below 4 min everywhere.\n- worker-{} ran more failed tasks than any other.",
            runs - failed,
            chance.between(44, 58),
            chance.between(80, 87),
            chance.between(4, 11),
            chance.between(1, 9)
        ),
    );
    for (question, answer) in [
        (
            "List the failed runs by date with the failed task of each.",
            "- 3 Nov: merge_orders\n- 11 Nov: stage_payments\n- 17 Nov: publish_daily_totals",
        ),
        (
            "Compare the durations of this week with those of the week before, one line.",
            "This week 53 min on average, the week before 49 min: four minutes or 8 % slower.",
        ),
        (
            "Shorten the summary to one sentence for the channel topic.",
            "orders_daily: mostly green this month, a few failed runs, about 50 minutes a run, slightly slower than last week.",
        ),
        (
            "Format the failed runs as a Markdown table.",
            "| date | task |\n|---|---|\n| 3 Nov | merge_orders |\n| 11 Nov | stage_payments |\n| 17 Nov | publish_daily_totals |",
        ),
    ] {
        talk.user(question);
        talk.asks(Wants::Stream, SUMMARY, answer);
    }
}

/// One table after another: the contract on file against what the source sends now.
pub(super) fn compare_schemas(talk: &mut Conversation<'_>, chance: &mut Chance) {
    talk.system(
        "You compare two versions of a table's schema. List every difference as `column: what changed (breaking|compatible)`, one a \
         line, in order of the columns. A dropped or renamed column, a narrowed type, a changed time zone and a new NOT NULL are \
         breaking; a widened type and a new nullable column are compatible. If nothing differs, answer `no difference`.",
    );
    for _ in 0..chance.between(5, 8) {
        let (table, change, version) = (chance.pick(TABLES), chance.pick(CHANGES), chance.between(11, 60));
        let changed = (!chance.once_in(4)).then_some(&change);
        talk.user(&format!(
            "Schema diff comparison for {table}.\nLast known good:\n{}\nCurrent:\n{}",
            schema(table, version, None),
            schema(table, version + 1, changed)
        ));
        let answer = changed.map_or_else(
            || "no difference".to_owned(),
            |change| {
                format!(
                    "{}: {} ({})",
                    change.column,
                    change.words,
                    if change.breaking { "breaking" } else { "compatible" }
                )
            },
        );
        talk.asks(Wants::Document, SCHEMA_DIFF, &answer);
    }
}
