//! Where a provider is called: the paths of its protocol, under the row's base URL.

use http::Uri;
use http::uri::PathAndQuery;

use crate::dialect::Dialect;

/// The URIs of one row, made once.
pub struct Paths {
    conversation: Uri,
    /// The same with `?beta=true`.
    beta: Uri,
}

impl Paths {
    /// Those of a row that speaks `dialect` under `base`.
    pub fn under(base: &Uri, dialect: Dialect) -> Self {
        let path = path_of(dialect);
        Self { conversation: under(base, path), beta: under(base, &format!("{path}?beta=true")) }
    }

    /// Where a conversation goes on, and with `beta` what is not settled yet may be asked for.
    pub fn conversation(&self, beta: bool) -> &Uri {
        if beta { &self.beta } else { &self.conversation }
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
            assert_eq!(paths.conversation(false), expected);
            assert_eq!(paths.conversation(true).to_string(), format!("{expected}?beta=true"));
        }
    }
}
