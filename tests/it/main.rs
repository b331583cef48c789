//! Everything over real TCP: one binary, so that it links once.

mod architecture;
mod conservation;
mod crash;
mod process;
mod reconciling;
mod relay;
mod starting;
mod support;
