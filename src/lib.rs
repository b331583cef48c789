//! Farthing: a gateway between AI agents and their model providers that makes every model call
//! cost what it is worth. Start reading at [`gateway`]; ARCHITECTURE.md is the map.

#![forbid(unsafe_code)]
#![warn(clippy::float_cmp)]

pub mod admin;
pub mod app;
pub mod bill;
pub mod budget;
pub mod call;
pub mod classify;
pub mod cli;
pub mod config;
pub mod cost;
pub mod decoding;
pub mod dialect;
pub mod gateway;
pub mod hashed;
pub mod ids;
pub mod keys;
pub mod ledger;
pub mod limits;
pub mod memory;
pub mod meter;
pub mod money;
pub mod plan;
pub mod policy;
pub mod problem;
pub mod prompt;
pub mod providers;
pub mod reply;
pub mod report;
pub mod route;
pub mod server;
pub mod simulator;
pub mod task;
pub mod telemetry;
pub mod tokens;
pub mod translate;
pub mod vectors;
pub mod webhooks;
pub mod wire;
pub mod yaml;
