//! Farthing: a gateway between AI agents and their model providers that makes every model call
//! cost what it is worth. Start reading at [`gateway`]; ARCHITECTURE.md is the map.

#![forbid(unsafe_code)]
#![warn(clippy::float_cmp)]
// Rooms that are left out use some of what the others offer.
#![cfg_attr(fuzzing, allow(dead_code))]

pub mod budget;
pub mod call;
pub mod config;
pub mod cost;
pub mod decoding;
pub mod dialect;
pub mod ids;
pub mod limits;
pub mod memory;
pub mod money;
pub mod plan;
pub mod policy;
pub mod problem;
pub mod prompt;
pub mod providers;
pub mod reply;
pub mod report;
pub mod task;
pub mod translate;
pub mod wire;
pub mod yaml;

// What no input of a fuzz target reaches would take most of the time of their build.
#[cfg(not(fuzzing))]
pub mod admin;
#[cfg(not(fuzzing))]
pub mod app;
#[cfg(not(fuzzing))]
pub mod bill;
#[cfg(not(fuzzing))]
pub mod classify;
#[cfg(not(fuzzing))]
pub mod cli;
#[cfg(not(fuzzing))]
pub mod gateway;
#[cfg(not(fuzzing))]
pub mod hashed;
#[cfg(not(fuzzing))]
pub mod keys;
#[cfg(not(fuzzing))]
pub mod ledger;
#[cfg(not(fuzzing))]
pub mod meter;
#[cfg(not(fuzzing))]
pub mod route;
#[cfg(not(fuzzing))]
pub mod server;
#[cfg(not(fuzzing))]
pub mod simulator;
#[cfg(not(fuzzing))]
pub mod telemetry;
#[cfg(not(fuzzing))]
pub mod tokens;
#[cfg(not(fuzzing))]
pub mod vectors;
#[cfg(not(fuzzing))]
pub mod webhooks;
