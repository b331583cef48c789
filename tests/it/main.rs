//! Everything over real TCP: one binary, so that it links once.

mod architecture;
mod broken_streams;
mod conservation;
mod crash;
mod details;
mod door;
mod fallback;
mod frames;
mod hang_ups;
mod hostile;
mod intake;
mod money;
mod price_facts;
mod process;
mod reconciling;
mod relay;
mod relay_bodies;
mod reload;
mod retries;
mod sdk_python;
mod shutdown;
mod starting;
mod support;
mod tokens;
mod vendors;
