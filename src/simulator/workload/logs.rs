//! Pasted text of the workload: execution logs, tracebacks, diffs and source files.
//!
//! Everything is made up from a few facts about the failure at hand, so that the logs of one session
//! agree with each other, and varied by chance, so that no two sessions paste the same bytes.

use super::chance::Chance;

/// What went wrong in one run of the pipeline.
#[derive(Clone, Copy, Debug)]
pub(super) struct Failure {
    /// The component that failed.
    pub(super) component: &'static str,
    /// The table that it works on.
    pub(super) table: &'static str,
    /// The column at fault.
    pub(super) column: &'static str,
    /// The error's class.
    pub(super) class: &'static str,
    /// What the log says last.
    pub(super) message: &'static str,
    /// What really happened.
    pub(super) cause: &'static str,
}

/// Failures whose pattern is known.
pub(super) const KNOWN: &[Failure] = &[
    Failure {
        component: "stage_payments",
        table: "stg_payments",
        column: "settled_at",
        class: "pyarrow.lib.ArrowInvalid",
        message: "Could not convert '2026-11-21T02:14:07+01:00' with type str: tried to convert to timestamp[us]",
        cause: "the payment service began to send local offsets after its release on Friday; the reader still assumes UTC",
    },
    Failure {
        component: "merge_orders",
        table: "fct_orders",
        column: "order_id",
        class: "snowflake.connector.errors.ProgrammingError",
        message: "100090 (42P18): Duplicate row detected during DML action on key order_id",
        cause: "the retry of extract_orders loaded the 02:00 partition twice because its marker was written after the commit",
    },
    Failure {
        component: "extract_customers",
        table: "raw_customers",
        column: "region_code",
        class: "KeyError",
        message: "'region_code'",
        cause: "the customer export renamed region_code to region in version 41 of its schema without a deprecation period",
    },
    Failure {
        component: "publish_daily_totals",
        table: "mart_daily_totals",
        column: "net_amount",
        class: "AssertionError",
        message: "freshness check: newest row of stg_refunds is 27h12m old, wanted at most 26h",
        cause: "the refunds export started four hours late, behind a vacuum on the source replica, so the freshness gate stopped the publish",
    },
    Failure {
        component: "enrich_currency",
        table: "int_orders_converted",
        column: "fx_rate",
        class: "decimal.InvalidOperation",
        message: "[<class 'decimal.DivisionByZero'>] while converting JPY for 214 rows",
        cause: "the rates feed delivered 0 instead of null for a bank holiday in Tokyo",
    },
];

/// Failures that are in no runbook.
pub(super) const NOVEL: &[Failure] = &[
    Failure {
        component: "merge_orders",
        table: "fct_orders",
        column: "order_line_hash",
        class: "RuntimeError",
        message: "checksum of partition 2026-11-20 changed between two reads of the same snapshot id",
        cause: "two writers share one snapshot id: the maintenance job rewrites files under the id that the merge has pinned, since both take it from the same cached metadata pointer",
    },
    Failure {
        component: "allocate_shipping",
        table: "int_shipping_alloc",
        column: "carrier_slot",
        class: "SystemError",
        message: "worker 7 produced rows for a key range that was never assigned to it",
        cause: "the autoscaler replaced worker 7 in the middle of a shuffle and the replacement inherited its number but not its epoch, so late fetches were answered with another job's blocks",
    },
];

const SOURCES: &[&str] =
    &["scheduler", "extract_orders", "stage_payments", "merge_orders", "dq_gate", "publish", "warehouse"];
const CALM: &[&str] = &[
    "task instance is queued, pool default_pool has 12 open slots",
    "fetched page of 5000 rows from orders_api cursor advanced",
    "heartbeat recorded, lease extended by 30s",
    "wrote parquet part with snappy compression, row groups closed",
    "statement finished, result cached for the session",
    "xcom pushed key=row_count",
    "dependencies all met for dep_context=requeueable deps",
    "partition marker is present, skipping listing",
];
const UNEASY: &[&str] = &[
    "retrying request to orders_api after 503, attempt 2 of 5",
    "pool default_pool is at 95% of its slots",
    "slow statement: 184.2s, threshold 120s",
    "schema registry answered from a stale replica, version behind by 1",
    "memory at 87% of the container limit, spilling to disk",
    "clock of worker differs from coordinator by 1.8s",
];

/// `lines` lines of an execution log that ends in `failure`, if there is one.
pub(super) fn execution_log(chance: &mut Chance, lines: u64, failure: Option<&Failure>) -> String {
    let (hour, mut second, run) = (chance.between(1, 5), chance.between(0, 600), chance.hex(8));
    let mut log = String::new();
    for _ in 0..lines {
        second += chance.between(0, 9);
        let stamp =
            format!("2026-11-21T{hour:02}:{:02}:{:02}.{:03}Z", second / 60 % 60, second % 60, chance.between(0, 999));
        let (level, text) =
            if chance.once_in(7) { ("WARN ", chance.pick(UNEASY)) } else { ("INFO ", chance.pick(CALM)) };
        let source = chance.pick(SOURCES);
        log.push_str(&format!(
            "{stamp} {level} [{source}] run={run} {text} (rows={} ms={})\n",
            chance.between(0, 90_000),
            chance.between(1, 4_000)
        ));
    }
    if let Some(failure) = failure {
        log.push_str(&traceback(chance, failure));
    }
    log
}

/// The traceback that ends a failed run.
pub(super) fn traceback(chance: &mut Chance, failure: &Failure) -> String {
    let Failure { component, table, column, class, message, .. } = failure;
    let (a, b, c) = (chance.between(40, 120), chance.between(121, 240), chance.between(20, 90));
    format!(
        "Traceback (most recent call last):\n  File \"/srv/pipelines/orders_daily/runner.py\", line {a}, in execute\n    \
         result = component.run(context)\n  File \"/srv/pipelines/orders_daily/{component}.py\", line {b}, in run\n    \
         frame = self.load(context.partition, table=\"{table}\")\n  File \"/srv/pipelines/lib/columns.py\", line {c}, in cast\n    \
         return source[\"{column}\"].cast(target)\n{class}: {message}\nERROR [{component}] exit code 1 after {} s\n",
        chance.between(12, 900)
    )
}

/// The last commits of a component.
pub(super) fn git_log(chance: &mut Chance, component: &str) -> String {
    const SUBJECTS: &[&str] = &[
        "read the partition marker before the listing",
        "raise the page size of the orders API to 5000",
        "drop the unused coupon columns",
        "pin pyarrow to 21.2",
        "write the marker after the commit, not before",
        "log the row count of every stage",
        "treat missing refunds as zero, not null",
        "split the merge by customer region",
    ];
    const AUTHORS: &[&str] = &["mira", "tobias", "adaeze", "agent[orders-fixer]", "jun"];
    let mut log = String::new();
    for days in 1..=8 {
        let (hash, author, subject) = (chance.hex(9), chance.pick(AUTHORS), chance.pick(SUBJECTS));
        let touched = chance.between(1, 64);
        log.push_str(&format!(
            "{hash} {author} {days} days ago  {component}: {subject}  (+{touched} -{})\n",
            touched / 2
        ));
    }
    log
}

/// The component's source, as a tool would show it.
pub(super) fn source_file(failure: &Failure) -> String {
    let Failure { component, table, column, .. } = failure;
    format!(
        "\"\"\"{component}: one stage of orders_daily.\"\"\"\nfrom __future__ import annotations\n\nimport pyarrow as pa\n\n\
         from pipelines.lib import columns, markers, warehouse\n\nSCHEMA = pa.schema([\n    (\"order_id\", pa.string()),\n    \
         (\"{column}\", pa.timestamp(\"us\")),\n    (\"amount\", pa.decimal128(18, 4)),\n    (\"currency\", pa.string()),\n])\n\n\n\
         class Component:\n    table = \"{table}\"\n\n    def run(self, context):\n        if markers.present(context.partition, self.table):\n            \
         return context.skip(\"already loaded\")\n        frame = self.load(context.partition, table=self.table)\n        \
         checked = columns.cast_all(frame, SCHEMA)\n        with warehouse.transaction() as tx:\n            \
         tx.merge(self.table, checked, keys=[\"order_id\"])\n        markers.write(context.partition, self.table)\n        \
         return context.done(rows=checked.num_rows)\n\n    def load(self, partition, table):\n        \
         source = warehouse.read(table, partition)\n        return columns.cast(source, \"{column}\", SCHEMA.field(\"{column}\").type)\n"
    )
}

/// A unified diff that mends `failure`.
pub(super) fn patch(failure: &Failure) -> String {
    let Failure { component, column, .. } = failure;
    format!(
        "--- a/orders_daily/{component}.py\n+++ b/orders_daily/{component}.py\n@@ -27,3 +27,8 @@ class Component:\n     def load(self, partition, table):\n         \
         source = warehouse.read(table, partition)\n-        return columns.cast(source, \"{column}\", SCHEMA.field(\"{column}\").type)\n+        \
         if \"{column}\" not in source.column_names:\n+            raise context_error(\"{column}\", found=source.column_names, partition=partition)\n+        \
         normal = columns.normalise(source, \"{column}\")\n+        return columns.cast(normal, \"{column}\", SCHEMA.field(\"{column}\").type)\n"
    )
}

/// What a test run prints.
pub(super) fn test_run(chance: &mut Chance, component: &str, failed: u64) -> String {
    let mut text = format!("tests/test_{component}.py ");
    let passed = chance.between(18, 41);
    text.push_str(&".".repeat(usize::try_from(passed).unwrap_or(0)));
    for number in 0..failed {
        text.push_str(&format!(
            "F\n____ test_{component}_{} ____\n>       assert loaded.num_rows == expected\nE       assert {} == {}\n",
            ["late_partition", "mixed_offsets", "empty_page"][usize::try_from(number % 3).unwrap_or(0)],
            chance.between(0, 900),
            chance.between(901, 1_000)
        ));
    }
    text.push_str(&format!(
        "\n==== {failed} failed, {passed} passed in {}.{:02}s ====\n",
        chance.between(2, 19),
        chance.between(0, 99)
    ));
    text
}
