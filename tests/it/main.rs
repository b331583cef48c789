//! Everything over real TCP: one binary, so that it links once.

mod architecture;
mod conservation;
mod process;
mod relay;
mod support;
