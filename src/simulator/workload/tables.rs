//! Structured material of the workload: schemas, lineage, run histories, health reports and SQL.
//!
//! JSON as tools of a warehouse and an orchestrator give it: repetitive, wide, mostly irrelevant to
//! the question at hand, which is what makes it worth compressing and caching.

use serde_json::{Value, json};

use super::chance::Chance;

/// Tables of the pipeline, upstream first.
pub(super) const TABLES: &[&str] = &[
    "raw_orders",
    "raw_customers",
    "stg_orders",
    "stg_payments",
    "stg_refunds",
    "int_orders_converted",
    "fct_orders",
    "mart_daily_totals",
];

const COLUMNS: &[(&str, &str)] = &[
    ("order_id", "VARCHAR(36)"),
    ("customer_id", "NUMBER(18,0)"),
    ("placed_at", "TIMESTAMP_TZ"),
    ("settled_at", "TIMESTAMP_NTZ"),
    ("region", "VARCHAR(8)"),
    ("currency", "VARCHAR(3)"),
    ("gross_amount", "NUMBER(18,4)"),
    ("net_amount", "NUMBER(18,4)"),
    ("discount_code", "VARCHAR(64)"),
    ("channel", "VARCHAR(16)"),
    ("is_test", "BOOLEAN"),
    ("loaded_at", "TIMESTAMP_NTZ"),
    ("source_file", "VARCHAR(512)"),
    ("schema_version", "NUMBER(6,0)"),
];

/// How a table's schema changed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Change {
    /// The column.
    pub(super) column: &'static str,
    /// What happened to it, in words.
    pub(super) words: &'static str,
    /// Whether readers break.
    pub(super) breaking: bool,
    kind: ChangeKind,
}

#[derive(Clone, Copy, Debug)]
enum ChangeKind {
    Retyped(&'static str),
    Dropped,
    Required,
}

/// Changes that occur.
pub(super) const CHANGES: &[Change] = &[
    Change {
        column: "settled_at",
        words: "type TIMESTAMP_NTZ became TIMESTAMP_TZ",
        breaking: true,
        kind: ChangeKind::Retyped("TIMESTAMP_TZ"),
    },
    Change { column: "discount_code", words: "dropped", breaking: true, kind: ChangeKind::Dropped },
    Change {
        column: "channel",
        words: "widened from VARCHAR(16) to VARCHAR(32)",
        breaking: false,
        kind: ChangeKind::Retyped("VARCHAR(32)"),
    },
    Change { column: "region", words: "nullable became required", breaking: true, kind: ChangeKind::Required },
    Change {
        column: "source_file",
        words: "widened from VARCHAR(512) to VARCHAR(1024)",
        breaking: false,
        kind: ChangeKind::Retyped("VARCHAR(1024)"),
    },
];

/// The schema of `table` in some version, with `change` applied if there is one.
pub(super) fn schema(table: &str, version: u64, change: Option<&Change>) -> String {
    let mut columns = Vec::new();
    for (ordinal, (name, kind)) in COLUMNS.iter().enumerate() {
        let (mut kind, mut nullable) = (*kind, ordinal > 3);
        match change.filter(|change| change.column == *name).map(|change| change.kind) {
            Some(ChangeKind::Dropped) => continue,
            Some(ChangeKind::Retyped(new)) => kind = new,
            Some(ChangeKind::Required) => nullable = false,
            None => {}
        }
        columns
            .push(json!({"name": name, "type": kind, "nullable": nullable, "ordinal": ordinal + 1, "comment": null}));
    }
    pretty(&json!({"table": table, "version": version, "database": "ANALYTICS", "columns": columns}))
}

/// The lineage around `table`: who reads it, directly and further down.
pub(super) fn lineage(chance: &mut Chance, table: &str) -> String {
    const READERS: &[&str] = &[
        "mart_daily_totals",
        "mart_regional_margin",
        "ml_demand_features",
        "finance_close_export",
        "crm_sync_orders",
        "dash_exec_overview",
        "mart_refund_rate",
        "ops_backlog_view",
        "tax_report_eu",
        "partner_feed_sftp",
    ];
    let mut nodes = Vec::new();
    let mut edges = Vec::new();
    for (index, reader) in READERS.iter().enumerate() {
        let above = if index < 4 { table } else { READERS[index - 4] };
        edges.push(json!({"from": above, "to": reader, "columns": ["order_id", "net_amount", "currency"]}));
        nodes.push(json!({
            "name": reader, "owner": chance.pick(&["finance", "ml", "growth", "operations"]),
            "refresh": chance.pick(&["hourly", "daily 05:00", "daily 06:30", "on demand"]),
            "tier": chance.pick(&["gold", "silver"]), "last_success": format!("2026-11-20T0{}:1{}:00Z", chance.between(4, 9), chance.between(0, 9)),
        }));
    }
    pretty(&json!({"root": table, "nodes": nodes, "edges": edges}))
}

/// `runs` runs of the pipeline as the orchestrator lists them.
pub(super) fn run_history(chance: &mut Chance, runs: u64) -> String {
    let mut rows = Vec::new();
    for back in 0..runs {
        let failed = chance.once_in(6);
        rows.push(json!({
            "run_id": format!("scheduled__2026-11-{:02}T02:00:00+00:00", 21 - back % 21),
            "state": if failed { "failed" } else { "success" },
            "duration_s": chance.between(1_900, 5_200), "rows_loaded": chance.between(180_000, 260_000),
            "retries": chance.between(0, 3), "queued_s": chance.between(1, 240),
            "failed_task": if failed { Value::from(chance.pick(&["merge_orders", "stage_payments", "publish_daily_totals"])) } else { Value::Null },
            "worker": format!("worker-{}", chance.between(1, 9)), "image": format!("orders-daily:{}", chance.hex(7)),
        }));
    }
    pretty(&json!({"dag_id": "orders_daily", "total_entries": runs, "dag_runs": rows}))
}

/// One health report; `hour` is the only thing that differs from one to the next.
pub(super) fn health_report(hour: u64, stale: Option<&str>) -> String {
    let tables: Vec<_> = TABLES
        .iter()
        .map(|table| {
            let late = stale == Some(*table);
            json!({"table": table, "age_minutes": if late { 1_640 } else { 35 }, "limit_minutes": 1_560,
                   "null_ratio": "0.0004", "row_count_change": "+1.2%", "status": if late { "late" } else { "ok" }})
        })
        .collect();
    pretty(&json!({"checked_at": format!("2026-11-21T{hour:02}:00:00Z"), "pipeline": "orders_daily", "tables": tables}))
}

/// The query behind `table`.
pub(super) fn query(table: &str) -> String {
    format!(
        "CREATE OR REPLACE VIEW {table} AS\nWITH settled AS (\n  SELECT o.order_id, o.customer_id, o.placed_at, o.region, o.currency,\n         \
         o.gross_amount - COALESCE(o.discount_amount, 0) AS net_amount\n  FROM stg_orders o\n  WHERE NOT o.is_test\n),\n\
         refunds AS (\n  SELECT order_id, SUM(amount) AS refunded, MIN(refunded_at) AS first_refund_at\n  FROM stg_refunds\n  GROUP BY order_id\n)\n\
         SELECT DATE_TRUNC('day', CONVERT_TIMEZONE('UTC', s.placed_at)) AS order_day, s.region, s.currency,\n       COUNT(*) AS orders,\n       \
         SUM(s.net_amount) AS net_amount,\n       SUM(COALESCE(r.refunded, 0)) AS refunded\nFROM settled s\nLEFT JOIN refunds r USING (order_id)\n\
         WHERE s.placed_at >= DATEADD('day', -400, CURRENT_DATE)\nGROUP BY 1, 2, 3;\n"
    )
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default()
}
