//! What of OpenAI's in the simulated provider is no conversation: legacy completions and embeddings.
//!
//! Both are refused as the real API refuses them, and billed like everything else. Vectors say nothing: they are made of
//! the text's own bytes, so that the same input has the same vector.
//! <https://platform.openai.com/docs/api-reference/completions>, `…/embeddings`

use bytes::Bytes;
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::answer::{Choice, Generation};
use super::performance::{Answered, Asked, Spoken, Written};
use super::play::{Act, disturbed};
use super::prices::{BilledTokens, PriceClass};
use super::render::{error_body, fault_event};
use super::request::{Delivery, StreamOptions};
use super::script::{Ending, Manner, ModelScript, UsageReport, What};
use super::server::{Arrived, Server, unix_seconds, whole};
use super::tokenizer::count;

/// Most inputs of one request for embeddings, and most tokens of each and of all of them.
const INPUTS_MAX: usize = 2048;
const INPUT_TOKENS_MAX: u64 = 8192;
const REQUEST_TOKENS_MAX: u64 = 300_000;
/// How long an answer may be where nobody says it.
const OUTPUT_LIMIT_DEFAULT: u64 = 16;
/// How long vectors are where nobody says it: shorter than real ones.
const DIMENSIONS_DEFAULT: usize = 256;

/// A text, the numbers of its tokens, or a list of either.
#[derive(Deserialize, Clone, Debug)]
#[serde(untagged)]
enum Input {
    Text(String),
    Tokens(Vec<u64>),
    Texts(Vec<String>),
    TokenLists(Vec<Vec<u64>>),
}

impl Input {
    /// Each by itself: what it says, and how many tokens it is.
    fn each(&self) -> Vec<(String, u64)> {
        let of_text = |text: &String| (text.clone(), count(text));
        let of_tokens = |tokens: &Vec<u64>| (format!("{tokens:?}"), tokens.len() as u64);
        match self {
            Self::Text(text) => vec![of_text(text)],
            Self::Tokens(tokens) => vec![of_tokens(tokens)],
            Self::Texts(texts) => texts.iter().map(of_text).collect(),
            Self::TokenLists(lists) => lists.iter().map(of_tokens).collect(),
        }
    }
}

#[derive(Deserialize, Debug)]
struct CompletionRequest {
    model: String,
    #[serde(default)]
    prompt: Option<Input>,
    #[serde(default)]
    suffix: Option<String>,
    #[serde(default)]
    max_tokens: Option<u64>,
    #[serde(default)]
    n: Option<u16>,
    #[serde(default)]
    best_of: Option<u16>,
    #[serde(default)]
    stream: Option<bool>,
    #[serde(default)]
    stream_options: Option<StreamOptions>,
}

#[derive(Deserialize, Debug)]
struct EmbeddingsRequest {
    model: String,
    input: Input,
    #[serde(default)]
    encoding_format: Option<String>,
    #[serde(default)]
    dimensions: Option<usize>,
}

impl Server {
    /// Answers `POST /v1/completions`.
    pub(super) async fn complete_text(&self, arrived: Arrived) -> Answered {
        let body = arrived.body.clone();
        let request = match serde_json::from_slice::<CompletionRequest>(&body) {
            Ok(request) => request,
            Err(error) => return Ok(unreadable(arrived, &error)),
        };
        if request.model.starts_with("gpt-") && !request.model.contains("instruct") {
            let message = "This is a chat model and not supported in the v1/completions endpoint. Did you mean to use \
                           v1/chat/completions?";
            let body = error_body(message, "invalid_request_error", Some("model"), None);
            return Ok(whole(arrived, StatusCode::NOT_FOUND, body));
        }
        let prompts = request.prompt.as_ref().map_or_else(|| vec![("<|endoftext|>".to_owned(), 1)], Input::each);
        let asked = Asked {
            model: request.model.clone(),
            class: PriceClass::Standard,
            last_words: prompts.last().map(|(text, _)| text.clone()).unwrap_or_default(),
            delivery: if request.stream == Some(true) { Delivery::Streamed } else { Delivery::Whole },
        };
        let say = |script: &ModelScript, manner: &Manner, what: &What| {
            self.say_as_text(&request, (&prompts, &asked), script, manner, what)
        };
        self.perform(arrived, &asked, say).await
    }

    fn say_as_text(
        &self,
        request: &CompletionRequest,
        (prompts, asked): (&[(String, u64)], &Asked),
        script: &ModelScript,
        manner: &Manner,
        what: &What,
    ) -> Spoken {
        let shown = usize::from(request.n.unwrap_or(1).max(1));
        let made = shown.max(usize::from(request.best_of.unwrap_or(1)));
        let one = |index: usize| match what {
            What::Answers(answers) => answers.get(index).or(answers.last()).cloned().unwrap_or_default(),
            what => self.answer_to(what, &asked.last_words, &[]),
        };
        let limit = Some(request.max_tokens.unwrap_or(OUTPUT_LIMIT_DEFAULT));
        let answers = (0..made * prompts.len()).map(|index| one(index % made)).collect();
        let mut generation = Generation::of(answers, limit, 0, &script.habits);
        let suffix = request.suffix.as_deref().map_or(0, count);
        let tokens = BilledTokens {
            input: prompts.iter().map(|(_, tokens)| tokens).sum::<u64>() + suffix,
            output: generation.output_tokens(),
            ..BilledTokens::default()
        };
        let mut index = 0;
        generation.choices.retain(|_| {
            index += 1;
            (index - 1) % made < shown
        });
        let writer = Writer {
            opening: json!({
                "id": format!("cmpl-{}", &self.fresh_id()[3..]), "object": "text_completion", "created": unix_seconds(),
                "model": script.reply_name.as_ref().unwrap_or(&request.model),
            }),
            usage: usage_block(&tokens, manner),
            asks_usage: request.stream_options.as_ref().is_some_and(StreamOptions::includes_usage),
            choices: &generation.choices,
        };
        let written = match asked.delivery {
            Delivery::Whole => Written::Document(writer.document()),
            Delivery::Streamed => {
                Written::Frames(disturbed(writer.acts(manner), manner, |_, fault| vec![Act::Bytes(fault_event(fault))]))
            }
        };
        Spoken { tokens, written }
    }

    /// Answers `POST /v1/embeddings`.
    pub(super) async fn embed(&self, arrived: Arrived) -> Answered {
        let body = arrived.body.clone();
        let request = match serde_json::from_slice::<EmbeddingsRequest>(&body) {
            Ok(request) => request,
            Err(error) => return Ok(unreadable(arrived, &error)),
        };
        let inputs = request.input.each();
        if let Some((message, code)) = refuse_inputs(&inputs) {
            let body = error_body(&message, "invalid_request_error", Some("input"), code);
            return Ok(whole(arrived, StatusCode::BAD_REQUEST, body));
        }
        let asked = Asked {
            model: request.model.clone(),
            class: PriceClass::Standard,
            last_words: inputs.last().map(|(text, _)| text.clone()).unwrap_or_default(),
            delivery: Delivery::Whole,
        };
        let say = |script: &ModelScript, manner: &Manner, _: &What| embedded(&request, &inputs, script, manner);
        self.perform(arrived, &asked, say).await
    }
}

fn refuse_inputs(inputs: &[(String, u64)]) -> Option<(String, Option<&'static str>)> {
    let most = inputs.iter().map(|(_, tokens)| *tokens).max();
    let all: u64 = inputs.iter().map(|(_, tokens)| tokens).sum();
    match (inputs.len(), most, all) {
        (0, ..) | (1, Some(0), _) => Some(("'$.input' is invalid. Please check the API reference.".to_owned(), None)),
        (length, ..) if length > INPUTS_MAX => Some((
            format!(
                "Invalid 'input': array too long. Expected an array with maximum length {INPUTS_MAX}, but got an array with \
                 length {length} instead."
            ),
            Some("array_above_max_length"),
        )),
        (_, Some(most), _) if most > INPUT_TOKENS_MAX => Some((
            format!(
                "This model's maximum context length is {INPUT_TOKENS_MAX} tokens, however you requested {most} tokens \
                 ({most} in your prompt; 0 for the completion). Please reduce your prompt; or completion length."
            ),
            None,
        )),
        (_, _, all) if all > REQUEST_TOKENS_MAX => Some((
            format!("Requested {all} tokens, max {REQUEST_TOKENS_MAX} tokens per request"),
            Some("max_tokens_per_request"),
        )),
        _ => None,
    }
}

fn embedded(request: &EmbeddingsRequest, inputs: &[(String, u64)], script: &ModelScript, manner: &Manner) -> Spoken {
    let tokens = BilledTokens { input: inputs.iter().map(|(_, tokens)| tokens).sum(), ..BilledTokens::default() };
    let length = request.dimensions.unwrap_or(DIMENSIONS_DEFAULT);
    let vector = |(index, (text, _)): (usize, &(String, u64))| {
        let vector = vector_of(text, length);
        let vector = match request.encoding_format.as_deref() {
            Some("base64") => {
                let bytes: Vec<u8> = vector.iter().flat_map(|x| x.to_le_bytes()).collect();
                Value::from(base64(&bytes))
            }
            _ => json!(vector),
        };
        json!({"object": "embedding", "index": index, "embedding": vector})
    };
    let mut document = json!({
        "object": "list",
        "data": inputs.iter().enumerate().map(vector).collect::<Vec<_>>(),
        "model": script.reply_name.as_ref().unwrap_or(&request.model),
    });
    if let Some(Value::Object(mut usage)) = usage_block(&tokens, manner) {
        usage.remove("completion_tokens");
        document["usage"] = usage.into();
    }
    Spoken { tokens, written: Written::Document(document.to_string().into()) }
}

/// A vector of length one.
fn vector_of(text: &str, length: usize) -> Vec<f32> {
    let mut state = text.bytes().fold(17_u32, |state, byte| state.wrapping_mul(31).wrapping_add(byte.into()));
    let mut vector: Vec<f32> = (0..length)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            f32::from(i16::try_from(state >> 17).unwrap_or_default()) / 16_384.0 - 1.0
        })
        .collect();
    let norm = vector.iter().map(|x| x * x).sum::<f32>().sqrt().max(f32::MIN_POSITIVE);
    vector.iter_mut().for_each(|x| *x /= norm);
    vector
}

/// <https://www.rfc-editor.org/rfc/rfc4648#section-4>
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let group = |three: &[u8]| {
        let bits = (0..3).fold(0_usize, |bits, at| bits << 8 | usize::from(three.get(at).copied().unwrap_or(0)));
        let letter = |at: usize| match at <= three.len() {
            true => char::from(LETTERS[bits >> (18 - 6 * at) & 63]),
            false => '=',
        };
        [letter(0), letter(1), letter(2), letter(3)]
    };
    bytes.chunks(3).flat_map(group).collect()
}

fn usage_block(tokens: &BilledTokens, manner: &Manner) -> Option<Value> {
    let shown = |tokens: u64| if manner.usage == UsageReport::Zero { 0 } else { tokens };
    let BilledTokens { input, output, .. } = *tokens;
    (manner.usage != UsageReport::Missing).then(|| {
        json!({"prompt_tokens": shown(input), "completion_tokens": shown(output), "total_tokens": shown(input + output)})
    })
}

/// Writes a completion down.
struct Writer<'a> {
    opening: Value,
    usage: Option<Value>,
    asks_usage: bool,
    choices: &'a [Choice],
}

impl Writer<'_> {
    fn document(&self) -> Bytes {
        let choice = |(index, choice): (usize, &Choice)| {
            let text = choice.said().text.unwrap_or_default();
            json!({"text": text, "index": index, "logprobs": null, "finish_reason": choice.finish.as_str()})
        };
        let mut document = self.opening.clone();
        document["choices"] = self.choices.iter().enumerate().map(choice).collect();
        if let Some(usage) = &self.usage {
            document["usage"] = usage.clone();
        }
        document.to_string().into()
    }

    fn acts(&self, manner: &Manner) -> Vec<Act> {
        let longest = self.choices.iter().map(|choice| choice.deltas.len()).max().unwrap_or(0);
        let mut acts = Vec::new();
        for at in 0..longest {
            for (index, choice) in self.choices.iter().enumerate() {
                let piece = choice.deltas.get(at).map(|delta| choice.piece(delta));
                acts.extend(piece.map(|piece| Act::Token(self.chunk(index, piece, None))));
            }
        }
        acts.push(Act::Complete);
        let finish =
            |(index, choice): (usize, &Choice)| Act::Bytes(self.chunk(index, "", Some(choice.finish.as_str())));
        acts.extend(self.choices.iter().enumerate().map(finish));
        let times = match (manner.usage, self.asks_usage) {
            (UsageReport::Twice, _) => 2,
            (_, true) => 1,
            _ => 0,
        };
        if let Some(usage) = &self.usage {
            let mut chunk = self.opening.clone();
            chunk["choices"] = json!([]);
            chunk["usage"] = usage.clone();
            acts.extend((0..times).map(|_| Act::Bytes(event(&chunk))));
        }
        if manner.ending != Ending::WithoutDone {
            acts.push(Act::Bytes(Bytes::from_static(b"data: [DONE]\n\n")));
        }
        acts
    }

    fn chunk(&self, index: usize, text: &str, finish: Option<&str>) -> Bytes {
        let mut chunk = self.opening.clone();
        chunk["choices"] = json!([{"text": text, "index": index, "logprobs": null, "finish_reason": finish}]);
        if self.asks_usage {
            chunk["usage"] = Value::Null;
        }
        event(&chunk)
    }
}

fn event(chunk: &Value) -> Bytes {
    format!("data: {chunk}\n\n").into()
}

fn unreadable(arrived: Arrived, error: &serde_json::Error) -> http::Response<super::server::ReplyBody> {
    let message = format!("We could not parse the JSON body of your request. The parser said: {error}");
    whole(arrived, StatusCode::BAD_REQUEST, error_body(&message, "invalid_request_error", None, None))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// <https://www.rfc-editor.org/rfc/rfc4648#section-10>
    #[test]
    fn bytes_are_spelt_in_base64() {
        for (bytes, expected) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")] {
            assert_eq!(base64(bytes.as_bytes()), expected);
        }
    }

    #[test]
    fn vectors_have_the_length_one() {
        let norm = vector_of("a job failed", 64).iter().map(|x| x * x).sum::<f32>();
        assert!((norm - 1.0).abs() < 1e-5, "{norm}");
    }
}
