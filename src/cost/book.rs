//! The price book: which row prices a model on a day.
//!
//! The built-in book comes with the program, a file a vendor, each read when its vendor is first asked for; a
//! user's rows are laid over it, and the result never changes: share it by `Arc` and swap the whole. Models are
//! looked up by vendor and exact name: a dated snapshot that the book does not list has no price, however well
//! its base name is known.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use jiff::Zoned;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use crate::problem::Problem;

use super::parse::{self, Origin};
use super::price::Price;

/// What the versions of built-in rows end in: the month of the lists they were taken from.
const EDITION: &str = "builtin-2026-11";

/// The built-in files. Most processes ask for few vendors, and reading all would cost every start several
/// megabytes and more than ten times as long.
static BUILT_IN: [BuiltIn; 14] = [
    BuiltIn::new("anthropic", include_str!("prices/anthropic.yaml")),
    BuiltIn::new("azure", include_str!("prices/azure.yaml")),
    BuiltIn::new("bedrock", include_str!("prices/bedrock.yaml")),
    BuiltIn::new("cohere", include_str!("prices/cohere.yaml")),
    BuiltIn::new("deepseek", include_str!("prices/deepseek.yaml")),
    BuiltIn::new("fireworks", include_str!("prices/fireworks.yaml")),
    BuiltIn::new("gemini", include_str!("prices/gemini.yaml")),
    BuiltIn::new("groq", include_str!("prices/groq.yaml")),
    BuiltIn::new("mistral", include_str!("prices/mistral.yaml")),
    BuiltIn::new("openai", include_str!("prices/openai.yaml")),
    BuiltIn::new("together", include_str!("prices/together.yaml")),
    BuiltIn::new("vertex", include_str!("prices/vertex.yaml")),
    BuiltIn::new("voyage", include_str!("prices/voyage.yaml")),
    BuiltIn::new("xai", include_str!("prices/xai.yaml")),
];

/// Prices by model; the rows of a model ascend by `from`, the one without first.
type Models = HashMap<String, Vec<Arc<Price>>>;

/// One vendor's built-in file.
struct BuiltIn {
    vendor: &'static str,
    text: &'static str,
    models: OnceLock<Models>,
}

impl BuiltIn {
    const fn new(vendor: &'static str, text: &'static str) -> Self {
        Self { vendor, text, models: OnceLock::new() }
    }

    /// What it says, read on first use.
    fn models(&self) -> &Models {
        self.models.get_or_init(|| {
            let rows = parse::rows(Origin::BuiltIn(EDITION), self.text).expect("a test reads every built-in row");
            let mut models = Models::new();
            rows.0.into_iter().for_each(|row| lay_over(models.entry(row.model).or_default(), row.price));
            models
        })
    }
}

/// Prices by vendor, model and day.
#[derive(Clone, Debug, Default)]
pub struct Book {
    /// Whether the built-in files lie under the rows.
    on_built_in: bool,
    /// The models that a user's rows are about, by vendor: all their rows, built-in ones included.
    written: HashMap<String, Models>,
}

/// One row of a price file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Row {
    /// The first half of the model's book key, such as `openai`.
    pub vendor: String,
    /// The second half, as the provider spells it; may contain `/`.
    pub model: String,
    /// Its price from the row's date on.
    pub price: Price,
}

/// The rows of one price file, in file order; no two have the same model and `from`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Rows(pub Vec<Row>);

impl Book {
    /// Reads a price file. `file` is the name that problems and price versions show; nothing is opened.
    ///
    /// The file is a list of rows. Rates are dollars per million tokens, exact to the sixth decimal:
    ///
    /// ```yaml
    /// - model: openai/gpt-x                # vendor/name, as the provider spells it
    ///   from: 2026-11-01                   # first day, in the caller's time zone; without it, from the beginning
    ///   usd_per_million: { input: 4, cached_input: 0.4, cache_write_5m: 5, cache_write_1h: 8, output: 20, reasoning: 20 }
    ///   above:                             # inputs of more tokens: the whole request at these rates
    ///     272000: { input: 8, cached_input: 0.8, output: 30 }
    ///   flex: { input: 2, output: 10, above: { 272000: { input: 4, output: 15 } } }   # also `batch`, `priority`
    ///   hours: { 16:30-00:30: { input: 2, output: 10 } }   # UTC; requests that arrive then, instead of `usd_per_million`
    ///   limits: { input: 922000, output: 128000 }
    ///   deprecated: 2027-06-30
    /// - { model: acme/tiny, price: free }
    /// ```
    ///
    /// Only `input` is required of a block, and `output` where the standard block has it; [`Rates`] says what is
    /// charged for the others. A service tier without `above` has no price beyond the row's own first step.
    ///
    /// [`Rates`]: super::Rates
    ///
    /// # Errors
    ///
    /// Everything that is wrong with the text, by line and column; a file with any problem has no rows.
    pub fn parse(file: &str, text: &str) -> Result<Rows, Vec<Problem>> {
        parse::rows(Origin::File(file), text)
    }

    /// The book that comes with the program.
    pub fn builtin() -> &'static Self {
        static BOOK: OnceLock<Book> = OnceLock::new();
        BOOK.get_or_init(|| Self { on_built_in: true, written: HashMap::new() })
    }

    /// This book with further rows: each replaces the row of the same model and `from`, or is added.
    #[must_use]
    pub fn with_user_rows(&self, rows: Rows) -> Self {
        let mut book = self.clone();
        for Row { vendor, model, price } in rows.0 {
            let under = self.built_in(&vendor);
            let models = book.written.entry(vendor).or_default();
            let rows = models
                .entry(model)
                .or_insert_with_key(|model| under.and_then(|models| models.get(model)).cloned().unwrap_or_default());
            lay_over(rows, price);
        }
        book
    }

    /// Reads what is built in about `vendor`, if it was not read yet: a few milliseconds for the largest, which
    /// the first request should not have to wait for.
    pub fn read_ahead(&self, vendor: &str) {
        self.built_in(vendor);
    }

    /// The price in force on day `at`, outside of the hours that a row tells apart: that of the latest row whose `from` is not after it.
    ///
    /// Allocates nothing once its vendor was read. `None`: the price is unknown. There is no falling back to a
    /// shorter name.
    pub fn price(&self, vendor: &str, model: &str, at: Date) -> Option<&Arc<Price>> {
        let written = self.written.get(vendor).and_then(|models| models.get(model));
        let rows = written.or_else(|| self.built_in(vendor)?.get(model))?;
        rows.iter().rev().find(|price| price.from.is_none_or(|from| from <= at))
    }

    /// The price of a request that arrives at `arrived`: that of the day there, and of the hour in UTC where the row
    /// tells hours apart.
    pub fn price_at(&self, vendor: &str, model: &str, arrived: &Zoned) -> Option<&Arc<Price>> {
        let price = self.price(vendor, model, arrived.date())?;
        if price.hours.is_empty() {
            return Some(price);
        }
        let utc = arrived.timestamp().to_zoned(TimeZone::UTC);
        Some(price.at(u16::from(utc.hour().unsigned_abs()) * 60 + u16::from(utc.minute().unsigned_abs())))
    }

    /// The price of a version that a row of the ledger names; `None`: the book has it no longer, or the provider stated it.
    pub fn of_version(&self, version: &str) -> Option<&Price> {
        let (vendor, model) = version.split('@').next()?.split_once('/')?;
        let of_model = self.rows_of(vendor).filter(|(name, _)| *name == model).map(|(_, price)| price);
        let prices =
            of_model.flat_map(|price| std::iter::once(price).chain(price.hours.iter().map(|(_, price)| price)));
        prices.map(|price| &**price).find(|price| price.version == version)
    }

    /// The rows of one vendor as model and price, in no particular order of models; a model's rows ascend by date.
    pub fn rows_of(&self, vendor: &str) -> impl Iterator<Item = (&str, &Arc<Price>)> {
        let written = self.written.get(vendor);
        let is_written = move |model: &str| written.is_some_and(|models| models.contains_key(model));
        let under = self.built_in(vendor).into_iter().flatten().filter(move |(model, _)| !is_written(model));
        let models = written.into_iter().flatten().chain(under);
        models.flat_map(|(model, rows)| rows.iter().map(move |price| (model.as_str(), price)))
    }

    /// The rows that users wrote, as vendor, model and price.
    pub fn user_rows(&self) -> impl Iterator<Item = (&str, &str, &Arc<Price>)> {
        self.written.iter().flat_map(|(vendor, models)| {
            let rows = models.iter().flat_map(|(model, rows)| rows.iter().map(move |price| (model.as_str(), price)));
            let of_users = rows.filter(|(_, price)| !price.is_built_in());
            of_users.map(move |(model, price)| (vendor.as_str(), model, price))
        })
    }

    /// The vendors that the program knows prices of.
    pub fn built_in_vendors() -> impl Iterator<Item = &'static str> {
        BUILT_IN.iter().map(|file| file.vendor)
    }

    fn built_in(&self, vendor: &str) -> Option<&'static Models> {
        let file = BUILT_IN.iter().find(|file| file.vendor == vendor).filter(|_| self.on_built_in)?;
        Some(file.models())
    }
}

fn lay_over(rows: &mut Vec<Arc<Price>>, price: Price) {
    match rows.binary_search_by_key(&price.from, |row| row.from) {
        Ok(same) => rows[same] = Arc::new(price),
        Err(place) => rows.insert(place, Arc::new(price)),
    }
}

#[cfg(test)]
#[path = "book/tests.rs"]
mod tests;
