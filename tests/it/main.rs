//! Everything over real TCP: one binary, so that it links once.

mod architecture;
mod broken_streams;
mod door;
mod fallback;
mod frames;
mod hang_ups;
mod intake;
mod money;
mod relay;
mod relay_bodies;
mod reload;
mod retries;
mod shutdown;
mod support;
