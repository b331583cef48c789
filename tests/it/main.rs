//! Everything over real TCP: one binary, so that it links once.

mod architecture;
mod broken_streams;
mod conservation;
mod crash;
mod fallback;
mod frames;
mod hang_ups;
mod money;
mod process;
mod reconciling;
mod relay;
mod relay_bodies;
mod retries;
mod sdk_python;
mod starting;
mod support;
