//! Price rows from YAML text: the layout of `prices.yaml` and of the built-in book.
//!
//! A file is a list of rows; every row is checked on its own and all findings are reported together,
//! with line and column. What the gaps of a row mean is in `price`, what a decimal may look like in `decimal`.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::civil::Date;

use crate::money::PicoUsdPerToken;
use crate::problem::{Place, Problem, nearest_hint};
use crate::reply::usage::Calls;
use crate::yaml::findings::{Findings, found};
use crate::yaml::{self, Key, Node, Value};

use super::book::{Row, Rows};
use super::decimal::usd_per_million;
use super::fees::Fees;
use super::price::{Hours, Maker, Metered, Price, Rates, Schedule, StatedRates, Step, Terms, TokenLimits, checksum};

const ROW_KEYS: [&str; 12] = [
    "model",
    "from",
    "usd_per_million",
    "above",
    "batch",
    "flex",
    "priority",
    "hours",
    "fees",
    "price",
    "limits",
    "deprecated",
];
const RATE_KEYS: [&str; 11] = [
    "input",
    "cached_input",
    "cache_write_5m",
    "cache_write_1h",
    "output",
    "reasoning",
    "audio_input",
    "cached_audio_input",
    "audio_output",
    "image_input",
    "image_output",
];
const LIMIT_KEYS: [&str; 2] = ["input", "output"];

/// Where rows come from, which decides what their versions are called.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Origin<'a> {
    /// The built-in book, with its edition such as `builtin-2026-11`.
    BuiltIn(&'a str),
    /// A file as its user named it.
    File(&'a str),
}

/// Reads all rows of `text`, or says everything that is wrong with it.
pub(super) fn rows(origin: Origin<'_>, text: &str) -> Result<Rows, Vec<Problem>> {
    let file = match origin {
        Origin::BuiltIn(name) | Origin::File(name) => name,
    };
    let mut reader = Reader { origin, findings: Findings::new(file) };
    let (mut rows, mut seen) = (Vec::new(), HashMap::new());
    match yaml::read(text) {
        Err((place, message)) => reader.findings.report(place, message),
        Ok(document) => {
            for node in reader.list_of_rows(document) {
                let place = node.place;
                let Some(row) = reader.row(node) else { continue };
                reader.refuse_twin(&mut seen, &row, place);
                rows.push(row);
            }
        }
    }
    reader.findings.none().map(|()| Rows(rows))
}

/// Reads nodes, and collects what is wrong with them. A reading method gives `None` after it reported why.
struct Reader<'a> {
    origin: Origin<'a>,
    findings: Findings<'a>,
}

/// What only one row of a file may have: vendor, model, `from`.
type RowKey = (String, String, Option<Date>);

/// A block of rates as written, with its steps if it has `above`.
struct Block {
    place: Place,
    name: String,
    rates: StatedRates,
    above: Option<Vec<(u64, Block)>>,
}

/// The parts of one row as they are found.
#[derive(Default)]
struct Parts {
    model: Option<(String, String)>,
    from: Option<Date>,
    free: Option<Place>,
    standard: Option<Block>,
    above: Option<Vec<(u64, Block)>>,
    batch: Option<Block>,
    flex: Option<Block>,
    priority: Option<Block>,
    hours: Vec<(Hours, Block)>,
    fees: Option<Fees>,
    limits: TokenLimits,
    deprecated: Option<Date>,
}

impl Reader<'_> {
    fn list_of_rows<'n>(&mut self, document: Node<'n>) -> Vec<Node<'n>> {
        match document.value {
            Value::Empty => Vec::new(),
            Value::List(rows) => rows,
            other => {
                let found = other.noun();
                self.findings.report(document.place, format!("the file is {found}; wanted a list of rows: {EXAMPLE}"));
                Vec::new()
            }
        }
    }

    fn row(&mut self, node: Node<'_>) -> Option<Row> {
        let (place, before) = (node.place, self.findings.count());
        let Value::Map(entries) = node.value else {
            self.findings.report(place, format!("a row is {}; wanted {EXAMPLE}", node.value.noun()));
            return None;
        };
        self.findings.refuse_repeats(&entries);
        if !entries.iter().any(|(key, _)| key.text == "model") {
            self.findings.report(place, "the row has no `model`; wanted `model: vendor/name`, such as `openai/gpt-x`");
        }
        let mut parts = Parts::default();
        for (key, value) in entries {
            self.part(&mut parts, &key, value);
        }
        let model = parts.model.take();
        let (from, limits, deprecated) = (parts.from, parts.limits, parts.deprecated);
        let maker = model.as_ref().map_or(Maker::Other, |(vendor, model)| Maker::of(vendor, model));
        let stated = parts.fees.unwrap_or_default();
        let fees = model.as_ref().map_or(stated, |(vendor, _)| stated.filled(vendor));
        let terms = if self.findings.count() == before { self.terms(place, parts, (maker, fees)) } else { None };
        let (vendor, model) = model?;
        let (terms, hours) = terms.filter(|_| self.findings.count() == before)?;
        let version = version(self.origin, (&vendor, &model, from), &terms, &hours, stated);
        let at = |(hours, terms): (Hours, Terms)| {
            let version = format!("{version}/{hours}");
            (hours, Arc::new(Price { version, from, terms, hours: Vec::new(), limits, deprecated }))
        };
        let hours = hours.into_iter().map(at).collect();
        Some(Row { vendor, model, price: Price { version, from, terms, hours, limits, deprecated } })
    }

    fn part(&mut self, parts: &mut Parts, key: &Key<'_>, node: Node<'_>) {
        let place = node.place;
        match &*key.text {
            "model" => parts.model = self.model(&node),
            "from" => parts.from = self.findings.date("from", &node),
            "deprecated" => parts.deprecated = self.findings.date("deprecated", &node),
            "price" => parts.free = self.free(&node).then_some(place),
            "usd_per_million" => parts.standard = self.block("usd_per_million", node, Steps::Elsewhere),
            "batch" => parts.batch = self.block("batch", node, Steps::Inside),
            "flex" => parts.flex = self.block("flex", node, Steps::Inside),
            "priority" => parts.priority = self.block("priority", node, Steps::Inside),
            "above" => parts.above = self.steps("above", node),
            "hours" => parts.hours = self.hours(node),
            "fees" => parts.fees = Some(self.fees(node)),
            "limits" => parts.limits = self.limits(node),
            _ => self.findings.unknown_key(key, &ROW_KEYS),
        }
    }

    /// What a row without findings charges, and in which hours something else.
    fn terms(
        &mut self,
        place: Place,
        parts: Parts,
        (maker, fees): (Maker, Fees),
    ) -> Option<(Terms, Vec<(Hours, Terms)>)> {
        if let Some(free) = parts.free {
            let blocks = [&parts.standard, &parts.batch, &parts.flex, &parts.priority];
            let hours = parts.hours.iter().map(|(_, block)| block);
            let mut names = blocks.into_iter().flatten().chain(hours).map(|block| block.name.as_str());
            let Some(name) = names.next().or(parts.above.as_ref().map(|_| "above")).or(parts.fees.map(|_| "fees"))
            else {
                return Some((Terms::Free, Vec::new()));
            };
            self.findings.report(free, format!("`price: free` stands beside `{name}`; wanted one of the two"));
            return None;
        }
        let Some(mut standard) = parts.standard else {
            self.findings.report(
                place,
                "the row has no price; wanted `usd_per_million: { input: …, output: … }` or `price: free`",
            );
            return None;
        };
        standard.above = parts.above;
        let needs_output = standard.rates.output.is_some();
        let inherited = standard.above.iter().flatten().map(|(above, _)| *above).min();
        let standard = self.schedule(standard, (needs_output, maker), None)?;
        let mut tier =
            |block: Option<Block>| block.and_then(|block| self.schedule(block, (needs_output, maker), inherited));
        let (batch, flex, priority) = (tier(parts.batch), tier(parts.flex), tier(parts.priority));
        let metered = Metered { standard, batch, flex, priority, fees };
        // The other service tiers cost the same all day.
        let hours = parts.hours.into_iter().filter_map(|(hours, block)| {
            let standard = self.schedule(block, (needs_output, maker), inherited)?;
            Some((hours, Terms::Metered(Box::new(Metered { standard, ..metered.clone() }))))
        });
        let hours = hours.collect();
        Some((Terms::Metered(Box::new(metered)), hours))
    }

    /// Fills the gaps of a block and its steps. Without steps of its own a tier's rates end at `inherited`.
    fn schedule(&mut self, block: Block, of_model: (bool, Maker), inherited: Option<u64>) -> Option<Schedule> {
        let base = self.filled(&block, of_model)?;
        let mut steps = Vec::new();
        match block.above {
            None => steps.extend(inherited.map(|above| Step { above, rates: None })),
            Some(written) => {
                for (above, block) in written {
                    steps.push(Step { above, rates: Some(self.filled(&block, of_model)?) });
                }
            }
        }
        steps.sort_by_key(|step| step.above);
        Some(Schedule { base, steps })
    }

    fn filled(&mut self, block: &Block, (needs_output, maker): (bool, Maker)) -> Option<Rates> {
        if needs_output && block.rates.output.is_none() {
            let message = "has no `output` rate; each block is priced by itself, so wanted `output` here too";
            self.findings.report(block.place, format!("`{}` {message}", block.name));
            return None;
        }
        let filled = Rates::filled(block.rates, maker);
        match &filled {
            None => {
                let message = format!("`{}` has no `input` rate; wanted at least `input`", block.name);
                self.findings.report(block.place, message);
            }
            Some(rates) if rates.is_zero() => {
                let wanted = "wanted rates that are known, or `price: free` for the row if nothing is charged";
                self.findings.report(block.place, format!("every rate of `{}` is zero; {wanted}", block.name));
            }
            Some(_) => {}
        }
        filled
    }

    fn model(&mut self, node: &Node<'_>) -> Option<(String, String)> {
        let text = self.findings.text("model", node, "`vendor/name`, such as `openai/gpt-x`")?;
        match text.split_once('/') {
            Some((vendor, model)) if !vendor.is_empty() && !model.is_empty() && !text.contains(char::is_whitespace) => {
                Some((vendor.to_owned(), model.to_owned()))
            }
            _ => {
                let message = format!("`model` is {}; wanted `vendor/name`, such as `openai/gpt-x`", found(text));
                self.findings.report(node.place, message);
                None
            }
        }
    }

    fn free(&mut self, node: &Node<'_>) -> bool {
        let Some(text) = self.findings.text("price", node, "`free`") else { return false };
        if text != "free" {
            let hint = nearest_hint(text, ["free"]);
            let message = format!("`price` is {}; wanted `free`, or rates under `usd_per_million`{hint}", found(text));
            self.findings.report(node.place, message);
        }
        text == "free"
    }

    fn block(&mut self, name: &str, node: Node<'_>, steps: Steps) -> Option<Block> {
        let place = node.place;
        let entries = self.findings.entries(name, node, "a map of rates, such as `{ input: 1.25, output: 10 }`")?;
        let mut block = Block { place, name: name.to_owned(), rates: StatedRates::default(), above: None };
        let mut known = RATE_KEYS.to_vec();
        known.extend((steps == Steps::Inside).then_some("above"));
        for (key, value) in entries {
            match &*key.text {
                "above" if steps == Steps::Elsewhere => {
                    let message = "`above` stands inside `usd_per_million`; wanted it beside it, as a key of the row";
                    self.findings.report(key.place, message);
                }
                "above" if steps == Steps::Inside => block.above = self.steps(&format!("{name}.above"), value),
                text => match slot(&mut block.rates, text) {
                    Some(slot) => *slot = self.rate(text, &value),
                    None => self.findings.unknown_key(&key, &known),
                },
            }
        }
        Some(block)
    }

    fn rate(&mut self, name: &str, node: &Node<'_>) -> Option<PicoUsdPerToken> {
        let text = self.findings.text(name, node, "dollars per million tokens, such as `1.25`")?;
        usd_per_million(text)
            .map_err(|wanted| self.findings.report(node.place, format!("`{name}` is {}; {wanted}", found(text))))
            .ok()
    }

    fn steps(&mut self, name: &str, node: Node<'_>) -> Option<Vec<(u64, Block)>> {
        let entries = self.findings.entries(name, node, "a map such as `{ 272000: { input: 2.5, output: 15 } }`")?;
        let mut steps = Vec::new();
        for (key, value) in entries {
            let block = self.block(&format!("{name}.{}", key.text), value, Steps::Refused);
            match count(&key.text) {
                None => {
                    let message = format!(
                        "{} is no step of `{name}`; wanted a count of input tokens, such as `272000`",
                        found(&key.text)
                    );
                    self.findings.report(key.place, message);
                }
                Some(above) => steps.extend(block.map(|block| (above, block))),
            }
        }
        Some(steps)
    }

    fn hours(&mut self, node: Node<'_>) -> Vec<(Hours, Block)> {
        const WANTED: &str = "a time of the day in UTC, such as `16:30-00:30`";
        let example = "a map such as `{ 16:30-00:30: { input: 0.14, output: 0.55 } }`";
        let mut found: Vec<(Hours, Block)> = Vec::new();
        for (key, value) in self.findings.entries("hours", node, example).into_iter().flatten() {
            let block = self.block(&format!("hours.{}", key.text), value, Steps::Inside);
            let Some(hours) = Hours::read(&key.text) else {
                self.findings
                    .report(key.place, format!("{} is no part of `hours`; wanted {WANTED}", self::found(&key.text)));
                continue;
            };
            if let Some((other, _)) = found.iter().find(|(other, _)| other.overlaps(hours)) {
                self.findings
                    .report(key.place, format!("`{hours}` overlaps `{other}`; wanted one price for each minute"));
            }
            found.extend(block.map(|block| (hours, block)));
        }
        found
    }

    fn fees(&mut self, node: Node<'_>) -> Fees {
        let mut fees = Fees::default();
        for (key, value) in
            self.findings.entries("fees", node, "a map such as `{ web_search: 0.01 }`").into_iter().flatten()
        {
            if !Calls::KINDS.contains(&&*key.text) {
                self.findings.unknown_key(&key, &Calls::KINDS);
                continue;
            }
            let Some(text) = self.findings.text(&key.text, &value, "dollars a call, such as `0.01`") else { continue };
            match usd_per_million(text) {
                Ok(dollars) => drop(fees.state(&key.text, dollars)),
                Err(_) => {
                    let wanted = "wanted dollars a call as a plain decimal of at most six decimals, such as `0.01`";
                    self.findings.report(value.place, format!("`{}` is {}; {wanted}", key.text, found(text)));
                }
            }
        }
        fees
    }

    fn limits(&mut self, node: Node<'_>) -> TokenLimits {
        let mut limits = TokenLimits::default();
        let entries = self.findings.entries("limits", node, "a map such as `{ input: 400000, output: 128000 }`");
        for (key, value) in entries.into_iter().flatten() {
            let limit = match &*key.text {
                "input" => &mut limits.input,
                "output" => &mut limits.output,
                _ => {
                    self.findings.unknown_key(&key, &LIMIT_KEYS);
                    continue;
                }
            };
            const WANTED: &str = "a count of tokens, such as `128000`";
            let Some(text) = self.findings.text(&key.text, &value, WANTED) else { continue };
            *limit = count(text);
            if limit.is_none() {
                self.findings.report(value.place, format!("`{}` is {}; wanted {WANTED}", key.text, found(text)));
            }
        }
        limits
    }

    fn refuse_twin(&mut self, seen: &mut HashMap<RowKey, Place>, row: &Row, place: Place) {
        let Row { vendor, model, price } = row;
        let Some(first) = seen.insert((vendor.clone(), model.clone(), price.from), place) else { return };
        let from = price.from.map_or("without `from`".to_owned(), |from| format!("from `{from}`"));
        self.findings
            .report(place, format!("a second row for `{vendor}/{model}` {from}; another is in line {}", first.line));
    }
}

const EXAMPLE: &str = "`- { model: openai/gpt-x, usd_per_million: { input: 1.25, output: 10 } }`";

/// Where a block keeps its long-context steps.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Steps {
    /// In its own `above`.
    Inside,
    /// In the row's `above`.
    Elsewhere,
    /// It is a step itself.
    Refused,
}

fn slot<'r>(rates: &'r mut StatedRates, key: &str) -> Option<&'r mut Option<PicoUsdPerToken>> {
    Some(match key {
        "input" => &mut rates.input,
        "cached_input" => &mut rates.cached_input,
        "cache_write_5m" => &mut rates.cache_write_5m,
        "cache_write_1h" => &mut rates.cache_write_1h,
        "output" => &mut rates.output,
        "reasoning" => &mut rates.reasoning,
        "audio_input" => &mut rates.apart.audio_input,
        "cached_audio_input" => &mut rates.apart.cached_audio_input,
        "audio_output" => &mut rates.apart.audio_output,
        "image_input" => &mut rates.apart.image_input,
        "image_output" => &mut rates.apart.image_output,
        _ => return None,
    })
}

/// A count of tokens: digits only, no leading zero.
fn count(text: &str) -> Option<u64> {
    let plain = !text.starts_with('0') && text.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| text.parse().ok()).flatten()
}

fn version(
    origin: Origin<'_>,
    (vendor, model, from): (&str, &str, Option<Date>),
    terms: &Terms,
    hours: &[(Hours, Terms)],
    stated: Fees,
) -> String {
    let from = from.map_or(String::new(), |from| format!(":{from}"));
    match origin {
        Origin::BuiltIn(edition) => format!("{vendor}/{model}@{edition}{from}"),
        Origin::File(path) => {
            let name = path.rsplit(['/', '\\']).next().unwrap_or(path);
            format!("{vendor}/{model}@{name}{from}#{:08x}", checksum(terms, hours, stated))
        }
    }
}

#[cfg(test)]
#[path = "parse/tests.rs"]
mod tests;
