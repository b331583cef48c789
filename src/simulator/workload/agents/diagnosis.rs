//! Agents that explain: root causes, failures that nobody has seen, the impact of a change. With tools.

use serde_json::json;

use super::super::Label;
use super::super::chance::Chance;
use super::super::conversation::{Conversation, Tool, Wants};
use super::super::logs::{Failure, KNOWN, NOVEL, execution_log, git_log, source_file};
use super::super::tables::{CHANGES, lineage, run_history, schema};
use crate::task::Tier;

const ROOT_CAUSE: Label = Label { task: "finding-a-root-cause-across-several-logs", tier: Tier::Reasoning };
const IMPACT: Label = Label { task: "assessing-impact-along-a-complex-lineage", tier: Tier::Reasoning };
const NOVEL_FAILURE: Label = Label { task: "diagnosing-failures-that-match-no-known-pattern", tier: Tier::Frontier };

/// The rules that every diagnosing agent of the platform team loads, needed or not.
const ON_CALL_RULES: &str = "You are the first responder for failures of the orders_daily pipeline. You work from evidence: each claim in \
your report names the log line, commit or schema version that supports it.\n\n## What you may do\nRead production logs, the run history, \
schemas and lineage. Read and write staging. Open pull requests. Post to #data-oncall. You may not write to production, merge, or \
change downstream consumers.\n\n## Step budget\nTen tool calls. When they are spent, stop, post what you know and what you would have \
tried next, and open a draft pull request labelled `needs human review`. Never repeat a call that failed in the same way twice.\n\n## \
How the pipeline is built\nextract_orders and extract_customers read the operational replica at 02:00 UTC, a partition a day. The \
stage_* components cast and check. enrich_currency joins the rates of the day before. merge_orders is the only writer of fct_orders and \
merges by order_id. publish_daily_totals runs a freshness gate over everything upstream and publishes at 05:00 UTC at the latest. Markers \
in s3://orders-markers say which partition is loaded; a marker without rows or rows without a marker is always worth a look.\n\n## The \
usual suspects\n1. Schema drift: a cast or a missing column, close to a new version in the registry. Compare the schema before reading \
code.\n2. Upstream delay: the freshness gate, retries against a source, a late marker. Ask when the source finished, not when we \
started.\n3. Code: a commit to the failing component within three days. Read its diff before anything else.\n4. Capacity: memory, pools, \
spilling. Only if the same data passed on another day.\n\n## Reports\nFirst line: the cause in one sentence, or `unknown`. Then: evidence \
as a list; what is affected; the smallest change that mends it; how to verify it in staging; what would prove this report wrong. Under \
three hundred words. No apologies, no restating of the task. Times in UTC, durations in minutes. Money in dollars.\n\n## Style of SQL in \
reports\nUpper-case keywords, one clause a line, explicit column lists, no SELECT *. Qualify every column if there is more than one \
table. Prefer QUALIFY to a nested ROW_NUMBER.\n\n## Style of Python in reports\nType hints, no bare except, standard logging, no print, \
pathlib for paths. Show only the lines that change.";

const TOOLS: &[Tool] = &[
    (
        "read_log",
        "Reads the execution log of one component of one run.",
        &[("component", "Name of the component"), ("run_id", "Run, as the orchestrator spells it")],
    ),
    (
        "run_history",
        "Lists the last runs of a pipeline with state and duration.",
        &[("pipeline", "Name of the pipeline"), ("limit", "How many runs, as digits")],
    ),
    (
        "schema_of",
        "Reads one version of a table's schema from the registry.",
        &[("table", "Name of the table"), ("version", "Version number, or latest")],
    ),
    (
        "lineage_of",
        "Reads who depends on a table, directly and further down.",
        &[("table", "Name of the table"), ("depth", "How many steps, as digits")],
    ),
    ("git_history", "Lists the last commits to a component.", &[("component", "Name of the component")]),
    ("read_source", "Reads the source file of a component.", &[("component", "Name of the component")]),
    ("query_staging", "Runs one read-only statement on staging.", &[("sql", "The statement")]),
    (
        "post_message",
        "Posts to a channel.",
        &[("channel", "Name of the channel with #"), ("text", "The message, in Markdown")],
    ),
];

fn trigger(chance: &mut Chance, failure: &Failure) -> (String, String) {
    let run = format!("scheduled__2026-11-21T02:{:02}:00+00:00", chance.between(0, 59));
    let text = format!(
        "orders_daily failed. Component: {}. Exit code: 1. Run: {run}. Error: {}: {}.",
        failure.component, failure.class, failure.message
    );
    (run, text)
}

fn log_call(
    chance: &mut Chance,
    component: &'static str,
    run: &str,
    failure: Option<&Failure>,
) -> (&'static str, serde_json::Value, String) {
    let lines = chance.between(20, 55);
    ("read_log", json!({"component": component, "run_id": run}), execution_log(chance, lines, failure))
}

/// Several logs at once, then schema and history, then the cause.
pub(super) fn find_root_cause(talk: &mut Conversation<'_>, chance: &mut Chance) {
    let failure = chance.pick(KNOWN);
    let (run, text) = trigger(chance, &failure);
    talk.system(ON_CALL_RULES);
    talk.tools(TOOLS);
    talk.user(&format!("{text} Find the root cause across the logs of all components involved."));
    let logs = vec![
        log_call(chance, failure.component, &run, Some(&failure)),
        log_call(chance, "extract_orders", &run, None),
        log_call(chance, "publish_daily_totals", &run, None),
    ];
    talk.calls(Wants::Document, ROOT_CAUSE, logs);
    let change = CHANGES[0];
    let lookups = vec![
        ("schema_of", json!({"table": failure.table, "version": "latest"}), schema(failure.table, 41, Some(&change))),
        ("schema_of", json!({"table": failure.table, "version": "40"}), schema(failure.table, 40, None)),
    ];
    talk.calls(Wants::Document, ROOT_CAUSE, lookups);
    talk.calls(
        Wants::Document,
        ROOT_CAUSE,
        vec![("git_history", json!({"component": failure.component}), git_log(chance, failure.component))],
    );
    talk.calls(
        Wants::Document,
        ROOT_CAUSE,
        vec![(
            "query_staging",
            json!({"sql": format!("SELECT COUNT(*) FROM {} WHERE {} IS NULL", failure.table, failure.column)}),
            format!("{{\"rows\":[[{}]]}}", chance.between(0, 900)),
        )],
    );
    talk.asks(Wants::StreamWithUsage, ROOT_CAUSE, &report(&failure));
    talk.user("Which log line did you rely on most, and what would prove you wrong?");
    talk.asks(
        Wants::Stream,
        ROOT_CAUSE,
        &format!(
            "The last line of {}: `{}`. Everything before it ran as on other days. I would be wrong if the run of 20 November, which \
             succeeded, had read the same values of {}; the log of that day shows the old form.",
            failure.component, failure.message, failure.column
        ),
    );
    talk.user("Write the message for #data-oncall: cause, effect, who acts next.");
    talk.asks(
        Wants::Document,
        ROOT_CAUSE,
        &format!(
            "orders_daily stopped in {} at 02:00 UTC. Cause: {}. Nothing wrong was published; today's totals are late. Next: the \
             owner of {} reviews the draft pull request, then we replay one partition (about 50 minutes).",
            failure.component, failure.cause, failure.table
        ),
    );
}

fn report(failure: &Failure) -> String {
    let Failure { component, table, column, class, cause, .. } = failure;
    format!(
        "Cause: {cause}.\n\nEvidence\n- {component} stops with {class} on {table}.{column}.\n- The schema of {table} went from version 40 \
         to 41 on the day before; {column} is the only column that differs.\n- No commit to {component} in the last three days touches \
         this path.\n\nAffected: {table} and everything that the freshness gate waits for; nothing wrong was published.\n\nSmallest \
         change: normalise {column} on read, and fail with a message that names the partition.\n\nVerify: replay the partition of 21 \
         November in staging and compare the row count with the source.\n\nWrong if: a replay of the partition of 20 November fails in \
         the same way."
    )
}

/// An error that no runbook knows; hypotheses are formed and dropped.
pub(super) fn diagnose_novel_failure(talk: &mut Conversation<'_>, chance: &mut Chance) {
    let failure = chance.pick(NOVEL);
    let (run, text) = trigger(chance, &failure);
    talk.system(ON_CALL_RULES);
    talk.tools(TOOLS);
    talk.user(&format!("{text} No runbook has this pattern and nobody on the team has seen it before. Diagnose it."));
    let first = log_call(chance, failure.component, &run, Some(&failure));
    talk.calls(Wants::StreamWithUsage, NOVEL_FAILURE, vec![first]);
    let history = run_history(chance, 10);
    talk.calls(
        Wants::StreamWithUsage,
        NOVEL_FAILURE,
        vec![
            ("run_history", json!({"pipeline": "orders_daily", "limit": "10"}), history),
            ("read_source", json!({"component": failure.component}), source_file(&failure)),
        ],
    );
    let other = log_call(chance, "enrich_currency", &run, None);
    talk.calls(Wants::StreamWithUsage, NOVEL_FAILURE, vec![other]);
    talk.asks(
        Wants::StreamWithUsage,
        NOVEL_FAILURE,
        &format!(
            "Most likely: {}.\n\nI considered three explanations. (1) A plain retry after a timeout: excluded, since the attempt number in \
             the log is 1 throughout. (2) Corrupt storage: unlikely, because the second read is consistent in itself. (3) Two parties \
             that act under one identity: it is the only one that explains why the error names {} and why the run before it passed.\n\n\
             Test that decides: start the component with maintenance paused; if it passes three times, (3) stands.",
            failure.cause, failure.column
        ),
    );
    talk.user("We paused maintenance and it passed three times. What should we change so that it cannot happen again?");
    talk.asks(
        Wants::StreamWithUsage,
        NOVEL_FAILURE,
        &format!(
            "Give each writer its own identity and let the reader check it: pin the identity together with its epoch at the start of {}, \
             compare both before the commit, and fail early if they differ. Until that is released, keep maintenance out of the window \
             from 02:00 to 05:00 UTC. An alert on two live holders of one identity would have found this a week ago.",
            failure.component
        ),
    );
}

/// What breaks if a column changes, through ten readers of four owners.
pub(super) fn assess_impact(talk: &mut Conversation<'_>, chance: &mut Chance) {
    let change = chance.pick(CHANGES);
    talk.system(ON_CALL_RULES);
    talk.tools(TOOLS);
    talk.user(&format!(
        "Upstream announces for fct_orders: `{}`: {}. Assess the impact along the lineage: who breaks, who is merely wrong, who must be told before Monday?",
        change.column, change.words
    ));
    let graph = lineage(chance, "fct_orders");
    talk.calls(Wants::Document, IMPACT, vec![("lineage_of", json!({"table": "fct_orders", "depth": "4"}), graph)]);
    let further = vec![
        ("schema_of", json!({"table": "fct_orders", "version": "latest"}), schema("fct_orders", 52, Some(&change))),
        ("lineage_of", json!({"table": "finance_close_export", "depth": "2"}), lineage(chance, "finance_close_export")),
    ];
    talk.calls(Wants::Document, IMPACT, further);
    talk.asks(
        Wants::StreamWithUsage,
        IMPACT,
        &format!(
            "Breaks: mart_daily_totals and finance_close_export, which read `{0}` by name. Silently wrong: ml_demand_features, because it \
             compares the day of `{0}` with the day of loading. Unaffected: crm_sync_orders, dash_exec_overview, partner_feed_sftp.\n\nTell \
             finance first: the close of November reads the export on Monday at 06:30. Then ml. The change itself is {1}.",
            change.column,
            if change.breaking { "breaking for every reader by name" } else { "compatible, so a notice is enough" }
        ),
    );
    for (question, answer) in [
        (
            "Which of these readers refresh before we are at work on Monday?",
            "finance_close_export at 06:30, mart_daily_totals at 05:00 and tax_report_eu, which reads the former. The others refresh on demand or after 09:00.",
        ),
        (
            "Write the notice to finance, three sentences.",
            "On Sunday night the orders source changes one column that your close export reads. The export of Monday 06:30 would fail or leave rows out, so we hold the change back for that table until you confirm. Please tell us by Friday noon whether the close can use Sunday's copy instead.",
        ),
    ] {
        talk.user(question);
        talk.asks(Wants::Document, IMPACT, answer);
    }
}
