//! Whom a request is meant for and where it ends: refused wherever two readers could disagree.
//!
//! A proxy in front of us and we must see the same host and the same bounds of the body, or one client's request
//! could be taken for another's. So must what lets it in: a key or an origin stands once. Lengths are hyper's to
//! judge: it refuses lengths that differ, and ends the connection behind a request that has both a length and chunks.

use http::header::{AUTHORIZATION, HOST, ORIGIN, TRANSFER_ENCODING};
use http::{HeaderName, HeaderValue, Method, Request};

use crate::wire::errors::{ApiError, Code};

const API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// The host that a request names, with its port if it has one; empty if it names none.
///
/// # Errors
///
/// 400 `invalid_request` for two hosts, a transfer encoding besides `chunked`, or a header that decides who comes in
/// and stands twice: whoever reads the other one would let somebody else in.
pub fn host<B>(request: &Request<B>) -> Result<&str, ApiError> {
    let headers = request.headers();
    // <https://www.rfc-editor.org/rfc/rfc9112#section-6.1>
    let mut encodings = headers.get_all(TRANSFER_ENCODING).iter().map(HeaderValue::as_bytes);
    if encodings.next().is_some_and(|encoding| !encoding.eq_ignore_ascii_case(b"chunked")) || encodings.next().is_some()
    {
        return Err(ApiError::new(Code::InvalidRequest, "of transfer encodings only `chunked` is taken, and once"));
    }
    for name in [AUTHORIZATION, API_KEY, ORIGIN] {
        if headers.get_all(&name).iter().nth(1).is_some() {
            return Err(ApiError::new(
                Code::InvalidRequest,
                format!("the header `{name}` stands twice; wanted it once"),
            ));
        }
    }
    // <https://www.rfc-editor.org/rfc/rfc9112#section-3.2>
    let mut hosts = headers.get_all(HOST).iter();
    let named = hosts.next().map(|host| host.to_str().unwrap_or_default());
    let target = request.uri().authority().map(|authority| authority.as_str());
    let disagree = named.zip(target).is_some_and(|(named, target)| !named.eq_ignore_ascii_case(target));
    if hosts.next().is_some() || disagree {
        return Err(ApiError::new(Code::InvalidRequest, "the request names two hosts; wanted one"));
    }
    Ok(target.or(named).unwrap_or_default())
}

/// Words that paths of model APIs are made of.
const PATH_WORDS: [&str; 47] = [
    "v1",
    "v1beta",
    "v1beta1",
    "v1alpha",
    "v2",
    "v3",
    "api",
    "openai",
    "anthropic",
    "deployments",
    "engines",
    "chat",
    "completions",
    "completion",
    "responses",
    "messages",
    "count_tokens",
    "complete",
    "generate",
    "models",
    "model",
    "feedback",
    "embeddings",
    "embed",
    "rerank",
    "moderations",
    "audio",
    "speech",
    "transcriptions",
    "translations",
    "images",
    "generations",
    "edits",
    "files",
    "uploads",
    "batches",
    "fine_tuning",
    "jobs",
    "threads",
    "assistants",
    "runs",
    "realtime",
    "conversations",
    "healthz",
    "health",
    "readyz",
    "metrics",
];
/// Most parts of a path that are shown.
const PATH_PARTS_MAX: usize = 8;

/// A path as the log shows it: parts that model APIs are not made of might be a prompt or a key, and become `*`.
pub fn shown_path(path: &str) -> String {
    let mut shown = String::new();
    let mut parts = path.trim_start_matches('/').split('/');
    for part in parts.by_ref().take(PATH_PARTS_MAX) {
        let part = if part.is_empty() { "" } else { PATH_WORDS.iter().find(|word| **word == part).unwrap_or(&"*") };
        shown.push('/');
        shown.push_str(part);
    }
    if parts.next().is_some() {
        shown.push_str("/…");
    }
    shown
}

/// A method as the log shows it.
pub fn shown_method(method: &Method) -> &str {
    let usual = [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::OPTIONS];
    if usual.contains(method) { method.as_str() } else { "other" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_shown_by_the_words_that_apis_have() {
        for (path, shown) in [
            ("/v1/v1/chat/completions", "/v1/v1/chat/completions"),
            ("/v1/responses", "/v1/responses"),
            ("/v1/models/sk-secret", "/v1/models/*"),
            ("/summarise this/", "/*/"),
            ("/", "/"),
            ("/a/a/a/a/a/a/a/a/a/a", "/*/*/*/*/*/*/*/*/…"),
        ] {
            assert_eq!(shown_path(path), shown);
        }
        assert_eq!(shown_method(&Method::from_bytes(b"SECRET").unwrap()), "other");
    }

    #[track_caller]
    fn check(uri: &str, headers: &[(&str, &str)], expected: Option<&str>) {
        let mut request = Request::get(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(()).unwrap();
        assert_eq!(host(&request).ok(), expected, "{uri} {headers:?}");
    }

    #[test]
    fn a_request_names_one_host_wherever_it_stands() {
        check("/", &[("host", "a:1")], Some("a:1"));
        check("http://a:1/", &[], Some("a:1"));
        check("http://a:1/", &[("host", "A:1")], Some("a:1"));
        check("/", &[], Some(""));
        check("http://a/", &[("host", "b")], None);
        check("http://u@a/", &[("host", "a")], None);
        check("/", &[("host", "a"), ("host", "a")], None);
        check("/", &[("host", "a"), ("host", "b")], None);
    }

    #[test]
    fn a_body_is_chunked_or_not_encoded_for_transfer() {
        let te = "transfer-encoding";
        check("/", &[("host", "a"), (te, "Chunked")], Some("a"));
        for encoding in ["gzip, chunked", "xchunked", "chunked, chunked", "identity", ""] {
            check("/", &[("host", "a"), (te, encoding)], None);
        }
        check("/", &[("host", "a"), (te, "chunked"), (te, "chunked")], None);
    }
}
