//! The providers: one row of the configuration each, reached over pooled connections.
//!
//! A row turns a call into the request that leaves (declared edits spliced into the original bytes, our
//! credential, the headers that may pass) and a reply into an [`Answer`] or a [`Failure`] that says
//! what may be done next. Which target is tried when is [`dispatch`]'s; which are up is [`health`]'s.

mod accesses;
mod auth;
mod balance;
pub mod body;
pub mod connect;
pub mod dispatch;
pub mod failure;
mod google;
pub mod health;
pub mod inbound;
pub mod load;
mod paths;
pub mod places;
mod prepare;
pub mod probe;
mod refusal;
mod row;
mod signer;
mod sigv4;
pub mod upload;

use std::sync::Arc;

pub use connect::plain_client;
pub use failure::{Failure, Refusal};
pub use prepare::{Elsewhere, Outbound, Translated, Worded};
pub use row::{Answer, Answered, Row};

use crate::config::ProviderConfig;
use crate::dialect::Dialect;
use crate::ids::ProviderId;

use places::Places;

/// All rows, in file order.
pub struct Providers {
    rows: Vec<Arc<Row>>,
}

impl Providers {
    /// Prepares clients for every row, with at most so many connections together. Nothing is connected yet.
    pub fn new(configs: &[ProviderConfig], connections_max: usize) -> Self {
        let places = Places::new(connections_max);
        Self { rows: configs.iter().map(|config| Arc::new(Row::new(config, places.clone()))).collect() }
    }

    /// The row of that name.
    pub fn row(&self, id: &ProviderId) -> Option<&Arc<Row>> {
        self.rows.iter().find(|row| row.id() == id)
    }

    /// Whether every row can be called in that dialect.
    pub fn all_speak(&self, dialect: Dialect) -> bool {
        self.rows.iter().all(|row| row.speaks(dialect))
    }

    /// All rows, in file order.
    pub fn rows(&self) -> &[Arc<Row>] {
        &self.rows
    }
}
