//! What the operating manual lists is what the code has: metrics, error codes, log events.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use farthing::reply::usage::{Source, Usage};
use farthing::telemetry::metrics::{Metrics, SeriesLabels};

/// The rows of the tables under a heading of the manual, as cells; heads and rules left out.
fn rows(heading: &str) -> Vec<Vec<String>> {
    let manual = read("docs/operating.md");
    let (_, section) = manual.split_once(&format!("\n## {heading}\n")).expect("the heading");
    let section = section.split("\n## ").next().unwrap_or_default();
    let rows = section.lines().filter(|line| line.starts_with("| ")).skip(1);
    rows.map(|row| row.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()).collect()
}

/// The words between backticks.
fn names(cell: &str) -> Vec<String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

fn read(file: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).expect("a readable file")
}

/// The file without its tests.
fn code(file: &str) -> String {
    read(file).split("#[cfg(test)]").next().unwrap_or_default().to_owned()
}

/// Every source file in and under a folder of the repository.
fn sources(folder: &Path) -> Vec<String> {
    let entries = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder).read_dir().expect("a folder");
    let names = entries.map(|entry| folder.join(entry.expect("an entry").file_name()));
    names
        .flat_map(|name| match name.extension() {
            None => sources(&name),
            Some(kind) if kind == "rs" => vec![name.to_string_lossy().into_owned()],
            Some(_) => Vec::new(),
        })
        .collect()
}

/// Every metric once, with a series for each that has labels, as a scraper sees it.
fn scraped() -> String {
    let metrics = Metrics::new(10);
    let series = metrics.series(SeriesLabels {
        team: "t",
        project: None,
        tier: None,
        provider: "openai",
        model: "gpt-5.6-luna",
    });
    series.count_attempt("completed");
    series.count_tokens(&Usage::default());
    series.count_cost(1, Source::Reported);
    metrics.count_saved("route", 1);
    metrics.count_cache_lost("model", 1);
    metrics.count_would_save("t", 1);
    series.time(None, std::time::Duration::ZERO);
    metrics.count_decision(None, None, "exact-model");
    metrics.count_would(None, None, "task");
    metrics.count_request("t", "chat.completions", "ok");
    metrics.count_error("farthing_internal");
    metrics.count_prompt_tokens("p", &Usage::default());
    metrics.ignored_claims.with_label_values(&["team"]).inc();
    metrics.feedback.with_label_values(&["success"]).inc();
    metrics.refusals.with_label_values(&["team", "rate_limited", "refused"]).inc();
    metrics.hedges.with_label_values(&["won"]).inc();
    metrics.overshoots.with_label_values(&["output_beyond_limit"]).inc();
    metrics.contradicted_costs.with_label_values(&["p"]).inc();
    metrics.budget_remaining.with_label_values(&["t"]).set(1.0);
    metrics.reload_failures.with_label_values(&["config"]).inc();
    metrics.show_withdrawals([("p", "m", 30)]);
    metrics.show_policies(vec!["default@3f2c".to_owned()]);
    String::from_utf8(metrics.render()).expect("text")
}

/// Name, type and labels of every metric on the page.
fn shown(page: &str) -> BTreeSet<(String, String, Vec<String>)> {
    let types = page.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    types
        .map(|(name, kind)| {
            let series = page.lines().find(|line| line.starts_with(name)).expect("a series");
            let labels =
                series.split_once('{').and_then(|(_, rest)| rest.split_once('}')).map_or("", |(labels, _)| labels);
            let labels = labels.split(',').filter_map(|label| label.split('=').next());
            let mut labels: Vec<_> = labels.filter(|label| !matches!(*label, "" | "le")).map(str::to_owned).collect();
            labels.sort_unstable();
            (name.to_owned(), kind.to_owned(), labels)
        })
        .collect()
}

#[test]
fn the_manual_lists_every_metric_with_its_type_and_labels() {
    let page = scraped();
    let listed = rows("Metrics").into_iter().map(|cells| {
        let mut labels = names(&cells[2]);
        labels.sort_unstable();
        (names(&cells[0])[0].clone(), cells[1].clone(), labels)
    });
    assert_eq!(listed.collect::<BTreeSet<_>>(), shown(&page));
    let code = code("src/telemetry/metrics.rs");
    let missing: Vec<_> = code
        .split('"')
        .skip(1)
        .step_by(2)
        .filter(|text| text.starts_with("farthing_") || text.starts_with("gen_ai_"))
        .filter(|text| !page.contains(*text))
        .collect();
    assert!(missing.is_empty(), "metrics that this test does not scrape: {missing:?}");
}

#[test]
fn the_manual_lists_every_error_code_with_its_status_and_type() {
    let code = code("src/wire/errors/mod.rs");
    let rows_of_code = code.lines().filter_map(|line| line.trim().strip_prefix("Self::")?.split_once(" => (\""));
    let defined: BTreeSet<_> = rows_of_code
        .map(|(_, row)| {
            let (name, rest) = row.split_once("\", ").expect("a status");
            let (status, kind) = rest.split_once(", \"").expect("a type");
            (status.to_owned(), name.to_owned(), kind.trim_end_matches("\"),").to_owned())
        })
        .collect();
    assert!(defined.len() >= 20, "{defined:?}");
    let listed = rows("Error codes").into_iter();
    let listed = listed.map(|cells| (cells[0].clone(), names(&cells[1])[0].clone(), names(&cells[2])[0].clone()));
    assert_eq!(listed.collect::<BTreeSet<_>>(), defined);
}

#[test]
fn the_manual_says_what_to_do_about_every_reason_for_which_a_cost_is_unknown() {
    let code = code("src/reply/usage.rs");
    let words = code.split_once("impl WhyUnknown").and_then(|(_, rest)| rest.split_once("\n}\n")).expect("the words").0;
    let defined: BTreeSet<_> = words.split('"').skip(1).step_by(2).map(str::to_owned).collect();
    let mut listed: BTreeSet<_> =
        rows("Why a cost is unknown").iter().map(|cells| names(&cells[0])[0].clone()).collect();
    listed.insert("unreported".to_owned());
    assert_eq!(listed, defined);
}

#[test]
fn the_manual_lists_every_log_event() {
    // Two are written as whole lines, the third by the writer itself.
    let mut logged = BTreeSet::from(["request", "overhead", "log_lines_dropped"].map(str::to_owned));
    for file in sources(Path::new("src")) {
        let code = code(&file);
        let calls = code.split(".event(").skip(1).filter_map(|call| call.trim_start().strip_prefix('"'));
        logged.extend(calls.filter_map(|call| Some(call.split_once('"')?.0.to_owned())));
    }
    let listed = rows("Log").into_iter().flat_map(|cells| names(&cells[0]));
    assert_eq!(listed.collect::<BTreeSet<_>>(), logged);
}
