//! The figures as tables, with the targets beside them.

use comfy_table::{CellAlignment, Table, presets};

use super::measure::{Beside, CaseFigures, Figures, Interval};

/// Most megabytes when idle and under load, and most milliseconds to the first reply.
const IDLE_MB: f64 = 30.0;
const LOADED_MB: f64 = 60.0;
const FIRST_REPLY_MS: f64 = 100.0;

/// Everything as text.
pub fn table(figures: &Figures) -> String {
    let mut text = format!(
        "{} cores, load average {} before and {} after. Medians of interleaved rounds; in brackets an interval\n\
         that holds the true median with at least 95 % from 6 rounds on, and all rounds below that.\n\n",
        figures.cores, figures.load[0], figures.load[1]
    );
    text += &format!("CPU of the proxy\n{}\n\n", cpu(&figures.cases));
    text += &format!("Latency and throughput\n{}\n\n", latency(&figures.cases));
    if let Some(beside) = &figures.beside {
        text += &format!("Beside\n{}\n\n", beside_table(beside));
    }
    text += &format!("{}\n", noise(&figures.cases));
    text += &format!("{} requests answered, {} attempts settled in the ledger", figures.answered, figures.settled);
    text
}

fn new(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN).set_header(header.to_vec());
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

fn cpu(cases: &[CaseFigures]) -> Table {
    let mut table = new(&["case", "in flight", "proxy", "us each", "ratio", "target", "stretch"]);
    for case in cases {
        for (place, proxy) in case.proxies.iter().enumerate() {
            let each = scaled(proxy.cpu_us, 1.0 / case.events as f64);
            let unit = if case.events > 1 { " / event" } else { "" };
            let (target, stretch) = match case.target {
                Some((target, stretch)) if place > 0 => {
                    (mark(proxy.ratio.median, target), mark(proxy.ratio.median, stretch))
                }
                _ => (String::new(), String::new()),
            };
            table.add_row([
                format!("{}{unit}, {} B", case.case, case.body_bytes),
                case.in_flight.to_string(),
                proxy.name.clone(),
                interval(each, 1),
                if place > 0 { interval(proxy.ratio, 2) } else { String::new() },
                target,
                stretch,
            ]);
        }
    }
    table
}

fn latency(cases: &[CaseFigures]) -> Table {
    let mut table = new(&["case", "in flight", "proxy", "p50 us", "added us", "requests/s"]);
    for case in cases {
        for (place, proxy) in case.proxies.iter().enumerate() {
            table.add_row([
                case.case.to_owned(),
                case.in_flight.to_string(),
                proxy.name.clone(),
                interval(proxy.p50_us, 0),
                if place > 0 { interval(proxy.added_us, 0) } else { String::new() },
                format!("{:.0}", proxy.per_second.median),
            ]);
        }
    }
    table
}

fn beside_table(beside: &Beside) -> Table {
    let mut table = new(&["what", "figure", "target"]);
    for (case, bare, farthing) in &beside.allocations {
        table.add_row([
            format!("allocations a request, {case}"),
            format!("{farthing:.1} (bare {bare:.1})"),
            String::new(),
        ]);
    }
    table.add_row(["resident, idle".into(), format!("{:.1} MB", beside.idle_mb), mark(beside.idle_mb, IDLE_MB)]);
    let named = mark(beside.peak_named_mb, LOADED_MB);
    table.add_row(["resident, peak, models named".into(), format!("{:.1} MB", beside.peak_named_mb), named]);
    table.add_row(["resident, peak".into(), format!("{:.1} MB", beside.peak_mb), mark(beside.peak_mb, LOADED_MB)]);
    table.add_row(["resident, at rest afterwards".into(), format!("{:.1} MB", beside.rest_mb), String::new()]);
    table.add_row([
        "start to first reply".into(),
        format!("{} ms", interval(beside.first_reply_ms, 1)),
        mark(beside.first_reply_ms.median, FIRST_REPLY_MS),
    ]);
    table
}

/// How much the yardstick itself varied: differences below that say nothing.
fn noise(cases: &[CaseFigures]) -> String {
    let spread = |case: &CaseFigures| {
        let bare = case.proxies[0].cpu_us;
        let percent = |end: f64| (end / bare.median - 1.0) * 100.0;
        format!("{} x{} {:+.0}..{:+.0} %", case.case, case.in_flight, percent(bare.low), percent(bare.high))
    };
    let spreads: Vec<String> = cases.iter().map(spread).collect();
    format!("Spread of the bare proxy's own CPU: {}", spreads.join("; "))
}

fn scaled(of: Interval, by: f64) -> Interval {
    Interval { low: of.low * by, median: of.median * by, high: of.high * by }
}

fn interval(of: Interval, digits: usize) -> String {
    format!("{:.digits$} [{:.digits$}, {:.digits$}]", of.median, of.low, of.high)
}

fn mark(figure: f64, target: f64) -> String {
    format!("<= {target} {}", if figure <= target { "met" } else { "MISSED" })
}
