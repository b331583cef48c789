//! The price book: which row prices a model on a day.
//!
//! The built-in book comes with the program; a user's rows are laid over it, and the result never changes:
//! share it by `Arc` and swap the whole. Models are looked up by vendor and exact name: a dated snapshot
//! that the book does not list has no price, however well its base name is known.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use jiff::civil::Date;

use crate::problem::Problem;

use super::parse::{self, Origin};
use super::price::Price;

/// What the versions of built-in rows end in: the month of the lists they were taken from.
const EDITION: &str = "builtin-2026-11";

const BUILT_IN: [&str; 1] = [include_str!("prices/openai.yaml")];

/// Prices by vendor, model and day.
#[derive(Clone, Debug, Default)]
pub struct Book {
    /// By vendor and model; the rows of a model ascend by `from`, the one without first.
    vendors: HashMap<String, HashMap<String, Vec<Arc<Price>>>>,
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
    ///   from: 2026-11-01                   # first day; without it, from the beginning
    ///   usd_per_million: { input: 4, cached_input: 0.4, cache_write_5m: 5, cache_write_1h: 8, output: 20, reasoning: 20 }
    ///   above:                             # inputs of more tokens: the whole request at these rates
    ///     272000: { input: 8, cached_input: 0.8, output: 30 }
    ///   flex: { input: 2, output: 10, above: { 272000: { input: 4, output: 15 } } }   # also `batch`, `priority`
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

    /// The book that comes with the program, read on first use.
    pub fn builtin() -> &'static Self {
        static BOOK: LazyLock<Book> = LazyLock::new(|| {
            let mut book = Book::default();
            for text in BUILT_IN {
                let rows = parse::rows(Origin::BuiltIn(EDITION), text);
                book.lay_over(rows.expect("a test reads every built-in row"));
            }
            book
        });
        &BOOK
    }

    /// This book with further rows: each replaces the row of the same model and `from`, or is added.
    #[must_use]
    pub fn with_user_rows(&self, rows: Rows) -> Self {
        let mut book = self.clone();
        book.lay_over(rows);
        book
    }

    /// The price in force on day `at` (UTC): that of the latest row whose `from` is not after it.
    ///
    /// Allocates nothing. `None`: the price is unknown. There is no falling back to a shorter name.
    pub fn price(&self, vendor: &str, model: &str, at: Date) -> Option<&Arc<Price>> {
        let rows = self.vendors.get(vendor)?.get(model)?;
        rows.iter().rev().find(|price| price.from.is_none_or(|from| from <= at))
    }

    /// [`Book::price`] of a whole key, such as `openai/gpt-5.6-luna`.
    pub fn price_of_key(&self, key: &str, at: Date) -> Option<&Arc<Price>> {
        let (vendor, model) = key.split_once('/')?;
        self.price(vendor, model, at)
    }

    /// Every row as vendor, model and price, in no particular order of models; a model's rows ascend by date.
    pub fn rows(&self) -> impl Iterator<Item = (&str, &str, &Arc<Price>)> {
        self.vendors.iter().flat_map(|(vendor, models)| {
            models
                .iter()
                .flat_map(move |(model, rows)| rows.iter().map(move |price| (vendor.as_str(), model.as_str(), price)))
        })
    }

    fn lay_over(&mut self, rows: Rows) {
        for Row { vendor, model, price } in rows.0 {
            let rows = self.vendors.entry(vendor).or_default().entry(model).or_default();
            match rows.binary_search_by_key(&price.from, |row| row.from) {
                Ok(same) => rows[same] = Arc::new(price),
                Err(place) => rows.insert(place, Arc::new(price)),
            }
        }
    }
}

#[cfg(test)]
#[path = "book/tests.rs"]
mod tests;
