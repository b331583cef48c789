//! Everything over real TCP: one binary, so that it links once.

mod architecture;
mod relay;
mod sdk_python;
mod support;
