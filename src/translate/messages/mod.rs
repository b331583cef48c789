//! Anthropic's Messages. <https://platform.claude.com/docs/en/api/messages>

pub mod read_reply;
pub mod read_request;
pub mod read_stream;
pub mod read_turns;
pub mod write_reply;
pub mod write_request;
pub mod write_stream;
