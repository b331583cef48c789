//! A request as text: one strict pass over its JSON, a read-only view of it, and edits that are
//! spliced into the original bytes.
//!
//! Nobody re-serialises a body: what is not edited leaves byte for byte as it came, unknown fields,
//! key order, number spelling and escapes included. Which field means what is `wire`'s knowledge.

pub mod assent;
pub mod edits;
pub mod json;
pub mod marks;
pub mod outline;
pub mod sketch;
pub mod view;
