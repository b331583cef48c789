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
/// What answers where the gateway chooses, by tier: models of the provider of whole answers.
pub const TIER_MODELS: [(&str, &str); 3] =
    [("frontier", "gpt-5"), ("reasoning", "gpt-5-mini"), ("lightweight", "gpt-5-nano")];
/// What stands in the user turn of a template that differs from request to request; digits replace it.
pub const MARK: &str = "turn-000000000000";

/// One kind of request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Case {
    Small,
    Medium,
    Large,
    Paced,
    Burst,
    /// `auto`, with the built-in policy: each request begins a conversation.
    Cold(Size),
    /// The same: each request is another turn of a conversation that the gateway knows.
    Warm(Size),
}

/// How long a conversation is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Size {
    Small,
    Medium,
    Large,
}

impl Case {
    pub const ALL: [Self; 11] = [
        Self::Small,
        Self::Medium,
        Self::Large,
        Self::Paced,
        Self::Burst,
        Self::Cold(Size::Small),
        Self::Cold(Size::Medium),
        Self::Cold(Size::Large),
        Self::Warm(Size::Small),
        Self::Warm(Size::Medium),
        Self::Warm(Size::Large),
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Small => "small",
            Self::Medium => "medium",
            Self::Large => "large",
            Self::Paced => "stream, paced",
            Self::Burst => "stream, burst",
            Self::Cold(Size::Small) => "small auto, cold",
            Self::Cold(Size::Medium) => "medium auto, cold",
            Self::Cold(Size::Large) => "large auto, cold",
            Self::Warm(Size::Small) => "small auto, warm",
            Self::Warm(Size::Medium) => "medium auto, warm",
            Self::Warm(Size::Large) => "large auto, warm",
        }
    }

    pub fn is_stream(self) -> bool {
        matches!(self, Self::Paced | Self::Burst)
    }

    /// Whether the gateway chooses the model.
    pub fn is_routed(self) -> bool {
        matches!(self, Self::Cold(_) | Self::Warm(_))
    }

    /// The model that its body names.
    pub fn model(self) -> &'static str {
        match self {
            Self::Small | Self::Medium | Self::Large => WHOLE_MODEL,
            Self::Paced => PACED_MODEL,
            Self::Burst => BURST_MODEL,
            Self::Cold(_) | Self::Warm(_) => "auto",
        }
    }

    /// Requests of one round at full length.
    pub fn requests(self, in_flight: usize) -> usize {
        let at_32 = match self {
            Self::Small | Self::Cold(Size::Small) | Self::Warm(Size::Small) => 6000,
            Self::Medium | Self::Cold(Size::Medium) | Self::Warm(Size::Medium) => 3000,
            Self::Large | Self::Cold(Size::Large) | Self::Warm(Size::Large) => 800,
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
            Self::Cold(Size::Small) | Self::Warm(Size::Small) => Some((4.5, 3.2)),
            Self::Cold(Size::Medium) | Self::Warm(Size::Medium) => Some((4.7, 3.7)),
            Self::Cold(Size::Large) | Self::Warm(Size::Large) => Some((5.0, 4.3)),
        }
    }

    /// The body, with [`MARK`] in its last user turn, and in the first where that begins a conversation.
    pub fn body(self) -> String {
        match self {
            Self::Small => Size::Small.chat(WHOLE_MODEL, vec![system(900)]),
            Self::Medium => Size::Medium.chat(WHOLE_MODEL, Size::Medium.history("")),
            Self::Large => Size::Large.chat(WHOLE_MODEL, Size::Large.history("")),
            Self::Paced => stream(PACED_MODEL, vec![system(900), user(&ask())]),
            Self::Burst => stream(BURST_MODEL, vec![system(900), user(&ask())]),
            Self::Cold(Size::Small) => Size::Small.chat("auto", vec![system(900)]),
            Self::Cold(size) => size.chat("auto", size.history(&format!("{MARK} "))),
            Self::Warm(size) => size.chat("auto", size.history("")),
        }
    }

    /// A request that goes before a round, so that the round's are turns of a conversation which is known.
    pub fn first(self) -> Option<String> {
        let Self::Warm(size) = self else { return None };
        Some(chat("auto", size.history(""), size.tools()))
    }
}

impl Size {
    fn tools(self) -> usize {
        match self {
            Self::Small => 0,
            Self::Medium => 6,
            Self::Large => 12,
        }
    }

    /// What was said before; its first user turn begins with `first`.
    fn history(self, first: &str) -> Vec<Value> {
        let user = |n: usize, length: usize| user(&format!("{}{}", if n < 2 { first } else { "" }, prose(n, length)));
        match self {
            Self::Small => vec![system(900), user(1, 60), assistant(&prose(50, 200))],
            Self::Medium => {
                let turns = (1..6).flat_map(|n| [user(n, 700), assistant(&prose(n + 50, 1700))]);
                std::iter::once(system(6000)).chain(turns).collect()
            }
            Self::Large => [system(8000), user(1, 900)].into_iter().chain((0..63).flat_map(call_and_result)).collect(),
        }
    }

    fn chat(self, model: &str, mut messages: Vec<Value>) -> String {
        messages.push(user(&ask()));
        chat(model, messages, self.tools())
    }
}

fn ask() -> String {
    format!("{MARK}: the load of orders_daily failed again last night. What should I look at first?")
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
