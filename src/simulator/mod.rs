//! A faithful simulated provider over real HTTP, OpenAI's or Anthropic's, with an invoice of its own.
//!
//! `farthing demo`, the wire tests and the benches call it instead of a vendor. [`Provider`] is built in
//! prose, started on a free loopback port, and answers by script: replies, habits and mishaps. It counts,
//! prices and caches with its own code and shares none of the gateway's, so that a ledger which equals
//! its [`Invoice`] proves something. `workload` is the demo's traffic, `replay` sends recorded sessions.

mod answer;
mod connection;
mod exports;
mod invoice;
mod legacy;
mod manners;
mod messages;
mod performance;
mod play;
mod prefix_cache;
mod prices;
mod provider;
mod recordings;
mod render;
mod replay;
mod reply;
mod request;
mod responses;
mod script;
mod seal;
mod server;
mod sessions;
mod stored;
pub mod tokenizer;
mod traffic;
pub mod workload;

pub use exports::ExportShape;
pub use invoice::{BillsAfterCut, Invoice, InvoiceLine};
pub use manners::Manners;
pub use play::BrokenOff;
pub use prices::{BilledTokens, PriceClass, PriceList, Rates};
pub use provider::{Canned, Provider, Running};
pub use recordings::Recordings;
pub use replay::{Replay, ReplayError, ReplaySession};
pub use request::Message;
pub use script::{Answer, CacheWrites, Latency, ModelScript, ReasoningReport, Reply, Thought, ToolCall};
pub use sessions::{Marking, Toolbox};
pub use traffic::{EVENT_WAIT_MAX, Exchange, WaitedInVain};

#[cfg(test)]
mod clients;
#[cfg(test)]
mod tests;
