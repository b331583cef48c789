//! Anthropic's Messages. <https://platform.claude.com/docs/en/api/messages>

/// The tool in which an answer is given that must be of some form, where the model has no other way to be held to one.
pub(in crate::translate) const FORMAT_TOOL: &str = "fx_format";

pub mod caching;
pub mod read_reply;
pub mod read_request;
pub mod read_stream;
pub mod read_turns;
pub mod write_reply;
pub mod write_request;
pub mod write_stream;
