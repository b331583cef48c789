//! Everything over real TCP: one binary, so that it links once.

mod architecture;
mod broken_streams;
mod frames;
mod relay;
mod relay_bodies;
mod retries;
mod support;
