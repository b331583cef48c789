//! The durable ledger: one row for every request and for every attempt that left the process.

pub mod record;
