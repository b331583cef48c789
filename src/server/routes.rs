//! What stands at which path of the agents' door, and in which dialect errors at a path are told.
//!
//! A path is read before anything else is known of its request, so that whoever is turned away for want of a key is told
//! so in words that its client understands.

use http::{HeaderMap, Uri};

use super::allowed::{Allowed, allowed};
use crate::call::Surface;
use crate::dialect::Dialect;

/// What answers at a path.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Door<'p> {
    /// Whether the process is alive. Told to anyone.
    Alive,
    /// Whether it takes requests. Told to anyone.
    Ready,
    /// A model call.
    Call(Surface),
    /// What somebody says of an answer.
    Feedback,
    /// What is passed on as it comes, and the object that it is about.
    Passing(&'static Allowed, Option<&'p str>),
    /// The models there are.
    Models,
    /// One of them.
    Model(&'p str),
}

impl Door<'_> {
    /// The methods that are served there.
    pub fn methods(self) -> &'static str {
        match self {
            Self::Alive | Self::Ready | Self::Models | Self::Model(_) => "GET, HEAD",
            Self::Call(_) | Self::Feedback => "POST",
            Self::Passing(allowed, _) => allowed.methods,
        }
    }
}

/// What is served at a path; `None`: nothing.
pub fn door(path: &str) -> Option<Door<'_>> {
    Some(match below_version(path) {
        "/chat/completions" => Door::Call(Surface::ChatCompletions),
        "/responses" => Door::Call(Surface::Responses),
        "/messages" => Door::Call(Surface::Messages),
        "/embeddings" => Door::Call(Surface::Embeddings),
        "/completions" => Door::Call(Surface::Completions),
        "/messages/count_tokens" => Door::Call(Surface::CountTokens),
        "/responses/input_tokens" => Door::Call(Surface::InputTokens),
        "/models" => Door::Models,
        "/feedback" => Door::Feedback,
        "/healthz" => Door::Alive,
        "/readyz" => Door::Ready,
        path => match path.strip_prefix("/models/") {
            Some(model) => Door::Model(model),
            None => {
                let (allowed, object) = allowed(path)?;
                Door::Passing(allowed, object)
            }
        },
    })
}

/// The rest of a path behind its versions. Many give a base URL with `/v1` to clients that add their own, others one without
/// to those that do not.
pub(super) fn below_version(path: &str) -> &str {
    let mut rest = path;
    while let Some(behind) = rest.strip_prefix("/v1").filter(|behind| behind.starts_with('/')) {
        rest = behind;
    }
    rest
}

/// The dialect in which errors at a path are told, be anything served there or not. Where more than one protocol has a
/// path, its client is known by the header that Anthropic's send with everything.
pub fn errors(path: &str, headers: &HeaderMap) -> Dialect {
    match below_version(path).split('/').nth(1) {
        Some("chat" | "completions" | "embeddings" | "feedback") => Dialect::Chat,
        Some("messages" | "complete") => Dialect::Messages,
        Some("responses") => Dialect::Responses,
        _ if headers.contains_key("anthropic-version") => Dialect::Messages,
        _ => Dialect::Chat,
    }
}

/// Whether the query says `beta=true`, as that of Anthropic's clients does where they try something out.
pub fn asks_for_beta(uri: &Uri) -> bool {
    uri.query().is_some_and(|query| query.split('&').any(|part| part == "beta=true"))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[track_caller]
    fn check(path: &str, expected: Dialect, of_anthropic: Dialect) {
        let mut headers = HeaderMap::new();
        assert_eq!(errors(path, &headers), expected, "{path}");
        headers.insert("anthropic-version", HeaderValue::from_static("2023-06-01"));
        assert_eq!(errors(path, &headers), of_anthropic, "{path} with the header");
    }

    #[test]
    fn a_path_says_in_which_words_its_errors_are_told() {
        use Dialect::{Chat, Messages, Responses};
        for path in ["/v1/messages", "/v1/messages/count_tokens", "/v1/v1/messages", "/messages", "/v1/complete"] {
            check(path, Messages, Messages);
        }
        for path in ["/v1/responses", "/v1/responses/resp_1", "/responses"] {
            check(path, Responses, Responses);
        }
        for path in ["/v1/chat/completions", "/chat/completions", "/v1/completions", "/v1/embeddings"] {
            check(path, Chat, Chat);
        }
        for path in ["/v1/models", "/v1/models/x", "/", "", "/v1", "/v1messages", "/v1/files", "/nowhere"] {
            check(path, Chat, Messages);
        }
    }

    #[test]
    fn a_model_has_a_path_of_its_own() {
        assert_eq!(door("/v1/models/a/b"), Some(Door::Model("a/b")));
        assert_eq!(door("/v1/models/"), Some(Door::Model("")));
        assert_eq!(door("/v1/model"), None);
    }

    #[test]
    fn a_base_url_may_have_a_version_or_none_or_two() {
        for path in ["/v1/chat/completions", "/chat/completions", "/v1/v1/chat/completions"] {
            assert_eq!(door(path), Some(Door::Call(Surface::ChatCompletions)), "{path}");
        }
        for path in ["/v1chat/completions", "/v2/chat/completions", "/v1//chat/completions", "/v1", "/v1/", "/", ""] {
            assert_eq!(door(path), None, "{path}");
        }
    }
}
