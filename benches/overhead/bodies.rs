//! The cases: what is asked, and the bytes that the canned provider answers with.

use bytes::Bytes;
use serde_json::{Value, json};

/// The model of whole answers.
pub const WHOLE_MODEL: &str = "gpt-5.6-luna";
/// The model whose provider sends a millisecond between events, so that each travels by itself.
pub const PACED_MODEL: &str = "gpt-5.6-terra";
/// The model whose provider sends all events at once.
pub const BURST_MODEL: &str = "gpt-5.6-sol";
/// Events of a stream, terminator included.
pub const STREAM_EVENTS: usize = 64;
/// What stands in the last user turn of a template; digits replace it, so that each turn differs.
pub const MARK: &str = "turn-000000000000";

/// One kind of request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Case {
    Small,
    Medium,
    Large,
    Paced,
    Burst,
}

impl Case {
    pub const ALL: [Self; 5] = [Self::Small, Self::Medium, Self::Large, Self::Paced, Self::Burst];

    pub fn name(self) -> &'static str {
        match self {
            Self::Small => "small",
            Self::Medium => "medium",
            Self::Large => "large",
            Self::Paced => "stream, paced",
            Self::Burst => "stream, burst",
        }
    }

    pub fn is_stream(self) -> bool {
        matches!(self, Self::Paced | Self::Burst)
    }

    /// Requests of one round at full length.
    pub fn requests(self, in_flight: usize) -> usize {
        let at_32 = match self {
            Self::Small => 6000,
            Self::Medium => 3000,
            Self::Large => 800,
            Self::Paced => 320,
            Self::Burst => 2000,
        };
        match (in_flight, self) {
            (1, Self::Paced) => 8,
            (1, _) => at_32 / 4,
            _ => at_32,
        }
    }

    /// The most that Farthing may use of CPU, as a multiple of the bare proxy, and the figure we strive for.
    pub fn target(self) -> Option<(f64, f64)> {
        match self {
            Self::Small => Some((2.5, 1.8)),
            Self::Medium => Some((3.0, 2.3)),
            Self::Large => Some((4.0, 3.0)),
            Self::Paced => Some((1.3, 1.1)),
            Self::Burst => None,
        }
    }

    /// The body, with [`MARK`] in its last user turn.
    pub fn body(self) -> String {
        let ask = format!("{MARK}: the load of orders_daily failed again last night. What should I look at first?");
        match self {
            Self::Small => chat(WHOLE_MODEL, vec![system(900), user(&ask)], 0),
            Self::Medium => {
                let mut messages = vec![system(6000)];
                messages.extend((0..5).flat_map(|n| [user(&prose(n, 700)), assistant(&prose(n + 50, 1700))]));
                messages.push(user(&ask));
                chat(WHOLE_MODEL, messages, 6)
            }
            Self::Large => {
                let mut messages = vec![system(8000), user(&prose(1, 900))];
                messages.extend((0..63).flat_map(call_and_result));
                messages.push(user(&ask));
                chat(WHOLE_MODEL, messages, 12)
            }
            Self::Paced => stream(PACED_MODEL, vec![system(900), user(&ask)]),
            Self::Burst => stream(BURST_MODEL, vec![system(900), user(&ask)]),
        }
    }
}

fn chat(model: &str, messages: Vec<Value>, tools: usize) -> String {
    let mut body = json!({ "model": model, "messages": messages, "max_completion_tokens": 1024 });
    if tools > 0 {
        body["tools"] = (0..tools).map(tool).collect();
    }
    body.to_string()
}

fn stream(model: &str, messages: Vec<Value>) -> String {
    json!({ "model": model, "messages": messages, "stream": true }).to_string()
}

fn system(length: usize) -> Value {
    json!({ "role": "system", "content": prose(7, length) })
}

fn user(text: &str) -> Value {
    json!({ "role": "user", "content": text })
}

fn assistant(text: &str) -> Value {
    json!({ "role": "assistant", "content": text })
}

fn tool(n: usize) -> Value {
    json!({ "type": "function", "function": {
        "name": format!("read_table_{n}"), "description": prose(n, 300), "strict": true,
        "parameters": { "type": "object", "additionalProperties": false, "required": ["table", "limit"], "properties": {
            "table": { "type": "string", "description": prose(n + 3, 120) },
            "limit": { "type": "integer", "description": "how many rows to read at most" },
        } },
    } })
}

/// A call by the agent, and a log or a table that came back: escapes, digits and line ends included.
fn call_and_result(n: usize) -> [Value; 2] {
    let arguments = json!({ "table": format!("orders_{n}"), "limit": 50 }).to_string();
    let call = json!({ "id": format!("call_{n:06}"), "type": "function",
        "function": { "name": format!("read_table_{}", n % 12), "arguments": arguments } });
    let mut result = String::new();
    for line in 0..38 {
        result += &format!(
            "2026-11-22T03:{:02}:{:02}Z INFO \"orders_{n}\" part={line} rows={} state=\"done\" path=/data/{n}/{line}\n",
            n % 60,
            line,
            n * 977 + line * 31,
        );
    }
    [
        json!({ "role": "assistant", "content": null, "tool_calls": [call] }),
        json!({ "role": "tool", "tool_call_id": format!("call_{n:06}"), "content": result }),
    ]
}

/// English-looking text of about `length` bytes; another one for each `n`.
fn prose(n: usize, length: usize) -> String {
    const WORDS: [&str; 16] = [
        "the",
        "pipeline",
        "reads",
        "orders",
        "from",
        "a",
        "queue,",
        "joins",
        "them",
        "with",
        "prices",
        "and",
        "writes",
        "one",
        "partition",
        "daily.",
    ];
    let mut text = String::with_capacity(length + 16);
    let mut step = n;
    while text.len() < length {
        step = step.wrapping_mul(31).wrapping_add(17);
        text += WORDS[(step >> 3) % WORDS.len()];
        text.push(' ');
    }
    text
}

/// A whole answer of about 1 KB.
pub fn document() -> Bytes {
    let answer = json!({
        "id": "chatcmpl-canned", "object": "chat.completion", "created": 1_795_305_600, "model": WHOLE_MODEL,
        "choices": [{ "index": 0, "message": { "role": "assistant", "content": prose(3, 500), "refusal": null,
            "annotations": [] }, "logprobs": null, "finish_reason": "stop" }],
        "usage": usage(), "service_tier": "default", "system_fingerprint": null,
    });
    answer.to_string().into()
}

/// The events of a stream, each as the real API writes it.
pub fn events() -> Vec<Bytes> {
    let chunk = |choices: Value, usage: Value| {
        let chunk = json!({
            "id": "chatcmpl-canned", "object": "chat.completion.chunk", "created": 1_795_305_600,
            "model": WHOLE_MODEL, "service_tier": "default", "system_fingerprint": null,
            "choices": choices, "usage": usage, "obfuscation": "x7Gq0pTz",
        });
        Bytes::from(format!("data: {chunk}\n\n"))
    };
    let delta = |delta: Value, finish: Value| json!([{ "index": 0, "delta": delta, "logprobs": null, "finish_reason": finish }]);
    let mut events = vec![chunk(delta(json!({ "role": "assistant", "content": "" }), Value::Null), Value::Null)];
    for n in 0..STREAM_EVENTS - 4 {
        events.push(chunk(delta(json!({ "content": format!(" word{n}") }), Value::Null), Value::Null));
    }
    events.push(chunk(delta(json!({}), json!("stop")), Value::Null));
    events.push(chunk(json!([]), usage()));
    events.push(Bytes::from_static(b"data: [DONE]\n\n"));
    events
}

fn usage() -> Value {
    json!({
        "prompt_tokens": 214, "completion_tokens": 118, "total_tokens": 332,
        "prompt_tokens_details": { "cached_tokens": 0, "audio_tokens": 0 },
        "completion_tokens_details": { "reasoning_tokens": 0, "audio_tokens": 0,
            "accepted_prediction_tokens": 0, "rejected_prediction_tokens": 0 },
    })
}
