//! `farthing report`: what was spent and saved, by whatever lines are wanted, off a ledger that may be in use or a copy.
//!
//! Reading is `ledger::rollup`'s, grouping and writing `report`'s; here are the arguments and the words for people.

use std::cell::LazyCell;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use jiff::Span;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde_json::{Value, json};

use super::{complain, counted, fail, find_config, mirror, print_problems};
use crate::app::read_book;
use crate::config::{self, Team};
use crate::cost::{Book, fees_of};
use crate::ledger::reads::Reads;
use crate::ledger::{LedgerError, by_day, left_over, losses, open_current, rollup, stated, statements};
use crate::money::NanoUsd;
use crate::reply::usage::Calls;
use crate::report::causal::{Effect, Interval, Wanted, effects};
use crate::report::focus::{self, Charge};
use crate::report::forecast::{Ceiling, Month, Outlooks};
use crate::report::losses as broken;
use crate::report::stated::{Books, Sums, month_behind};
use crate::report::would;
use crate::report::write::shown_text;
use crate::report::{By, Figures, Line, Report, Row, date_of, midnight};
use crate::telemetry::log::now_ms;

/// Printed under `farthing report --help`.
pub const AFTER_HELP: &str = "\
Reads a ledger that a gateway has open, a backup, or a mirror of several. Days, weeks and months are those of `timezone` in
the configuration. A request counts once it has ended, in the period in which it arrived, also one that
was refused or made no call. What nobody knows the cost of is no cost: it stands between two amounts in
a column of its own. `estimated` is the part of the cost whose tokens no provider reported, and between
what it stands. `saved` is against what the client asked for, `provider_cache` what the provider's own
cache took off, which is no part of it. `overhead` is the part of the cost that Farthing caused by
itself, `net saved` what is left without it. `adjusted` is what re-rating booked on top; `transfer` what
cache hits are charged at. `charged` is the cost with both, and what statements come to. `refused` are the
requests that ended in an error before anything had left; sound and images are parts of input and output;
`fees` is the part of the cost that calls of providers' tools made. A table has these where there are any. Columns that end in `_nano` are whole nano-dollars, in CSV and in JSON.

By: team, project, pipeline, key, user, prompt, model, provider, tier, task, cause, cache_loss, session,
day, week, month; with `--would` also would_tier and would_model, and no cause.

Example:
  farthing report
  farthing report --by team,model --since 2026-11-01 --until 2026-11-30
  farthing report --by month --format json --ledger /backups/farthing-2026-11-27.db
  farthing report --format focus > focus-2026-11.csv
  farthing report --by team,day --mirror
  farthing report --by team --forecast
  farthing report --causal
  farthing report --cache-loss
  farthing report --would --by team,task";

#[derive(Args)]
pub struct Arguments {
    /// What lines are told apart by, several with commas between them; else team
    #[arg(long, value_name = "WORDS", value_delimiter = ',', value_parser = by)]
    by: Vec<By>,
    /// The first day; else that of the month of the last one
    #[arg(long, value_name = "DAY", value_parser = day)]
    since: Option<Date>,
    /// The last day, itself included; else today
    #[arg(long, value_name = "DAY", value_parser = day)]
    until: Option<Date>,
    /// Say as well what the month of the last day will have cost at its end, in all and by name, beside budgets of teams
    #[arg(long)]
    forecast: bool,
    /// Instead, what levers really save: sessions with them against those that policies hold out (`holdout`)
    #[arg(long, conflicts_with_all = ["by", "forecast"])]
    causal: bool,
    /// Instead, the conversations whose cached prefix broke: what broke it, where in the prompt, and what that cost
    #[arg(long, conflicts_with_all = ["by", "forecast", "causal"])]
    cache_loss: bool,
    /// Instead, what levers would have saved where they only watch (`mode: observe`, sessions that are held out): what was spent,
    /// and what the same tokens would have cost at the models that levers would have chosen, by the prices of when they were used
    #[arg(long, conflicts_with_all = ["forecast", "causal", "cache_loss"])]
    would: bool,
    /// The ledger or a copy of it, or a mirror (`env:NAME` of its URL); else the configuration's ledger
    #[arg(long, value_name = "FILE")]
    ledger: Option<String>,
    /// Read the configuration's mirror
    #[arg(long, conflicts_with = "ledger")]
    mirror: bool,
    /// The configuration that names the ledger and the time zone; else FARTHING_CONFIG, else ./farthing.yaml
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// How to print
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

/// How a report is printed.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    Table,
    /// For spreadsheets
    Csv,
    /// For programs
    Json,
    /// FinOps Open Cost and Usage Specification 1.2, a row a day, team, project and model
    Focus,
}

fn by(word: &str) -> Result<By, String> {
    By::parse(word).ok_or_else(|| {
        let known = By::ALL.map(|(_, word)| word);
        let hint = crate::problem::nearest_hint(word, known.iter().copied());
        format!("wanted one of {}{hint}", known.join(", "))
    })
}

fn day(text: &str) -> Result<Date, String> {
    text.parse().map_err(|_| "wanted a day such as 2026-11-28".to_owned())
}

/// What was asked for that the format has no place for.
fn contradiction(arguments: &Arguments) -> Option<&'static str> {
    let tells_apart = |one: &By| arguments.by.contains(one);
    if arguments.would && tells_apart(&By::Cause) {
        return Some("`--would` knows no causes; wanted `--by` without `cause`");
    }
    if !arguments.would && arguments.by.iter().any(|by| by.is_of_watched()) {
        return Some("`would_tier` and `would_model` are known of what levers watch; wanted `--would` with them");
    }
    match arguments.format {
        Format::Focus if !arguments.by.is_empty() => {
            Some("`--format focus` has a row a day, team, project and model; wanted it without `--by`")
        }
        Format::Focus if arguments.forecast => Some("`--format focus` has no forecast; wanted another format"),
        Format::Focus if arguments.would => Some("`--would` is told as `table`, `csv` or `json`"),
        Format::Focus if arguments.cache_loss => Some("`--cache-loss` is told as `table`, `csv` or `json`"),
        Format::Focus | Format::Csv if arguments.causal => Some("`--causal` is told as `table` or `json`"),
        Format::Csv if arguments.forecast && [By::Day, By::Week, By::Month, By::Cause].iter().any(tells_apart) => {
            Some("`--forecast` is of a month, and no column of days, weeks, months or causes; wanted them left out")
        }
        _ => None,
    }
}

pub fn run(arguments: &Arguments) -> ExitCode {
    let config_file = find_config(arguments.config.as_ref());
    let books = match config::load_bookkeeping(config_file.as_deref()) {
        Ok(books) => books,
        Err(problems) => {
            print_problems(&problems);
            return ExitCode::FAILURE;
        }
    };
    // What teams may spend is wanted beside a forecast, and looked at for nothing else.
    let teams = match arguments.forecast.then(|| config::load_keyholding(config_file.as_deref())).transpose() {
        Ok(keyholding) => keyholding.map(|keyholding| keyholding.teams).unwrap_or_default(),
        Err(problems) => {
            print_problems(&problems);
            return ExitCode::FAILURE;
        }
    };
    let zone = TimeZone::get(&books.timezone).unwrap_or(TimeZone::UTC);
    let asked = Asked::of(arguments, &zone, now_ms());
    if asked.until < asked.since {
        return fail(format_args!("`--until {}` is before `--since {}`", asked.until, asked.since));
    }
    if let Some(message) = contradiction(arguments) {
        fail(message);
        return ExitCode::from(2);
    }
    let mirror = match (arguments.mirror, &arguments.ledger) {
        (true, _) => match mirror::of(&books) {
            Ok(target) => Some(target),
            Err(message) => return fail(message),
        },
        (false, Some(named)) => match mirror::named(named) {
            Some(Ok(target)) => Some(target),
            Some(Err(message)) => return fail(message),
            None => None,
        },
        (false, None) => None,
    };
    // Only calls of tools are priced here, and few have any. What the book does not know is told as unknown.
    let book = LazyCell::new(|| read_book(books.prices.as_deref()).unwrap_or_else(|_| Book::builtin().clone()));
    let fees = |version: &str, calls: Calls, discount_ppm: u32| fees_of(book.of_version(version)?, calls, discount_ppm);
    let known = Known { teams: &teams, vendors: &books.vendor_of, fees: &fees };
    let told = match mirror {
        Some(target) => mirror::open(&target).and_then(|views| asked.told(&views, arguments, &known)),
        None => {
            let path = arguments.ledger.as_ref().map_or(books.ledger.path, PathBuf::from);
            if !path.exists() {
                return fail(format_args!("there is no ledger at `{}`", path.display()));
            }
            match left_over(&path) {
                Ok(0) => {}
                Ok(records) => complain(format_args!(
                    "the journal has {} that are not in it: no process has the ledger open, and the next start applies them",
                    counted(records, "record")
                )),
                Err(error) => complain(format_args!("what its journal has is not in it: {error}")),
            }
            open_current(&path).and_then(|views| asked.told(&views, arguments, &known))
        }
    };
    match told {
        Ok(text) => {
            say!("{}", text.trim_end());
            ExitCode::SUCCESS
        }
        Err(error) => fail(error),
    }
}

/// What the configuration knows of those that a report names.
struct Known<'a> {
    teams: &'a [Team],
    /// By provider row.
    vendors: &'a BTreeMap<String, String>,
    /// What calls of tools cost.
    fees: &'a rollup::Fees<'a>,
}

/// What is wanted, with its days.
#[derive(Clone, Copy)]
struct Asked<'z> {
    since: Date,
    until: Date,
    now_ms: i64,
    zone: &'z TimeZone,
}

impl<'z> Asked<'z> {
    fn of(arguments: &Arguments, zone: &'z TimeZone, now_ms: i64) -> Self {
        let until = arguments.until.unwrap_or_else(|| date_of(now_ms, zone));
        Self { since: arguments.since.unwrap_or_else(|| until.first_of_month()), until, now_ms, zone }
    }

    fn told(&self, views: &impl Reads, arguments: &Arguments, of: &Known<'_>) -> Result<String, LedgerError> {
        if arguments.causal {
            return self.causal(views, arguments.format);
        }
        if arguments.cache_loss {
            return self.cache_loss(views, arguments.format);
        }
        if arguments.would {
            return self.would(views, by_of(arguments), arguments.format);
        }
        let days = by_day::whole(views, (self.since, self.until), self.zone)?;
        if arguments.format == Format::Focus {
            let books = stated::books(views, self.zone)?;
            return self.over(books.whole(days), "is closed or its rows are forgotten").focus(views, &books, of);
        }
        self.over(days, "has only the sums of the whole month left").grouped(views, arguments, of)
    }

    /// The same over days that are more, as a month that was cut is to be whole; whoever asked is told.
    fn over(&self, days: (Date, Date), why: &str) -> Self {
        if days != (self.since, self.until) {
            complain(format_args!(
                "{} to {} cuts a month that {why}: this is {} to {}",
                self.since, self.until, days.0, days.1
            ));
        }
        Self { since: days.0, until: days.1, ..*self }
    }

    fn grouped(&self, views: &impl Reads, arguments: &Arguments, of: &Known<'_>) -> Result<String, LedgerError> {
        let by = by_of(arguments);
        let forgotten = by_day::forgotten(views, self.span(), self.zone)?;
        let kept = forgotten.as_ref().map(|forgotten| forgotten.kept);
        let report = Report::since(by, self.lines(views, by, (self.since, self.until), of)?, self.zone, kept);
        let forecast = if arguments.forecast { Some(self.forecast(views, by, of)?) } else { None };
        Ok(match arguments.format {
            Format::Json => {
                let mut told = report.json();
                told["since"] = json!(self.since.to_string());
                told["until"] = json!(self.until.to_string());
                if let Some(forecast) = &forecast {
                    told["forecast"] = forecast.json();
                }
                if let Some(forgotten) = &forgotten {
                    told["forgotten"] = json!(forgotten.months);
                }
                told.to_string()
            }
            Format::Csv => {
                if let Some(forgotten) = &forgotten {
                    complain(words_of_forgotten(forgotten));
                }
                report.csv_with(forecast.as_ref())
            }
            Format::Table | Format::Focus => {
                let days = format!("{} to {}", self.since, self.until);
                let forecast = forecast.map(|forecast| format!("\n{}", forecast.words())).unwrap_or_default();
                let forgotten = forgotten.map(|found| format!("\n{}", words_of_forgotten(&found))).unwrap_or_default();
                format!(
                    "{}\n{days}, {}{forgotten}{forecast}",
                    report.table(),
                    counted(report.total.requests.unsigned_abs(), "request")
                )
            }
        })
    }

    fn lines(
        &self,
        views: &impl Reads,
        by: &[By],
        (first, last): (Date, Date),
        of: &Known<'_>,
    ) -> Result<Vec<Line>, LedgerError> {
        let beyond = last.saturating_add(Span::new().days(1));
        let (since_ms, until_ms) = (midnight(first, self.zone), midnight(beyond, self.zone));
        let mut lines = rollup::lines(views, by, since_ms, until_ms, self.zone)?;
        lines.extend(rollup::lines_beside(views, by, (since_ms, until_ms), None, of.fees)?);
        lines.extend(statements::adjusted(views, by, (first, last), self.zone)?);
        Ok(lines)
    }

    /// The first moment, and the one behind the last.
    fn span(&self) -> (i64, i64) {
        let beyond = self.until.saturating_add(Span::new().days(1));
        (midnight(self.since, self.zone), midnight(beyond, self.zone))
    }

    fn causal(&self, views: &impl Reads, format: Format) -> Result<String, LedgerError> {
        let beyond = self.until.saturating_add(Span::new().days(1));
        let sessions = rollup::sessions(views, midnight(self.since, self.zone), midnight(beyond, self.zone))?;
        let effects = effects(sessions);
        let now_ms = self.span().1.min(self.now_ms);
        if format == Format::Json {
            return Ok(json!({ "policies": effects.iter().map(|effect| json_of(effect, now_ms)).collect::<Vec<_>>() })
                .to_string());
        }
        if effects.is_empty() {
            return Ok("no policy holds sessions out: `holdout: 0.01` in its front matter does".to_owned());
        }
        Ok(effects.iter().map(|effect| words_of(effect, now_ms)).collect::<Vec<_>>().join("\n"))
    }

    fn cache_loss(&self, views: &impl Reads, format: Format) -> Result<String, LedgerError> {
        let beyond = self.until.saturating_add(Span::new().days(1));
        let lines = losses::losses(views, midnight(self.since, self.zone), midnight(beyond, self.zone))?;
        Ok(match format {
            Format::Json => broken::json(&lines).to_string(),
            Format::Csv | Format::Focus => broken::csv(&lines),
            Format::Table if lines.is_empty() => format!("{} to {}: no cached prefix broke", self.since, self.until),
            Format::Table => broken::table(&lines).to_string(),
        })
    }

    fn would(&self, views: &impl Reads, by: &[By], format: Format) -> Result<String, LedgerError> {
        let report = would::Report::of(by, rollup::lines_watched(views, by, self.span())?, self.zone);
        let forgotten = by_day::forgotten(views, self.span(), self.zone)?;
        let forgotten = forgotten.map(|found| found.months).unwrap_or_default();
        let lost =
            format!("{}: the rows are forgotten, and with them what levers would have done", forgotten.join(", "));
        let days = format!("{} to {}", self.since, self.until);
        Ok(match format {
            Format::Json => {
                let mut told = report.json();
                (told["since"], told["until"]) = (json!(self.since.to_string()), json!(self.until.to_string()));
                if !forgotten.is_empty() {
                    told["forgotten"] = json!(forgotten);
                }
                told.to_string()
            }
            Format::Csv | Format::Focus => {
                if !forgotten.is_empty() {
                    complain(lost);
                }
                report.csv()
            }
            Format::Table if report.total.requests == 0 => {
                let lost = if forgotten.is_empty() { String::new() } else { format!("\n{lost}") };
                format!("{days}: nothing was watched; `mode: observe` of the process, a team or a key does{lost}")
            }
            Format::Table => {
                let lost = if forgotten.is_empty() { String::new() } else { format!("\n{lost}") };
                format!("{}\n{days}, {}{lost}", report.table(), words_of_would(&report.total))
            }
        })
    }

    fn focus(&self, views: &impl Reads, books: &Books, of: &Known<'_>) -> Result<String, LedgerError> {
        let by = [By::Day, By::Team, By::Project, By::Model];
        let (since_ms, until_ms) = self.span();
        let mut lines = rollup::lines(views, &by, since_ms, until_ms, self.zone)?;
        lines.extend(rollup::lines_beside(views, &by, (since_ms, until_ms), None, of.fees)?);
        let mut apart = rollup::lines_by_service_tier(views, &by, since_ms, until_ms)?;
        for (tier, lines) in &mut apart {
            lines.extend(rollup::lines_beside(views, &by, (since_ms, until_ms), Some(tier), of.fees)?);
        }
        // What stands in a row of its own is taken out of the others.
        lines.extend(apart.iter().flat_map(|(_, lines)| lines).map(|line| {
            let mut figures = Figures::default();
            figures.take(&line.figures);
            Line { figures, ..line.clone() }
        }));
        let forgotten = by_day::forgotten(views, (since_ms, until_ms), self.zone)?;
        if let Some(forgotten) = &forgotten {
            complain(words_of_forgotten(forgotten));
        }
        let report = |lines| Report::since(&by, lines, self.zone, forgotten.as_ref().map(|forgotten| forgotten.kept));
        let tiers = apart.into_iter().map(|(tier, lines)| (tier, report(lines)));
        let reports: Vec<(String, Report)> = std::iter::once((String::new(), report(lines))).chain(tiers).collect();
        let rows =
            reports.into_iter().flat_map(|(tier, report)| report.rows.into_iter().map(move |row| (tier.clone(), row)));
        let charges = rows.filter(|(_, row)| !row.figures.is_zero()).filter_map(|(service_tier, row)| {
            let Row { names, figures, is_forgotten, .. } = row;
            let [day, team, project, model] = <[String; 4]>::try_from(names).ok()?;
            // The days of a month whose rows are forgotten are not known.
            let days = match stated::month_of(&day) {
                Some(month) => (month, month_behind(month)),
                None => day.parse().map(|day: Date| (day, day.saturating_add(Span::new().days(1)))).ok()?,
            };
            let billed = days.0.first_of_month();
            let is_correction = false;
            Some(Charge { days, billed, is_correction, team, project, model, service_tier, figures, is_forgotten })
        });
        let now = stated::as_they_stand(views, books, self.zone)?;
        self.tell_what_is_not_there(books, &now);
        let charges = books.bill(charges.collect(), &now, (self.since, self.until));
        Ok(focus::csv(charges, self.zone, |provider| of.vendors.get(provider).map(String::as_str)))
    }

    /// Says what the charges leave out, and which statements they do not go by.
    fn tell_what_is_not_there(&self, books: &Books, now: &Sums) {
        let left_out = books.left_out_before(self.since, now);
        if !left_out.is_empty() {
            let first = self.since.first_of_month();
            let nano = left_out.iter().fold(0, |sum: i64, charge| sum.saturating_add(charge.figures.charged()));
            complain(format_args!(
                "{} of earlier months (${}) left out, billed on {first}: `--since {first}` has them",
                counted(left_out.len(), "correction"),
                NanoUsd(nano),
            ));
        }
        let months = self.since.first_of_month()..=self.until;
        for (team, month) in books.elsewhere.iter().filter(|(_, month)| months.contains(month)) {
            complain(format_args!(
                "the statement of {} for {} was closed in another time zone: its charges are as the rows stand",
                shown_text(team),
                month.strftime("%Y-%m")
            ));
        }
    }

    /// Of the month of the last day, by its days that are over: of all, and of each name that the report tells apart.
    fn forecast(&self, views: &impl Reads, by: &[By], of: &Known<'_>) -> Result<Outlooks, LedgerError> {
        let month = Month::of(self.until, rollup::first_ms(views)?, self.now_ms, self.zone);
        let named: Vec<By> = by.iter().copied().filter(|by| !by.is_time() && *by != By::Cause).collect();
        let by_day: Vec<By> = named.iter().copied().chain([By::Day]).collect();
        let lines = self.lines(views, &by_day, (month.first, month.last()), of)?;
        Ok(Outlooks::of(month, &named, &lines, self.zone, |names| ceiling(&named, names, of.teams)))
    }
}

/// What is told apart: teams, where nobody says.
fn by_of(arguments: &Arguments) -> &[By] {
    if arguments.by.is_empty() { &[By::Team] } else { &arguments.by }
}

/// What levers would have saved, and what that assumes.
fn words_of_would(total: &would::Watched) -> String {
    let watched = format!("{} watched", counted(total.requests.unsigned_abs(), "request"));
    let share = total.would_save_permille().map_or_else(String::new, |permille| {
        let (whole, tenths) = (permille.unsigned_abs() / 10, permille.unsigned_abs() % 10);
        format!(": {whole}.{tenths} % {}", if permille < 0 { "more" } else { "less" })
    });
    format!(
        "{watched}, {} of them would have gone elsewhere{share}\n\
         the same tokens by the prices of when they were used; another model would have written others, and how good they had \
         been nobody measured",
        total.moved
    )
}

/// What the configuration lets a team, or a project of one, spend.
fn ceiling(by: &[By], names: &[String], teams: &[Team]) -> Option<Ceiling> {
    let team_of = |name: &str| teams.iter().find(|team| team.id.as_str() == name);
    let terms = match (by, names) {
        ([By::Team], [team]) => &team_of(team)?.terms,
        ([By::Team, By::Project], [team, project]) | ([By::Project, By::Team], [project, team]) => Some(project)
            .filter(|project| !project.is_empty())
            .and_then(|project| team_of(team)?.projects.of(project))?,
        _ => return None,
    };
    terms.budget.map(|budget| Ceiling { nano: budget.usd.0, every: budget.every.to_string() })
}

/// What months say no longer whose rows are forgotten.
fn words_of_forgotten(forgotten: &by_day::Forgotten) -> String {
    format!(
        "{}: the rows are forgotten and the sums of the month are kept: its days, sessions, users and prompts beside other \
         names, service tiers, and what was refused, heard, seen, charged for tools or overshot are not known any more",
        forgotten.months.join(", ")
    )
}

/// One policy's effect in words, or that of one of its tasks, as it stands at a moment.
fn words_of(effect: &Effect, now_ms: i64) -> String {
    let dollars = |nano: f64| format!("${}", NanoUsd(nano as i64));
    let (with, without) = effect.sessions;
    let unknown = match effect.unknown {
        0 => String::new(),
        unknown => format!("; {} of unknown cost left out", counted(unknown as u64, "session")),
    };
    let sessions =
        format!("{}: {} with levers, {without} held out{unknown}", effect.name(), counted(with as u64, "session"));
    let pooled = match effect.pooled.as_slice() {
        [] => String::new(),
        tasks => format!("; pooled with too few of their own: {}", tasks.join(", ")),
    };
    let computed = effect.computed.map_or_else(|| "nothing".to_owned(), dollars);
    match &effect.measured {
        Some(Interval { low, value, high }) => format!(
            "{sessions}: measured {} saved a session, 95 % between {} and {} whenever one looks; computed {computed}{pooled}",
            dollars(*value),
            dollars(*low),
            dollars(*high)
        ),
        None => {
            let Wanted { found, of, days, forgone } = effect.wanted(now_ms);
            let days = days.map_or_else(
                || "nobody knows how many days more".to_owned(),
                |days| format!("about {} more at this pace", counted(days, "day")),
            );
            format!(
                "{sessions}: computed {computed} saved a session; too few to measure it: {found} of {of} in the smaller arm, \
                 {days}; those to be held out until then go without {} of computed savings{pooled}",
                forgone.map_or_else(|| "unknown dollars".to_owned(), dollars)
            )
        }
    }
}

fn json_of(effect: &Effect, now_ms: i64) -> Value {
    let wanted = effect.wanted(now_ms);
    let nano = |amount: Option<f64>| amount.map(|amount| amount.round() as i64);
    json!({
        "policy": effect.policy, "sessions": effect.sessions.0, "held_out": effect.sessions.1, "unknown": effect.unknown,
        "mean_nano": nano(effect.means.0), "held_out_mean_nano": nano(effect.means.1),
        "computed_saved_nano": nano(effect.computed), "measured_saved_nano": nano(effect.measured.map(|m| m.value)),
        "measured_low_nano": nano(effect.measured.map(|m| m.low)), "measured_high_nano": nano(effect.measured.map(|m| m.high)),
        "missing_sessions": effect.missing(), "task": effect.task, "pooled_tasks": effect.pooled,
        "wanted": { "found": wanted.found, "of": wanted.of, "days": wanted.days, "forgone_nano": nano(wanted.forgone) },
    })
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    #[test]
    fn without_days_it_is_the_month_so_far_in_the_configured_zone() {
        let arguments = Arguments {
            by: vec![By::Team],
            since: None,
            until: None,
            forecast: false,
            causal: false,
            cache_loss: false,
            would: false,
            ledger: None,
            mirror: false,
            config: None,
            format: Format::Table,
        };
        let zone = TimeZone::get("America/New_York").expect("a zone");
        let now: Timestamp = "2026-12-01T03:00:00Z".parse().expect("a moment");
        let asked = Asked::of(&arguments, &zone, now.as_millisecond());
        assert_eq!((asked.since.to_string(), asked.until.to_string()), ("2026-11-01".into(), "2026-11-30".into()));
    }

    #[test]
    fn a_word_that_is_none_is_answered_with_those_that_are() {
        assert_eq!(by("cache_loss"), Ok(By::CacheLoss));
        assert!(by("teem").expect_err("no word").contains("`team`"));
    }
}
