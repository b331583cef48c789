//! What the demo prints: what each task cost and would have cost, by team and by cause, how well routing agreed with the
//! workload, and whether the ledger equals the invoice.

use std::time::Duration;

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use rusqlite::Connection;
use serde_json::{Value, json};

use super::agents::Played;
use super::agreement::Agreement;
use super::policies;
use super::savings::{Savings, Spending, UNROUTED};
use crate::cli::{Format, counted};
use crate::cost::{Book, Rates, Terms};
use crate::ledger::{Ledger, LedgerError};
use crate::money::{NanoUsd, PicoUsd};
use crate::policy::Policy;
use crate::simulator::Invoice;

const SYNC_TIMEOUT: Duration = Duration::from_secs(30);
const KINDS: [&str; 4] = ["input, uncached", "input, cached", "input, written to cache", "output"];

/// One line of a table: a name, requests or attempts, tokens, and nano-dollars.
struct Line {
    name: String,
    count: i64,
    input: i64,
    cached: i64,
    output: i64,
    cost: i64,
}

/// What a workload cost.
pub struct Summary {
    savings: Savings,
    agreement: Agreement,
    teams: Vec<Line>,
    models: Vec<Line>,
    kinds: [(u64, NanoUsd); 4],
    requests: i64,
    attempts: i64,
    /// Attempts whose cost is not known.
    uncertain: i64,
    /// What the requests cost where all of them went to [`UNROUTED`].
    measured: NanoUsd,
    ledger: NanoUsd,
    invoice: NanoUsd,
    invoice_lines: usize,
    failed: usize,
}

impl Summary {
    /// Reads the ledger's views, once they show everything.
    pub fn read(ledger: &Ledger, invoices: &[Invoice], played: &Played, measured: NanoUsd) -> Result<Self, String> {
        let text = |error: LedgerError| error.to_string();
        ledger.sync_views(SYNC_TIMEOUT).map_err(text)?;
        let views = ledger.views().map_err(text)?;
        let policy = policies::of_the_workload()?;
        Self::query(&views, &policy, invoices, played)
            .map(|summary| Self { measured, ..summary })
            .map_err(|error| format!("the ledger's views cannot be read: {error}"))
    }

    fn query(views: &Connection, policy: &Policy, invoices: &[Invoice], played: &Played) -> rusqlite::Result<Self> {
        let (attempts, uncertain, ledger) = views.query_row(
            "select count(*), count(*) filter (where cost_nano is null), coalesce(sum(cost_nano), 0) from attempts_v1",
            [],
            |row| Ok((row.get(0)?, row.get(1)?, NanoUsd(row.get(2)?))),
        )?;
        let savings = Savings::read(views)?;
        Ok(Self {
            agreement: Agreement::read(views, policy, &savings.all, played)?,
            savings,
            teams: lines(views, "r.team")?,
            models: lines(views, "a.provider || '/' || a.model")?,
            kinds: kinds(views)?,
            requests: views.query_row("select count(*) from requests_v1", [], |row| row.get(0))?,
            attempts,
            uncertain,
            measured: NanoUsd::ZERO,
            ledger,
            invoice: invoices.iter().map(Invoice::total).sum(),
            invoice_lines: invoices.iter().map(|invoice| invoice.lines.len()).sum(),
            failed: played.failed,
        })
    }

    /// Whether every attempt's cost is known, and together they are what the providers billed.
    pub fn equal(&self) -> bool {
        self.ledger == self.invoice && self.uncertain == 0
    }

    /// Prints it.
    pub fn print(&self, format: Format) {
        match format {
            Format::Json => say!("{}", self.json()),
            Format::Table => self.print_tables(),
        }
    }

    fn print_tables(&self) {
        say!("\n{}", self.task_table());
        say!(
            "Work that stays at {UNROUTED} may cost more than unrouted: it writes prefixes to the cache there that routed work would \
             have written before it."
        );
        say!("\n{}", self.team_table());
        say!(
            "Teams share prefixes: whoever comes first pays for the write, so that their figures differ from run to run."
        );
        let mut kinds = blank(&["Kind of token", "Tokens", "US dollars"]);
        for (name, (tokens, cost)) in KINDS.iter().zip(&self.kinds) {
            kinds.add_row([(*name).to_owned(), grouped(*tokens as i64), dollars(*cost)]);
        }
        say!("\n{kinds}");
        say!("\n{}", self.cause_table());
        self.print_measured();
        say!("");
        self.agreement.lines().iter().for_each(|line| say!("{line}"));
        let again = self.attempts - self.requests;
        say!(
            "{} requests, {} of them failed; {} attempts, {again} of them retries or fallbacks",
            self.requests,
            self.failed,
            self.attempts
        );
        say!("ledger   ${}  ({} attempts)", dollars(self.ledger), self.attempts);
        say!("invoice  ${}  ({} lines, kept by the providers)", dollars(self.invoice), self.invoice_lines);
        say!("{}", if self.equal() { "equal to the nano-dollar" } else { "NOT EQUAL" });
    }

    fn task_table(&self) -> Table {
        let mut table = blank(&["Task", "Tier", "Model", "Requests", "Spent, US$", "Unrouted, US$"]);
        for column in [1, 2] {
            table.column_mut(column).into_iter().for_each(|c| c.set_cell_alignment(CellAlignment::Left));
        }
        for (work, of) in &self.savings.tasks {
            let word = |name: &Option<String>, none: &str| name.clone().unwrap_or_else(|| none.to_owned());
            table.add_row([
                word(&work.task, "(claimed by no task)"),
                word(&work.tier, "none"),
                word(&work.model, "none"),
                grouped(of.requests() as i64),
                dollars(of.spent),
                dollars(of.unrouted),
            ]);
        }
        table
    }

    fn team_table(&self) -> Table {
        let mut table = blank(&["Team", "Requests", "Unrouted, US$", "Spent, US$", "Saved, US$"]);
        let all = [("all", &self.savings.all)];
        for (team, of) in self.savings.teams.iter().map(|(team, of)| (team.as_str(), of)).chain(all) {
            table.add_row([
                team.to_owned(),
                grouped(of.requests() as i64),
                dollars(of.unrouted),
                dollars(of.spent),
                dollars(of.saved()),
            ]);
        }
        table
    }

    /// From what would have been spent to what was, so that the parts can be added up by hand.
    fn cause_table(&self) -> Table {
        let of = &self.savings.all;
        let mut table = blank(&["By cause", "US dollars"]);
        table.add_row([format!("all at {UNROUTED}, with what its cache would have held"), dollars(of.unrouted)]);
        for (cause, amount) in of.causes().filter(|(cause, amount)| *cause == "route" || amount.0 != 0) {
            table.add_row([format!("saved by {cause}"), dollars(amount)]);
        }
        table.add_row(["spent".to_owned(), dollars(of.spent)]);
        table
    }

    /// The counterfactual beside its measurement, and what is no part of it.
    fn print_measured(&self) {
        let of = &self.savings.all;
        say!(
            "unrouted ${} computed request by request; ${} measured: the same bodies, all at {UNROUTED}, at a provider of their own",
            dollars(of.unrouted),
            dollars(self.measured)
        );
        say!(
            "the providers' own prefix caches took another ${} off what was spent, which is no part of what was saved",
            dollars(of.by_provider_cache)
        );
        if of.unknown > 0 {
            say!("{} have no counterfactual and claim no saving", counted(of.unknown, "request"));
        }
    }

    fn json(&self) -> Value {
        let lines = |lines: &[Line]| {
            lines
                .iter()
                .map(|l| {
                    json!({ "name": l.name, "attempts": l.count, "input_tokens": l.input,
                "cached_input_tokens": l.cached, "output_tokens": l.output, "nano_usd": l.cost })
                })
                .collect::<Vec<_>>()
        };
        let tasks = self
            .savings
            .tasks
            .iter()
            .map(|(work, of)| named(of, &[("task", &work.task), ("tier", &work.tier), ("model", &work.model)]));
        let teams = self.savings.teams.iter().map(|(team, of)| named(of, &[("team", &Some(team.clone()))]));
        let kind = |(name, (tokens, cost)): (&&str, &(u64, NanoUsd))| json!({ "kind": name, "tokens": tokens, "nano_usd": cost.0 });
        json!({
            "ledger_nano_usd": self.ledger.0, "invoice_nano_usd": self.invoice.0, "equal": self.equal(),
            "requests": self.requests, "attempts": self.attempts, "uncertain_attempts": self.uncertain, "failed": self.failed,
            "invoice_lines": self.invoice_lines, "by_team": lines(&self.teams), "by_model": lines(&self.models),
            "unrouted_nano_usd": self.savings.all.unrouted.0, "saved_nano_usd": self.savings.all.json_saved(),
            "provider_cache_nano_usd": self.savings.all.by_provider_cache.0, "measured_unrouted_nano_usd": self.measured.0,
            "tasks": tasks.collect::<Vec<_>>(), "teams": teams.collect::<Vec<_>>(), "agreement": self.agreement.json(),
            "by_kind": KINDS.iter().zip(&self.kinds).map(kind).collect::<Vec<_>>(),
        })
    }
}

/// Figures under their names.
fn named(of: &Spending, names: &[(&str, &Option<String>)]) -> Value {
    let mut line = of.json();
    for (key, name) in names {
        line[*key] = json!(name);
    }
    line
}

fn lines(views: &Connection, group: &str) -> rusqlite::Result<Vec<Line>> {
    let sql = format!(
        "select {group}, count(*), coalesce(sum(a.input_tokens), 0), coalesce(sum(a.cached_input_tokens), 0), \
         coalesce(sum(a.output_tokens), 0), coalesce(sum(a.cost_nano), 0) as cost \
         from attempts_v1 a join requests_v1 r using (request_id) group by 1 order by cost desc, 1"
    );
    let line = |row: &rusqlite::Row<'_>| {
        Ok(Line {
            name: row.get(0)?,
            count: row.get(1)?,
            input: row.get(2)?,
            cached: row.get(3)?,
            output: row.get(4)?,
            cost: row.get(5)?,
        })
    };
    views.prepare(&sql)?.query_map([], line)?.collect()
}

/// Tokens and dollars by kind, at the rates that the whole row met. What is not output or cache traffic is
/// uncached input, so that the parts make the whole.
fn kinds(views: &Connection) -> rusqlite::Result<[(u64, NanoUsd); 4]> {
    let mut kinds = [(0, NanoUsd::ZERO); 4];
    let mut statement = views.prepare(
        "select model, input_tokens, cached_input_tokens, cache_write_tokens, output_tokens, reasoning_tokens, cost_nano \
         from attempts_v1 where input_tokens is not null and cost_nano is not null",
    )?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let model: String = row.get(0)?;
        let [input, cached, written, output, reasoning] =
            [tokens_of(row, 1)?, tokens_of(row, 2)?, tokens_of(row, 3)?, tokens_of(row, 4)?, tokens_of(row, 5)?];
        let cost = NanoUsd(row.get(6)?);
        let [cached_cost, written_cost, output_cost] = rates(&model, input).map_or([NanoUsd::ZERO; 3], |rates| {
            let [visible, thought] = [rates.output, rates.reasoning].map(Option::unwrap_or_default);
            [
                PicoUsd::default().plus(cached, rates.cached_input).round(),
                PicoUsd::default().plus(written, rates.cache_write_5m).round(),
                PicoUsd::default().plus(output.saturating_sub(reasoning), visible).plus(reasoning, thought).round(),
            ]
        });
        let rest = cost - cached_cost - written_cost - output_cost;
        let parts = [
            (input.saturating_sub(cached + written), rest),
            (cached, cached_cost),
            (written, written_cost),
            (output, output_cost),
        ];
        for (kind, (tokens, cost)) in kinds.iter_mut().zip(parts) {
            *kind = (kind.0 + tokens, kind.1 + cost);
        }
    }
    Ok(kinds)
}

/// The list rates of a request with so much input: the demo's providers apply no other service tier.
fn rates(model: &str, input_tokens: u64) -> Option<&'static Rates> {
    let price = Book::builtin().price("openai", model, jiff::Zoned::now().date())?;
    match &price.terms {
        Terms::Free => None,
        Terms::Metered(metered) => metered.standard.rates(input_tokens),
    }
}

fn tokens_of(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<u64> {
    Ok(row.get::<_, i64>(column)?.unsigned_abs())
}

fn blank(header: &[&str]) -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::UTF8_HORIZONTAL_ONLY)
        .set_content_arrangement(ContentArrangement::Disabled)
        .set_header(header);
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

/// Dollars with all nine decimals, so that columns line up and nothing is rounded away.
pub fn dollars(amount: NanoUsd) -> String {
    let (sign, nano) = (if amount.0 < 0 { "-" } else { "" }, amount.0.unsigned_abs());
    format!("{sign}{}.{:09}", nano / 1_000_000_000, nano % 1_000_000_000)
}

fn grouped(number: i64) -> String {
    let digits = number.unsigned_abs().to_string();
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    if number < 0 { format!("-{out}") } else { out }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_line_up_and_keep_every_digit() {
        assert_eq!(dollars(NanoUsd(1_234_567_890)), "1.234567890");
        assert_eq!(dollars(NanoUsd(-5)), "-0.000000005");
        assert_eq!(
            (grouped(1_234_567), grouped(999), grouped(-1000)),
            ("1,234,567".into(), "999".into(), "-1,000".into())
        );
    }
}
