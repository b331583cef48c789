//! Wire formats: what each surface's bytes mean, and nothing about sending them.
//!
//! Requests become a [`View`](crate::prompt::view::View) in one pass; replies and stream events give up
//! the facts that metering needs; errors are written in the caller's dialect.

pub mod body;
mod deciding;
pub mod encoding;
pub mod errors;
pub mod messages_reply;
pub mod messages_request;
pub mod messages_usage;
pub mod openai_chat;
pub mod openai_prompts;
pub mod openai_reply;
pub mod openai_texts;
pub mod openai_usage;
pub mod responses_reply;
pub mod responses_request;
pub mod sse;
pub mod tap;
pub mod vendors;
