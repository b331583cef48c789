//! One call by one way into a row, to see whether it answers: its list of models where it has one, which costs nothing, else
//! an answer of a token.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::uri::PathAndQuery;
use http::{HeaderMap, Method, Request, Uri};
use serde_json::{Value, json};

use super::Row;
use super::body::{OutBody, Sent};
use super::connect::why;
use super::inbound::{self, Arriving};
use crate::dialect::Dialect;
use crate::ids::ModelId;
use crate::limits::REPLY_BYTES_MAX;
use crate::memory::Memory;
use crate::reply::usage::Usage;
use crate::wire::encoding::Encoding;
use crate::wire::errors::said;
use crate::wire::tap;
use crate::wire::vendors::output_limit_member;

/// How long one may take, connecting included.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Longest word of a provider's by which an error is told.
const KIND_BYTES_MAX: usize = 64;

/// What is asked.
#[derive(Clone, Debug)]
pub enum Question {
    /// The models that there are, at this path behind the base URL.
    List(String),
    /// An answer of one token.
    Answer(ModelId),
}

/// What came of it.
#[derive(Debug)]
pub enum Found {
    /// The names that it lists.
    Models(Vec<String>),
    /// It answered; what that used, if it says so.
    Answered(Option<Usage>),
    /// It did not; its own text is told to nobody.
    Failed {
        /// Its status, if it answered.
        status: Option<u16>,
        /// The word by which it calls its error, or a word of ours.
        why: String,
    },
}

impl Row {
    /// Asks by the way of that number, and says what came of it and how long it took.
    pub async fn probe(&self, access: usize, question: &Question) -> (Found, Duration) {
        let began = Instant::now();
        let found = tokio::time::timeout(TIMEOUT, self.ask_once(access, question)).await;
        let failed = || Found::Failed { status: None, why: "no answer in time".to_owned() };
        (found.unwrap_or_else(|_| failed()), began.elapsed())
    }

    async fn ask_once(&self, access: usize, question: &Question) -> Found {
        let failed = |status, why: &str| Found::Failed { status, why: why.to_owned() };
        let access = self.accesses().get(access);
        let base = access.paths.conversation(self.dialect(), false);
        let (method, uri, body) = match question {
            Question::List(path) => (Method::GET, beside(base, self.dialect(), path), Bytes::new()),
            Question::Answer(model) => (Method::POST, base.clone(), self.shortest(model)),
        };
        let mut headers: HeaderMap = self.headers().clone();
        if method == Method::GET {
            headers.remove(CONTENT_TYPE);
        }
        if self.dialect() == Dialect::Messages {
            headers.insert("anthropic-version", super::prepare::ANTHROPIC_VERSION);
        }
        let pieces = if body.is_empty() { Vec::new() } else { vec![body] };
        if let Some(signer) = &access.signer
            && let Err(failure) = signer.sign(&method, &uri, &mut headers, &pieces).await
        {
            return failed(None, failure.words());
        }
        access.show_key(&mut headers);
        let mut request = Request::new(OutBody::new(pieces, Sent::default()));
        (*request.method_mut(), *request.uri_mut(), *request.headers_mut()) = (method, uri, headers);
        let (client, place) = access.connect();
        let response = match client.request(request).await {
            Ok(response) => response,
            Err(error) if error.is_connect() => return failed(None, why(&error)),
            Err(_) => return failed(None, "the connection broke before an answer"),
        };
        let (head, body) = response.into_parts();
        let status = Some(head.status.as_u16());
        let held = Memory::new(2 * REPLY_BYTES_MAX).hold();
        let read = inbound::read(Arriving::new(body, place, REPLY_BYTES_MAX), Encoding::of(&head.headers), held).await;
        let Ok(json) = read else { return failed(status, "its answer cannot be read") };
        if !head.status.is_success() {
            return failed(status, &self.kind_of(&json));
        }
        match question {
            Question::List(_) => models(&json).map_or_else(|| failed(status, "its list cannot be read"), Found::Models),
            Question::Answer(_) => match tap::whole(&json, self.dialect(), self.habits()) {
                Ok(facts) if !facts.error => Found::Answered(facts.usage),
                _ => failed(status, &self.kind_of(&json)),
            },
        }
    }

    /// The word by which an error calls itself, where that is one; else none of its text is told.
    fn kind_of(&self, json: &Bytes) -> String {
        let is_word = |word: &&str| {
            let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
            !word.is_empty()
                && word.len() <= KIND_BYTES_MAX
                && word.bytes().all(fits)
                && !self.are_told_in(word.as_bytes())
        };
        said(json, self.dialect()).words().find(is_word).unwrap_or("refused by the provider").to_owned()
    }

    fn shortest(&self, model: &ModelId) -> Bytes {
        let messages = json!([{ "role": "user", "content": "hi" }]);
        let limit = output_limit_member(self.dialect(), self.vendor());
        json!({ "model": model.as_str(), limit: 1, "messages": messages }).to_string().into()
    }
}

/// A path beside that of conversations.
fn beside(conversation: &Uri, dialect: Dialect, path: &str) -> Uri {
    let end = super::paths::path_of(dialect);
    let prefix = conversation.path().strip_suffix(end).unwrap_or_default();
    let mut parts = conversation.clone().into_parts();
    parts.path_and_query = PathAndQuery::try_from(format!("{prefix}{path}")).ok();
    Uri::from_parts(parts).unwrap_or_else(|_| conversation.clone())
}

/// The names in a list of models: `{"data":[{"id":…}]}`, or the array alone.
fn models(json: &[u8]) -> Option<Vec<String>> {
    let list: Value = serde_json::from_slice(json).ok()?;
    let models = list.get("data").unwrap_or(&list).as_array()?;
    // Google's begin with the name of the list.
    let name = |id: &str| id.strip_prefix("models/").unwrap_or(id).to_owned();
    Some(models.iter().filter_map(|model| model.get("id")?.as_str().map(name)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_in_each_of_their_forms() {
        for list in [
            r#"{"object":"list","data":[{"id":"a"},{"id":"b"}]}"#,
            r#"[{"id":"a","type":"chat"},{"id":"b"},{"name":"c"}]"#,
            r#"{"data":[{"id":"models/a"},{"id":"models/b"}],"has_more":false}"#,
        ] {
            assert_eq!(models(list.as_bytes()).as_deref(), Some(&["a".to_owned(), "b".to_owned()][..]), "{list}");
        }
        assert_eq!(models(b"{}"), None);
        assert_eq!(models(b"<html>"), None);
    }

    #[test]
    fn a_list_stands_beside_conversations() {
        for (base, dialect, expected) in [
            ("https://x.example/v1/chat/completions", Dialect::Chat, "https://x.example/v1/models?limit=1000"),
            ("https://x.example/v1/messages", Dialect::Messages, "https://x.example/v1/models?limit=1000"),
            ("http://[::1]:8080/chat/completions", Dialect::Chat, "http://[::1]:8080/models?limit=1000"),
        ] {
            let uri = beside(&base.parse().expect("a URL"), dialect, "/models?limit=1000");
            assert_eq!(uri.to_string(), expected);
        }
    }
}
