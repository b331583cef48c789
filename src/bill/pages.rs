//! JSON of the usage and cost APIs: pages of buckets of results, read bucket by bucket.
//!
//! A file may have one page, several one after the other, a list of pages, or buckets a line. Memory grows with the widest
//! bucket, not with the file. OpenAI counts dollars and names a bucket's ends by `start_time` and `end_time`
//! (<https://platform.openai.com/docs/api-reference/usage>); Anthropic counts cents and calls them `starting_at` and `ending_at`
//! (<https://platform.claude.com/docs/en/api/admin/cost_report>).

use std::collections::BTreeSet;
use std::fmt;
use std::io::BufRead;

use jiff::Timestamp;
use serde::Deserialize;
use serde::de::value::MapDeserializer;
use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::amount::{Amount, Unit};
use super::{Counts, Entry, Shape, Taker, Wrong, check_currency, model_of_item, of_file};

/// Reads all pages.
pub(super) fn read(mut reader: impl BufRead, taker: &mut Taker<'_>) -> Result<(), Wrong> {
    let start = reader.fill_buf().map_err(|error| of_file(error.to_string()))?;
    if start.starts_with(b"\xef\xbb\xbf") {
        reader.consume(3);
    }
    let mut json = serde_json::Deserializer::from_reader(reader);
    let mut buckets = BTreeSet::new();
    loop {
        (Node { taker, buckets: &mut buckets }).deserialize(&mut json).map_err(wrong)?;
        if json.end().is_ok() {
            return Ok(());
        }
    }
}

/// Without the place in the message, which stands before it.
fn wrong(error: serde_json::Error) -> Wrong {
    let (line, column) = (error.line(), error.column());
    let message = error.to_string();
    let message = message.strip_suffix(&format!(" at line {line} column {column}")).unwrap_or(&message);
    let number = |place: usize| u32::try_from(place).unwrap_or(u32::MAX);
    Wrong { line: number(line), column: number(column), message: message.to_owned() }
}

/// A page, a list of pages or of buckets, or a bucket: whichever it is shows itself by its keys.
struct Node<'n, 'a> {
    taker: &'n mut Taker<'a>,
    /// When the buckets until now began.
    buckets: &'n mut BTreeSet<Timestamp>,
}

impl<'de> DeserializeSeed<'de> for Node<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a page with `data` or a bucket with `results`")
    }

    fn visit_seq<S: SeqAccess<'de>>(self, mut list: S) -> Result<(), S::Error> {
        let Self { taker, buckets } = self;
        while list.next_element_seed(Node { taker, buckets })?.is_some() {}
        Ok(())
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<(), M::Error> {
        let Self { taker, buckets } = self;
        let (mut from, mut until, mut results, mut is_page) = (None, None, None, false);
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "data" => {
                    is_page = true;
                    map.next_value_seed(Node { taker, buckets })?;
                }
                "has_more" => taker.bill.has_more = map.next_value::<Option<bool>>()?.unwrap_or(false),
                "start_time" | "starting_at" => from = Some(map.next_value::<Moment>()?.0),
                "end_time" | "ending_at" => until = map.next_value::<Option<Moment>>()?.map(|moment| moment.0),
                // OpenAI's specification of the format says `result`, its answers say `results`.
                "results" | "result" => results = Some(map.next_value::<Vec<Found>>()?),
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        match (results, from) {
            (Some(results), Some(from)) => bucket(taker, buckets, (from, until), results).map_err(M::Error::custom),
            (Some(_), None) => Err(M::Error::custom("found a bucket without `start_time` or `starting_at`")),
            (None, _) if is_page => Ok(()),
            (None, _) => Err(M::Error::custom(
                "found neither `data` nor `results`; wanted what the usage or the cost API answers",
            )),
        }
    }
}

fn bucket(
    taker: &mut Taker<'_>,
    buckets: &mut BTreeSet<Timestamp>,
    (from, until): (Timestamp, Option<Timestamp>),
    results: Vec<Found>,
) -> Result<(), String> {
    if !buckets.insert(from) {
        return Err(format!("the bucket that begins at {from} occurs twice; wanted each page once"));
    }
    let day = taker.day(from, until)?;
    for Found { shape, entry, whole } in results {
        if taker.asked.forced.is_none() && taker.bill.lines + taker.bill.others == 0 {
            // Days without anything at the beginning do not show what the others are.
            taker.bill.shape = shape;
        }
        let asked = taker.bill.shape;
        if shape != asked {
            return Err(format!(
                "found a result as of `{}`; wanted `{}`: `--as` says which it is, and a file has one of them",
                shape.as_str(),
                asked.as_str()
            ));
        }
        taker.take(day, entry, xxh3_64_with_seed(&from.as_second().to_le_bytes(), whole))?;
    }
    Ok(())
}

/// A moment in Unix seconds or as RFC 3339.
#[derive(Deserialize)]
#[serde(try_from = "Box<RawValue>")]
struct Moment(Timestamp);

impl TryFrom<Box<RawValue>> for Moment {
    type Error = String;

    fn try_from(raw: Box<RawValue>) -> Result<Self, String> {
        let text = raw.get().trim_matches('"');
        let seconds = text.parse().ok().and_then(|seconds| Timestamp::from_second(seconds).ok());
        let moment = seconds.or_else(|| text.parse().ok());
        moment.map(Self).ok_or_else(|| format!("found `{}`; wanted Unix seconds or an RFC 3339 time", shown(text)))
    }
}

/// One result and what it shows its export to be.
struct Found {
    shape: Shape,
    entry: Entry,
    /// A hash of all its members, in whichever order.
    whole: u64,
}

impl<'de> Deserialize<'de> for Found {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        struct OfResult;
        impl<'de> Visitor<'de> for OfResult {
            type Value = Found;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a result")
            }

            // What is wrong with a result is found before its closing brace is left behind, so that it is told there.
            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Found, M::Error> {
                let (mut members, mut whole) = (Vec::<(String, Box<RawValue>)>::new(), 0);
                while let Some((key, value)) = map.next_entry::<String, Box<RawValue>>()? {
                    whole ^= xxh3_64_with_seed(value.get().as_bytes(), xxh3_64_with_seed(key.as_bytes(), 0));
                    members.push((key, value));
                }
                let read = members.iter().map(|(key, value)| (key.as_str(), &**value));
                let written = Written::deserialize(MapDeserializer::new(read))
                    .map_err(|error| M::Error::custom(wrong(error).message))?;
                let (shape, entry) = read_of(written).map_err(M::Error::custom)?;
                Ok(Found { shape, entry, whole })
            }
        }
        json.deserialize_map(OfResult)
    }
}

/// A result as written, of any of the APIs. What is charged to a tier or a region is part of its model's sums.
#[derive(Deserialize)]
struct Written {
    amount: Option<Box<RawValue>>,
    currency: Option<String>,
    line_item: Option<String>,
    description: Option<String>,
    model: Option<String>,
    api_key_id: Option<String>,
    project_id: Option<String>,
    workspace_id: Option<String>,
    input_tokens: Option<u64>,
    input_cached_tokens: Option<u64>,
    input_cache_write_tokens: Option<u64>,
    output_tokens: Option<u64>,
    num_model_requests: Option<u64>,
    uncached_input_tokens: Option<u64>,
    cache_read_input_tokens: Option<u64>,
    cache_creation: Option<Creation>,
}

#[derive(Deserialize, Default)]
struct Creation {
    ephemeral_5m_input_tokens: Option<u64>,
    ephemeral_1h_input_tokens: Option<u64>,
}

/// OpenAI's amount.
#[derive(Deserialize)]
struct Money {
    value: Option<Box<RawValue>>,
    currency: Option<String>,
}

/// What a result shows its export to be, and what it says.
fn read_of(written: Written) -> Result<(Shape, Entry), String> {
    let (api_key, project) = (written.api_key_id, written.project_id.or(written.workspace_id));
    let entry = |model, amount, counts| Entry { model, amount, counts, api_key, project };
    if let Some(amount) = written.amount {
        let amount = amount.get();
        if let Ok(money) = serde_json::from_str::<Money>(amount) {
            check_currency(money.currency.as_deref().unwrap_or_default())?;
            let value = money.value.as_deref().map_or("", RawValue::get);
            let model = written.line_item.as_deref().map(model_of_item).filter(|model| !model.is_empty());
            let amount = Some(amount_of(value, Unit::Dollars)?);
            return Ok((Shape::OpenaiCosts, entry(model.map(str::to_owned), amount, Counts::default())));
        }
        check_currency(written.currency.as_deref().unwrap_or_default())?;
        let amount = Some(amount_of(amount, Unit::Cents)?);
        let model = written.model.or(written.description);
        return Ok((Shape::AnthropicCost, entry(model, amount, Counts::default())));
    }
    if let Some(uncached) = written.uncached_input_tokens {
        let (creation, cached) = (written.cache_creation.unwrap_or_default(), written.cache_read_input_tokens);
        let written_tokens = [creation.ephemeral_5m_input_tokens, creation.ephemeral_1h_input_tokens];
        let writes = written_tokens.into_iter().flatten().fold(0, u64::saturating_add);
        let input = uncached.saturating_add(cached.unwrap_or(0)).saturating_add(writes);
        let counts = Counts::new(Some(input), Some(cached.unwrap_or(0)), Some(writes), written.output_tokens);
        return Ok((Shape::AnthropicUsage, entry(written.model, None, counts)));
    }
    if written.input_tokens.is_none() && written.num_model_requests.is_none() {
        return Err("found a result with neither an amount nor tokens".to_owned());
    }
    let mut counts = Counts::new(
        written.input_tokens,
        written.input_cached_tokens,
        written.input_cache_write_tokens,
        written.output_tokens,
    );
    counts.0[4] = written.num_model_requests;
    Ok((Shape::OpenaiUsage, entry(written.model, None, counts)))
}

fn amount_of(json: &str, unit: Unit) -> Result<(Amount, u32), String> {
    let text = json.trim_matches('"');
    let wanted = if unit == Unit::Cents { "cents" } else { "dollars" };
    Amount::parse(text, unit).ok_or_else(|| format!("found the amount `{}`; wanted a decimal of {wanted}", shown(text)))
}

/// The beginning of what was found.
fn shown(text: &str) -> String {
    text.chars().take(60).collect()
}
