//! Everything over real TCP: one binary, so that it links once.

mod architecture;
mod broken_streams;
mod canaries;
mod conservation;
mod crash;
mod details;
mod door;
mod fallback;
mod flood;
mod frames;
mod hang_ups;
mod hostile;
mod intake;
mod money;
mod process;
mod reconciling;
mod relay;
mod relay_bodies;
mod reload;
mod retries;
mod sdk;
mod shutdown;
mod soak;
mod starting;
mod support;
