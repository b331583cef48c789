//! Where a provider is called: the paths of its protocol, under the row's base URL.

use http::Uri;
use http::uri::PathAndQuery;

use crate::dialect::Dialect;

/// The URIs of one row, made once.
pub struct Paths {
    conversation: Uri,
}

impl Paths {
    /// Those of a row that speaks `dialect` under `base`.
    pub fn under(base: &Uri, dialect: Dialect) -> Self {
        Self { conversation: under(base, path_of(dialect)) }
    }

    /// Where a conversation goes on.
    pub fn conversation(&self) -> &Uri {
        &self.conversation
    }
}

/// The path behind a base URL, which ends in the version: `/v1` as a rule.
fn path_of(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::Chat => "/chat/completions",
        Dialect::Responses => "/responses",
        Dialect::Messages => "/messages",
    }
}

fn under(base: &Uri, path: &str) -> Uri {
    let mut parts = base.clone().into_parts();
    let prefix = base.path().trim_end_matches('/');
    parts.path_and_query = PathAndQuery::try_from(format!("{prefix}{path}")).ok();
    Uri::from_parts(parts).unwrap_or_else(|_| base.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_stands_behind_that_of_the_base_url() {
        for (base, expected) in [
            ("https://api.openai.com/v1", "https://api.openai.com/v1/chat/completions"),
            ("https://api.openai.com/v1/", "https://api.openai.com/v1/chat/completions"),
            ("http://localhost:11434", "http://localhost:11434/chat/completions"),
        ] {
            let paths = Paths::under(&base.parse().unwrap(), Dialect::Chat);
            assert_eq!(paths.conversation(), expected);
        }
    }
}
