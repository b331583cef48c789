//! How a row shows its provider who calls, and what of that must come back to nobody.

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::config::{Credential, ProviderConfig, Secret};

/// Shortest value of a secret header that is looked for in what a provider says, in bytes: a tenant's name by reference
/// may well stand in an error.
const SECRET_BYTES_MIN: usize = 12;

/// What a provider may have learnt of us and its callers must not.
pub struct Secrets(Vec<Secret>);

impl Secrets {
    /// The row's keys, and those of its headers that are as good as one, if they are long enough not to be a word of any text.
    pub fn of(config: &ProviderConfig) -> Self {
        let of_headers = config.headers.iter().map(|(_, value)| value).filter(|value| value.is_sensitive());
        let of_headers =
            of_headers.filter_map(|value| value.to_str().ok()).filter(|text| text.len() >= SECRET_BYTES_MIN);
        let of_accesses = config.accesses.iter().flat_map(|access| access.credential.secrets()).cloned();
        Self(of_accesses.chain(of_headers.map(|text| Secret::new(text.to_owned()))).collect())
    }

    /// Whether a text of the provider holds one: such a text goes to nobody.
    pub fn are_in(&self, text: &[u8]) -> bool {
        let holds = |text: &[u8], secret: &str| memchr::memmem::find(text, secret.as_bytes()).is_some();
        if self.0.iter().any(|secret| holds(text, secret.reveal())) {
            return true;
        }
        if self.0.is_empty() || !text.contains(&b'\\') {
            return false;
        }
        // Some writers escape what need not be, such as `/`: written anew, both are spelt alike.
        let Ok(anew) = serde_json::from_slice::<serde_json::Value>(text).map(|json| json.to_string()) else {
            return false;
        };
        self.0.iter().any(|secret| {
            let spelt = serde_json::Value::from(secret.reveal()).to_string();
            holds(anew.as_bytes(), &spelt[1..spelt.len() - 1])
        })
    }
}

/// Adds what every call of a row carries to `headers`: its key, if it has one alone, and its own headers, which win.
pub fn set(headers: &mut HeaderMap, config: &ProviderConfig) {
    if let [access] = config.accesses.as_slice() {
        headers.extend(header(&access.credential));
    }
    for (name, value) in &config.headers {
        headers.insert(name.clone(), value.clone());
    }
}

/// The header in which a credential travels, marked as one that nobody prints.
pub fn header(credential: &Credential) -> Option<(HeaderName, HeaderValue)> {
    let (name, value) = credential.header()?;
    let mut value = HeaderValue::try_from(value).ok()?;
    value.set_sensitive(true);
    Some((name, value))
}
