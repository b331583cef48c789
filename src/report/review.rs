//! The quarterly cost review: five questions, each with its table and advice in dollars a month.
//!
//! Sums that somebody read off a ledger come in ([`Prompt`], [`Task`], [`Repeats`], [`Worth`]), questions with rows and
//! advice go out. Advice is an estimate and says what it rests on: how many rows, and whether those are enough.

use serde_json::{Map, Value, json};

use crate::money::NanoUsd;

/// Fewest rows that advice may rest on.
pub const ROWS_MIN: i64 = 30;
/// Shortest span that is scaled to a month, in days.
const DAYS_MIN: f64 = 7.0;
const DAY_MS: f64 = 86_400_000.0;
const DAYS_A_MONTH: f64 = 365.25 / 12.0;
/// Shortest prefix that providers cache, in tokens.
const PREFIX_TOKENS_MIN: i64 = 1024;
/// Share of a prompt that must be wasted before it is worth a word.
const WASTE_MIN: f64 = 0.02;
/// Highest probability that only a stronger model is right at which a lighter one is worth a try.
const NEEDS_STRONG_MAX: f64 = 0.25;
/// Highest share of failures, as its users say, at which the same holds.
const FAILURES_MAX: f64 = 0.1;

/// How long was looked at.
#[derive(Clone, Copy, Debug)]
pub struct Span {
    /// From the first request, in milliseconds.
    pub length_ms: i64,
}

impl Span {
    /// In days.
    pub fn days(self) -> f64 {
        self.length_ms as f64 / DAY_MS
    }

    fn is_long(self) -> bool {
        self.days() >= DAYS_MIN
    }

    fn a_month(self, nano: f64) -> i64 {
        (nano * DAYS_A_MONTH / self.days().max(1.0)).round() as i64
    }
}

/// What stands in a table.
#[derive(Clone, PartialEq, Debug)]
pub enum Cell {
    /// A name; empty: nobody gave one.
    Text(String),
    /// How many.
    Count(i64),
    /// Thousandths of something: hours have parts.
    Thousandths(i64),
    /// Nano-dollars.
    Nano(i64),
    /// From 0 to 1.
    Share(f64),
    /// Nobody knows.
    Unknown,
}

/// What to do, and what it is worth.
#[derive(Clone, PartialEq, Debug)]
pub struct Advice {
    /// In words.
    pub text: String,
    /// Nano-dollars a month; `None`: it is none that saves.
    pub a_month: Option<i64>,
    /// The rows that it rests on.
    pub rows: i64,
    /// Whether those are enough, over a span that is long enough.
    pub is_enough: bool,
}

/// A question with its answer.
#[derive(Clone, PartialEq, Debug)]
pub struct Question {
    /// As it is asked.
    pub asked: &'static str,
    /// Names of the columns; those of amounts end in `_nano`.
    pub columns: &'static [&'static str],
    /// The table, dearest first.
    pub rows: Vec<Vec<Cell>>,
    /// What follows, dearest first.
    pub advice: Vec<Advice>,
    /// What else is to be said.
    pub note: Option<String>,
}

/// Requests of one prompt. Amounts are nano-dollars.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Prompt {
    /// Its name.
    pub name: String,
    /// How many names it has: system prompts that differ in hours, ids and numbers only are one.
    pub names: i64,
    /// Calls that were answered.
    pub calls: i64,
    /// Tokens that they read.
    pub input_tokens: i64,
    /// The part of it that came from the provider's cache.
    pub cached_tokens: i64,
    /// What they cost.
    pub cost: i64,
    /// Calls of which a sketch is known.
    pub sketched: i64,
    /// Different beginnings: system prompt and tools.
    pub beginnings: i64,
    /// About how many tokens these have altogether.
    pub beginning_tokens: i64,
    /// Calls of a model whose provider caches only what a request marks, and of which nothing was read or written.
    pub unmarked: i64,
    /// What reading them from the cache would have saved.
    pub cacheable: f64,
    /// Calls whose texts were read.
    pub read: i64,
    /// What blocks cost that stood in their request before.
    pub repeated: f64,
    /// What cached prefixes cost that broke.
    pub lost: i64,
}

/// Prefixes that broke, by what broke them.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Loss {
    /// What it was.
    pub culprit: String,
    /// Requests.
    pub requests: i64,
    /// What they cost more.
    pub cost: i64,
}

/// Work of one kind that a dear tier did.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Task {
    /// Its kind.
    pub name: String,
    /// The tier.
    pub tier: String,
    /// Clients named the tier or the model: no policy chose.
    pub is_named: bool,
    /// Calls that were answered.
    pub calls: i64,
    /// What they cost.
    pub cost: i64,
    /// Mean probability that only the stronger model is right; `None`: nobody estimated it.
    pub needs_strong: Option<f64>,
    /// What the same tokens would have cost at the lighter tier; `None`: no price of one is known.
    pub lighter: Option<i64>,
    /// Words of users on them, and those that say failure.
    pub said: i64,
    /// See `said`.
    pub failures: i64,
}

/// Calls that ask what was asked before.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Repeats {
    /// Who asks.
    pub team: String,
    /// Kind of work.
    pub task: String,
    /// Requests.
    pub requests: i64,
    /// Those that are the same as an earlier one.
    pub exact: i64,
    /// What those cost.
    pub exact_cost: f64,
    /// Further ones that are so but for hours, ids and numbers.
    pub near: i64,
    /// What those cost.
    pub near_cost: f64,
    /// What would have to be masked for them.
    pub masks: Vec<&'static str>,
}

/// What a team spent in a month, and what it says that it got.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Worth {
    /// The team.
    pub team: String,
    /// The month.
    pub month: String,
    /// What it spent.
    pub cost: i64,
    /// Words of feedback.
    pub said: i64,
    /// Those that say success.
    pub successes: i64,
    /// Incidents that were resolved.
    pub incidents: i64,
    /// Thousandths of hours that were saved.
    pub milli_hours: i64,
}

/// (1) Rules.
pub fn rules() -> Question {
    Question {
        asked: "Which context rules load more than they are used?",
        columns: &[],
        rows: Vec::new(),
        advice: Vec::new(),
        note: Some("none are in use: this version loads no context rules".to_owned()),
    }
}

/// (2) Prompts with the highest token usage, and what is wasteful in them.
pub fn prompts(prompts: &[Prompt], losses: &[Loss], span: Span) -> Question {
    let row = |prompt: &Prompt| {
        vec![
            Cell::Text(prompt.name.clone()),
            Cell::Count(prompt.names),
            Cell::Count(prompt.calls),
            Cell::Count(prompt.input_tokens),
            Cell::Share(share(prompt.cached_tokens, prompt.input_tokens)),
            Cell::Nano(prompt.cost),
            Cell::Count(prompt.beginnings),
            of_sketches(prompt, Cell::Count(prompt.beginning_tokens / prompt.sketched.max(1))),
            of_sketches(prompt, Cell::Nano(prompt.cacheable.round() as i64)),
            Cell::Nano(prompt.lost),
            if prompt.read == 0 { Cell::Unknown } else { Cell::Nano(prompt.repeated.round() as i64) },
        ]
    };
    let is_wasteful = prompts.iter().any(|of| of.cacheable + of.repeated > 0.0 || of.lost > 0);
    let of_prompts = prompts.iter().flat_map(|prompt| wasted(prompt, span));
    let of_losses = losses.iter().filter(|loss| loss.cost > 0).map(|loss| {
        let text = format!("cached prefixes that broke: {}", cure(&loss.culprit));
        advice(text, loss.cost as f64, loss.requests, span)
    });
    Question {
        asked: "Which prompts have the highest token usage?",
        columns: &[
            "prompt",
            "names",
            "calls",
            "input_tokens",
            "cached",
            "cost_nano",
            "beginnings",
            "beginning_tokens",
            "uncached_nano",
            "broken_nano",
            "repeated_nano",
        ],
        rows: prompts.iter().map(row).collect(),
        advice: dearest_first(of_prompts.chain(of_losses)),
        note: is_wasteful.then(|| {
            "what is uncached, broken and repeated may be the same tokens: what one change saves, another saves no more".to_owned()
        }),
    }
}

/// What only sketches of requests say.
fn of_sketches(prompt: &Prompt, cell: Cell) -> Cell {
    if prompt.sketched == 0 { Cell::Unknown } else { cell }
}

fn wasted(prompt: &Prompt, span: Span) -> Vec<Advice> {
    let (name, mut found) = (shown(&prompt.name), Vec::new());
    if prompt.repeated > WASTE_MIN * prompt.cost as f64 && prompt.repeated > 0.0 {
        let text = format!("`{name}` repeats blocks of text within one request: say them once");
        found.push(advice(text, prompt.repeated, prompt.read, span));
    }
    let changes = prompt.names > 1 || prompt.beginnings * 10 > prompt.sketched && prompt.beginnings > 1;
    let tokens_each = prompt.beginning_tokens / prompt.sketched.max(1);
    if prompt.cacheable > WASTE_MIN * prompt.cost as f64 && prompt.cacheable > 0.0 {
        let text = match changes {
            true if prompt.names > 1 => format!(
                "`{name}`: {} system prompts differ in hours, ids and numbers only; put those behind what stays the same",
                prompt.names
            ),
            true => format!(
                "`{name}` begins in {} ways over {} calls, so that its {tokens_each} tokens of instructions and tools are \
                 seldom cached: put what changes at its end",
                prompt.beginnings, prompt.sketched
            ),
            false if prompt.unmarked * 2 > prompt.calls => format!(
                "`{name}` sends {tokens_each} tokens of instructions and tools that never vary with each call and asks for no \
                 cache: set `cache_control` at their end"
            ),
            false => format!(
                "`{name}` sends {tokens_each} tokens of instructions and tools that never vary with each call and mostly pays \
                 for them in full: see that the provider caches them"
            ),
        };
        found.push(advice(text, prompt.cacheable, prompt.sketched, span));
    } else if !changes && prompt.sketched > 0 && tokens_each > 0 && tokens_each < PREFIX_TOKENS_MIN {
        let text = format!("`{name}` sends {tokens_each} tokens that never vary, too few for a provider's cache");
        found.push(Advice { a_month: None, ..advice(text, 0.0, prompt.sketched, span) });
    }
    found
}

/// What helps against what broke a cached prefix.
fn cure(culprit: &str) -> &str {
    match culprit {
        "model" => "conversations moved between models; keep them on one, or move less often",
        "tools" => "tools changed on the way; offer them all from the start",
        "tool_order" => "the same tools came in another order; sort them by name",
        "format" => "the answer's format changed on the way; ask for one from the start",
        "system" => "the system prompt changed on the way; put what changes into the last turn",
        "timestamp" => {
            "hours, ids or numbers in the system prompt changed; leave them out, or put them into the last turn"
        }
        "history" => "earlier turns were rewritten; rewrite seldom, and much at once",
        "ttl" | "idle" => {
            "conversations paused for longer than five minutes; a cache of an hour, where the provider has one, may pay"
        }
        _ => "the provider read them anew for no reason that is seen here",
    }
}

/// (3) Work that dear tiers do and lighter ones might.
pub fn tasks(tasks: &[Task], span: Span) -> Question {
    let row = |task: &Task| {
        vec![
            Cell::Text(task.name.clone()),
            Cell::Text(task.tier.clone()),
            Cell::Text(if task.is_named { "client" } else { "policy" }.to_owned()),
            Cell::Count(task.calls),
            Cell::Nano(task.cost),
            task.needs_strong.map_or(Cell::Unknown, Cell::Share),
            task.lighter.map_or(Cell::Unknown, Cell::Nano),
            Cell::Count(task.said),
            Cell::Count(task.failures),
        ]
    };
    let advised = tasks.iter().filter_map(|task| {
        let (needs_strong, lighter) = (task.needs_strong?, task.lighter?);
        let fails = task.said > 0 && share(task.failures, task.said) > FAILURES_MAX;
        // Work that was taken for no task is nothing that a policy could name.
        if task.name.is_empty() || needs_strong > NEEDS_STRONG_MAX || fails || lighter >= task.cost {
            return None;
        }
        let (name, tier, of_100) = (&task.name, &task.tier, needs_strong * 100.0);
        let what = match task.is_named {
            true => format!("have clients ask for `auto` with `{name}`, for which they name {tier}"),
            false => format!("try `{name}` at the lightweight tier instead of {tier}"),
        };
        let text = format!("{what}: in about {of_100:.0} of 100 calls only the stronger model would be right");
        Some(advice(text, (task.cost - lighter) as f64, task.calls, span))
    });
    let unpriced = !tasks.is_empty() && tasks.iter().all(|task| task.lighter.is_none());
    Question {
        asked: "Which tasks go to frontier models and could use lighter ones?",
        columns: &[
            "task",
            "tier",
            "chosen_by",
            "calls",
            "cost_nano",
            "needs_strong",
            "lighter_nano",
            "feedback",
            "failures",
        ],
        rows: tasks.iter().map(row).collect(),
        advice: dearest_first(advised),
        note: unpriced.then(|| {
            "no model of the lightweight tier has a price to compare with: none is configured, and none answered"
                .to_owned()
        }),
    }
}

/// (4) Calls that a cache would answer.
pub fn repeats(repeats: &[Repeats], span: Span) -> Question {
    let row = |repeats: &Repeats| {
        vec![
            Cell::Text(repeats.team.clone()),
            Cell::Text(repeats.task.clone()),
            Cell::Count(repeats.requests),
            Cell::Count(repeats.exact),
            Cell::Nano(repeats.exact_cost.round() as i64),
            Cell::Count(repeats.near),
            Cell::Nano(repeats.near_cost.round() as i64),
            Cell::Text(repeats.masks.join(", ")),
        ]
    };
    let advised = repeats.iter().flat_map(|repeats| {
        let whose = format!("`{}` of `{}`", shown(&repeats.task), shown(&repeats.team));
        let exact = (repeats.exact > 0).then(|| {
            let text =
                format!("{whose}: {} of {} requests are exact repeats; cache them", repeats.exact, repeats.requests);
            advice(text, repeats.exact_cost, repeats.requests, span)
        });
        let near = (repeats.near > 0).then(|| {
            let (near, masks) = (repeats.near, repeats.masks.join(", "));
            let text = match masks.is_empty() {
                true => format!(
                    "{whose}: {near} more ask the same behind other words of the model or other ids of its calls"
                ),
                false => {
                    format!("{whose}: {near} more would be, with {masks} masked, if the answer does not depend on them")
                }
            };
            advice(text, repeats.near_cost, repeats.requests, span)
        });
        exact.into_iter().chain(near)
    });
    Question {
        asked: "Which calls are candidates for caching?",
        columns: &["team", "task", "requests", "repeats", "repeats_nano", "near_repeats", "near_repeats_nano", "masks"],
        rows: repeats.iter().map(row).collect(),
        advice: dearest_first(advised),
        note: None,
    }
}

/// (5) Cost against value. Rows are in the order of their months. What a team's cost grew by beyond what it got is dollars of
/// a month already; so is what a team spends that says nothing of what it got, while others do.
pub fn worth(worth: &[Worth], span: Span) -> Question {
    let per = |cost: i64, parts: i64, whole: i64| {
        if parts == 0 { Cell::Unknown } else { Cell::Nano((cost as f64 * whole as f64 / parts as f64).round() as i64) }
    };
    let row = |worth: &Worth| {
        vec![
            Cell::Text(worth.team.clone()),
            Cell::Text(worth.month.clone()),
            Cell::Nano(worth.cost),
            Cell::Count(worth.said),
            if worth.said == 0 { Cell::Unknown } else { Cell::Share(share(worth.successes, worth.said)) },
            Cell::Count(worth.incidents),
            per(worth.cost, worth.incidents, 1),
            Cell::Thousandths(worth.milli_hours),
            per(worth.cost, worth.milli_hours, 1000),
        ]
    };
    let said: i64 = worth.iter().map(|worth| worth.said).sum();
    let mut teams: Vec<&str> = worth.iter().map(|worth| &*worth.team).collect();
    teams.sort_unstable();
    teams.dedup();
    let advised = teams.into_iter().filter_map(|team| {
        let months: Vec<&Worth> = worth.iter().filter(|worth| worth.team == team).collect();
        if said > 0 && months.iter().all(|worth| worth.said == 0) {
            let spent: i64 = months.iter().map(|worth| worth.cost).sum();
            let text = format!("`{}` says of nothing what it was worth: have it send feedback", shown(team));
            return (spent > 0).then(|| advice(text, spent as f64, months.len() as i64, span));
        }
        // The last month may be under way: cost and value are both of the same part of it.
        let [.., before, last] = months.as_slice() else { return None };
        let grown = |of: fn(&Worth) -> i64| (of(before) > 0).then(|| of(last) as f64 / of(before) as f64);
        let cost = grown(|worth| worth.cost)?;
        let value = grown(|worth| worth.milli_hours)
            .or_else(|| grown(|worth| worth.incidents))
            .or_else(|| grown(|worth| worth.successes))?;
        let what = match before {
            Worth { milli_hours: 1.., .. } => "hours saved",
            Worth { incidents: 1.., .. } => "incidents resolved",
            _ => "successes",
        };
        let is_dearer = cost > value * 1.1;
        let verdict = if is_dearer { "cost does not track value" } else { "cost tracks value" };
        let beyond = last.cost.saturating_sub((before.cost as f64 * value).round() as i64);
        let text = format!(
            "`{}`: from {} to {} cost went to {:.0} %, {what} to {:.0} %: {verdict}",
            shown(team),
            before.month,
            last.month,
            cost * 100.0,
            value * 100.0
        );
        let a_month = is_dearer.then_some(beyond);
        Some(Advice { a_month, ..advice(text, 0.0, before.said + last.said, span) })
    });
    Question {
        asked: "Does cost track the value delivered?",
        columns: &[
            "team",
            "month",
            "cost_nano",
            "feedback",
            "success",
            "incidents",
            "incident_nano",
            "hours_saved",
            "hour_nano",
        ],
        rows: worth.iter().map(row).collect(),
        advice: dearest_first(advised),
        note: (said == 0)
            .then(|| "nobody says what answers were worth: `POST /v1/feedback` (docs/feedback.md)".to_owned()),
    }
}

fn advice(text: String, nano: f64, rows: i64, span: Span) -> Advice {
    Advice { text, a_month: Some(span.a_month(nano)), rows, is_enough: rows >= ROWS_MIN && span.is_long() }
}

fn dearest_first(advice: impl Iterator<Item = Advice>) -> Vec<Advice> {
    let mut advice: Vec<Advice> = advice.collect();
    advice.sort_by_key(|advice| std::cmp::Reverse(advice.a_month.unwrap_or_default()));
    advice
}

fn share(part: i64, whole: i64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

fn shown(name: &str) -> &str {
    if name.is_empty() { "(none)" } else { name }
}

impl Advice {
    /// In one line.
    pub fn words(&self, span: Span) -> String {
        let worth = self.a_month.map_or_else(String::new, |nano| format!("${} a month: ", cents(nano)));
        let rests = match (self.is_enough, span.is_long()) {
            (true, _) => format!("n = {}", self.rows),
            (false, true) => format!("n = {}, too small", self.rows),
            (false, false) => format!("n = {} over {:.1} days, too short", self.rows, span.days()),
        };
        format!("{worth}{} ({rests})", self.text)
    }
}

/// `11`, `1.5`, `0.125`.
fn thousandths(number: i64) -> String {
    let text = format!("{}.{:03}", number / 1000, number.unsigned_abs() % 1000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Dollars to the cent, or what is left of them.
fn cents(nano: i64) -> String {
    const CENT: i64 = 10_000_000;
    if nano.abs() < CENT { NanoUsd(nano).to_string() } else { format!("{:.2}", nano as f64 / 1e9) }
}

impl Cell {
    /// As it stands in a table.
    pub fn shown(&self) -> String {
        match self {
            Self::Text(text) => shown(text).chars().map(|c| if c.is_control() { ' ' } else { c }).collect(),
            Self::Count(count) => count.to_string(),
            Self::Thousandths(number) => thousandths(*number),
            Self::Nano(nano) => cents(*nano),
            Self::Share(share) => format!("{:.0} %", share * 100.0),
            Self::Unknown => "-".to_owned(),
        }
    }

    fn json(&self) -> Value {
        match self {
            Self::Text(text) => json!(text),
            Self::Count(number) | Self::Nano(number) => json!(number),
            Self::Thousandths(number) => json!(*number as f64 / 1000.0),
            Self::Share(share) => json!((share * 1e6).round() / 1e6),
            Self::Unknown => Value::Null,
        }
    }
}

impl Question {
    /// As JSON; amounts are whole nano-dollars.
    pub fn json(&self, number: usize) -> Value {
        let row = |row: &Vec<Cell>| {
            let cells = self.columns.iter().zip(row).map(|(name, cell)| ((*name).to_owned(), cell.json()));
            Value::Object(cells.collect::<Map<_, _>>())
        };
        let advice = |advice: &Advice| {
            json!({
                "text": advice.text, "nano_a_month": advice.a_month, "n": advice.rows, "n_is_enough": advice.is_enough,
            })
        };
        json!({
            "number": number, "question": self.asked, "rows": self.rows.iter().map(row).collect::<Vec<_>>(),
            "advice": self.advice.iter().map(advice).collect::<Vec<_>>(), "note": self.note,
        })
    }
}

#[cfg(test)]
#[path = "review/tests.rs"]
mod tests;
