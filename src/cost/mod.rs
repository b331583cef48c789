//! What calls cost: the price book and exact arithmetic over it.
//!
//! Facts come in as YAML text (`prices.yaml` over the built-in book) and as the [`Usage`] of an attempt;
//! whole nano-dollars go out, rounded once. A price that is not in the book is unknown, never zero and
//! never that of a similarly named model. Reading files and the clock, holding money and writing rows
//! live elsewhere (`config`, `gateway`, `ledger`).
//!
//! [`Usage`]: crate::reply::usage::Usage

mod arithmetic;
mod book;
mod changes;
mod decimal;
mod fees;
mod litellm;
mod parse;
mod price;
mod write;

pub use arithmetic::{Most, cost_of, fees_of, upper_bound};
pub use book::{Book, Row, Rows};
pub use changes::{Change, Figure, change, figures};
pub use fees::Fees;
pub use litellm::{Imported, LeftOut, import_litellm};
pub use price::{ApartRates, Hours, Metered, Price, Rates, Schedule, Step, Terms, TokenLimits, caches_what_is_marked};
pub use write::{usd_per_million, yaml_of};
