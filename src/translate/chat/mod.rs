//! OpenAI's Chat Completions. <https://platform.openai.com/docs/api-reference/chat>

mod calls;
pub mod read_reply;
pub mod read_request;
pub mod read_stream;
pub mod read_turns;
pub mod write_reply;
pub mod write_request;
pub mod write_stream;

use memchr::memmem;

/// The members in which hosts of other vendors' models say what a model thought; OpenAI has none. The first is the one that
/// clients look for. <https://api-docs.deepseek.com/guides/reasoning_model>
const THOUGHTS: [&str; 2] = ["reasoning_content", "reasoning"];

/// The member of `extra_content.google` in which Google signs a call. <https://ai.google.dev/gemini-api/docs/thought-signatures>
const SIGNATURE: &str = "thought_signature";

/// The member by which a client asks for them. <https://openrouter.ai/docs/api-reference/parameters>
const WANTS_THOUGHTS: &str = "include_reasoning";

/// Whether a client wants to read what a model thought: it says so, or has been told before. To others the member would be
/// one that nobody has published.
fn wants_thoughts(request: &[u8]) -> bool {
    memmem::find(request, b"\"reasoning_content\"").is_some()
        || memmem::find_iter(request, b"\"include_reasoning\"").any(|at| {
            let rest = request[at + WANTS_THOUGHTS.len() + 2..].trim_ascii_start();
            rest.strip_prefix(b":").is_some_and(|value| value.trim_ascii_start().starts_with(b"true"))
        })
}
