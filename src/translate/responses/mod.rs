//! OpenAI's Responses. <https://platform.openai.com/docs/api-reference/responses>

pub mod echo;
pub mod names;
mod read_parts;
pub mod read_reply;
pub mod read_request;
pub mod read_stream;
pub mod read_turns;
pub mod write_reply;
pub mod write_request;
pub mod write_stream;
