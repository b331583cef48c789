//! Farthing: a gateway between AI agents and their model providers that makes every model call
//! cost what it is worth. Start reading at [`gateway`]; ARCHITECTURE.md is the map.

pub mod config;
pub mod ids;
pub mod ledger;
pub mod limits;
pub mod money;
pub mod problem;
pub mod reply;
pub mod simulator;
pub mod task;
