//! Configuration: what people write in `farthing.yaml`, checked into what the process runs on.
//!
//! `written` mirrors the file with its positions; `check` turns it into [`Config`] or a list of
//! problems; nothing downstream sees the written shape. Prices come from `cost`.

mod checked;

pub use checked::*;
