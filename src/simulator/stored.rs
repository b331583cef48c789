//! Files, batches and conversations in the simulated provider, and what models produce that is no text: sound, pictures,
//! judgements.
//!
//! Files come as forms and are kept as they are; a batch is done as soon as it is asked for and writes its input out again.
//! <https://platform.openai.com/docs/api-reference/files>, `…/batch`, `…/audio`, `…/images`, `…/moderations`

use std::collections::HashMap;
use std::sync::PoisonError;

use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode};
use serde_json::{Value, json};

use super::performance::{Answered, Asked, Spoken, Written};
use super::prices::{BilledTokens, PriceClass};
use super::render::error_body;
use super::request::Delivery;
use super::script::{Manner, ModelScript, What};
use super::server::{Arrived, Server, unix_seconds, whole};

/// Objects by their ids; of a file also what is in it.
#[derive(Debug, Default)]
pub(super) struct Stored {
    objects: HashMap<String, (Value, Bytes)>,
}

/// Whether a path is answered here.
pub(super) fn is_stored(path: &str) -> bool {
    let roots = ["files", "batches", "conversations", "audio", "images", "moderations"];
    path.strip_prefix("/v1/").and_then(|rest| rest.split('/').next()).is_some_and(|root| roots.contains(&root))
}

impl Server {
    pub(super) async fn answer_stored(&self, arrived: Arrived, method: &Method, path: &str) -> Answered {
        let parts: Vec<&str> = path.trim_start_matches("/v1/").split('/').collect();
        let found = match (method, parts.as_slice()) {
            (&Method::POST, ["audio" | "images", ..] | ["moderations"]) => return self.produce(arrived).await,
            (&Method::POST, ["files"]) => Ok(self.take_file(&arrived.body)),
            (&Method::POST, ["batches"]) => self.take_batch(&arrived.body),
            (&Method::POST, ["conversations"]) => {
                Ok(self.store("conv_", json!({"object": "conversation", "metadata": {}}), Bytes::new()))
            }
            (&Method::GET, ["files", id, "content"]) => match self.stored(id) {
                Some((_, content)) => {
                    let mut response = whole(arrived, StatusCode::OK, content);
                    let kind = HeaderValue::from_static("application/octet-stream");
                    response.headers_mut().insert("content-type", kind);
                    return Ok(response);
                }
                None => Err(id),
            },
            (&Method::GET, [_, id]) => self.stored(id).map(|(object, _)| object).ok_or(id),
            (&Method::DELETE, [_, id]) => {
                let gone = self.stored.lock().unwrap_or_else(PoisonError::into_inner).objects.remove(*id);
                gone.map(|(object, _)| json!({"id": id, "object": object["object"], "deleted": true})).ok_or(id)
            }
            (&Method::POST, ["batches", id, "cancel"]) => self.stored(id).map(|(object, _)| object).ok_or(id),
            _ => Err(&path),
        };
        Ok(match found {
            Ok(object) => whole(arrived, StatusCode::OK, object.to_string().into()),
            Err(what) => {
                let message = format!("No such object: {what}");
                let body = error_body(&message, "invalid_request_error", Some("id"), None);
                whole(arrived, StatusCode::NOT_FOUND, body)
            }
        })
    }

    fn store(&self, prefix: &str, mut object: Value, content: Bytes) -> Value {
        let id = format!("{prefix}{}", self.fresh_id());
        (object["id"], object["created_at"]) = (id.clone().into(), unix_seconds().into());
        let mut stored = self.stored.lock().unwrap_or_else(PoisonError::into_inner);
        stored.objects.insert(id, (object.clone(), content));
        object
    }

    fn stored(&self, id: &str) -> Option<(Value, Bytes)> {
        self.stored.lock().unwrap_or_else(PoisonError::into_inner).objects.get(id).cloned()
    }

    fn take_file(&self, form: &Bytes) -> Value {
        let content = part_of(form, "file").unwrap_or_default();
        let purpose = part_of(form, "purpose").unwrap_or_default();
        let file = json!({
            "object": "file", "bytes": content.len(), "filename": "upload", "status": "processed",
            "purpose": String::from_utf8_lossy(&purpose),
        });
        self.store("file-", file, content)
    }

    fn take_batch<'p>(&self, body: &[u8]) -> Result<Value, &'p &'p str> {
        let asked: Value = serde_json::from_slice(body).unwrap_or_default();
        let input = asked["input_file_id"].as_str().and_then(|id| self.stored(id));
        let Some((_, content)) = input else { return Err(&"input_file_id") };
        let output = json!({"object": "file", "purpose": "batch_output", "bytes": content.len()});
        let output = self.store("file-", output, content.clone());
        let lines: Vec<Value> = content_lines(&content);
        let (count, model) = (lines.len(), lines.first().map_or(Value::Null, |line| line["body"]["model"].clone()));
        let batch = json!({
            "object": "batch", "endpoint": asked["endpoint"], "input_file_id": asked["input_file_id"],
            "status": "completed", "output_file_id": output["id"], "error_file_id": null, "model": model,
            "usage": {
                "input_tokens": 40 * count, "input_tokens_details": { "cached_tokens": 0 },
                "output_tokens": 7 * count, "output_tokens_details": { "reasoning_tokens": 0 },
                "total_tokens": 47 * count,
            },
        });
        Ok(self.store("batch_", batch, Bytes::new()))
    }

    /// What the script has for the model: sound as raw bytes, everything else as a document.
    async fn produce(&self, arrived: Arrived) -> Answered {
        let json: Value = serde_json::from_slice(&arrived.body).unwrap_or_default();
        let in_form = || part_of(&arrived.body, "model").map(|model| String::from_utf8_lossy(&model).into_owned());
        let model = json["model"].as_str().map(str::to_owned).or_else(in_form).unwrap_or_else(|| "*".to_owned());
        let asked = Asked { model, class: PriceClass::Standard, last_words: String::new(), delivery: Delivery::Whole };
        let say = |_: &ModelScript, _: &Manner, what: &What| {
            let text = self.answer_to(what, "", &[]).text;
            Spoken {
                tokens: BilledTokens::default(),
                written: Written::Document(json!({"text": text}).to_string().into()),
            }
        };
        self.perform(arrived, &asked, say).await
    }
}

/// The requests in a batch's file, each of which is taken to use as much as any other.
fn content_lines(content: &[u8]) -> Vec<Value> {
    content.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect()
}

/// What a form has under a name. <https://www.rfc-editor.org/rfc/rfc7578>
fn part_of(form: &Bytes, name: &str) -> Option<Bytes> {
    let find = |from: usize, what: &str| memchr::memmem::find(&form[from..], what.as_bytes()).map(|at| from + at);
    let part = find(0, &format!("name=\"{name}\""))?;
    let start = find(part, "\r\n\r\n")? + 4;
    let boundary = std::str::from_utf8(&form[..find(0, "\r\n")?]).ok()?;
    let end = find(start, &format!("\r\n{boundary}"))?;
    Some(form.slice(start..end))
}
