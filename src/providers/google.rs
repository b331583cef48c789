//! Access tokens of a Google service account: had for a signed statement, kept until shortly before they expire.
//!
//! Whoever finds the token old asks for the next one while others go on with it; where there is none that still holds,
//! all wait for one asking. <https://developers.google.com/identity/protocols/oauth2/service-account#httprest>

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, Request};
use http_body_util::{BodyExt, Full, Limited};
use ring::rand::SystemRandom;
use ring::signature::RSA_PKCS1_SHA256;
use serde::Deserialize;
use serde_json::json;

use super::connect::plain_client;
use crate::config::{Secret, ServiceAccount};

/// How long asking for a token may take, connecting included.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Behind an asking that failed nobody asks for so long.
const PAUSE: Duration = Duration::from_secs(1);
/// How long a statement holds: the longest that Google allows.
const STATEMENT_SECONDS: u64 = 3600;
/// Largest answer that is read.
const ANSWER_BYTES_MAX: usize = 64 << 10;
const SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";

/// The tokens of one account.
#[derive(Debug)]
pub struct Tokens {
    account: ServiceAccount,
    state: Mutex<State>,
    /// Held by whoever asks.
    asking: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct State {
    current: Option<Token>,
    /// What a provider may have learnt: the last two.
    known: [Option<Secret>; 2],
    failed: Option<Instant>,
}

#[derive(Clone, Debug)]
struct Token {
    header: HeaderValue,
    /// From then on it is replaced.
    old: Instant,
    /// From then on it is of no use.
    over: Instant,
}

#[derive(Deserialize)]
struct Answer {
    access_token: String,
    expires_in: u64,
}

impl Tokens {
    /// Those of an account; nothing is asked for yet.
    pub fn of(account: ServiceAccount) -> Arc<Self> {
        Arc::new(Self { account, state: Mutex::default(), asking: tokio::sync::Mutex::default() })
    }

    /// The value of `authorization` for a call that begins at `now`; `None` if there is no token to be had.
    pub async fn header(&self, now: Instant) -> Option<HeaderValue> {
        let held = self.lock().current.clone().filter(|token| now < token.over);
        match held {
            Some(token) if now < token.old => return Some(token.header),
            Some(token) => {
                let Ok(_asking) = self.asking.try_lock() else { return Some(token.header) };
                return Some(self.ask_unless_it_failed(now).await.unwrap_or(token.header));
            }
            None => {}
        }
        let _asking = tokio::time::timeout(TIMEOUT, self.asking.lock()).await.ok()?;
        // Somebody else may have asked meanwhile, in vain or not.
        let meanwhile = self.lock().current.clone().filter(|token| now < token.over);
        match meanwhile {
            Some(token) => Some(token.header),
            None => self.ask_unless_it_failed(now).await,
        }
    }

    /// The token was not accepted: the next call asks for another.
    pub fn forget(&self) {
        self.lock().current = None;
    }

    /// Whether a text holds one of the tokens.
    pub fn are_in(&self, text: &[u8]) -> bool {
        let state = self.lock();
        state.known.iter().flatten().any(|token| memchr::memmem::find(text, token.reveal().as_bytes()).is_some())
    }

    async fn ask_unless_it_failed(&self, now: Instant) -> Option<HeaderValue> {
        let failed = self.lock().failed;
        if failed.is_some_and(|at| now.saturating_duration_since(at) < PAUSE) {
            return None;
        }
        let answer = tokio::time::timeout(TIMEOUT, self.ask()).await.ok().flatten();
        let token = answer.and_then(|answer| self.keep(answer, now));
        if token.is_none() {
            self.lock().failed = Some(Instant::now());
        }
        token
    }

    fn keep(&self, answer: Answer, now: Instant) -> Option<HeaderValue> {
        let mut header = HeaderValue::try_from(format!("Bearer {}", answer.access_token)).ok()?;
        header.set_sensitive(true);
        let life = Duration::from_secs(answer.expires_in);
        let mut state = self.lock();
        state.current = Some(Token { header: header.clone(), old: now + life * 4 / 5, over: now + life });
        state.known[1] = state.known[0].take();
        state.known[0] = Some(Secret::new(answer.access_token));
        state.failed = None;
        Some(header)
    }

    async fn ask(&self) -> Option<Answer> {
        let statement = self.statement(SystemTime::now())?;
        let form = format!("grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion={statement}");
        let mut request = Request::new(Full::new(Bytes::from(form)));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.account.token_uri.clone();
        request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        let response = plain_client(TIMEOUT).request(request).await.ok()?;
        if !response.status().is_success() {
            return None;
        }
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await.ok()?;
        serde_json::from_slice(&body.to_bytes()).ok()
    }

    /// A JSON web token that says who asks for what, and holds for an hour from `now`. <https://www.rfc-editor.org/rfc/rfc7523>
    fn statement(&self, now: SystemTime) -> Option<String> {
        let ServiceAccount { email, key_id, key, token_uri, .. } = &self.account;
        let issued = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        let head = json!({ "alg": "RS256", "typ": "JWT", "kid": key_id });
        let claims = json!({
            "iss": email, "scope": SCOPE, "aud": token_uri.to_string(), "iat": issued, "exp": issued + STATEMENT_SECONDS,
        });
        let said = [base64url(head.to_string().as_bytes()), base64url(claims.to_string().as_bytes())].join(".");
        let mut signature = vec![0; key.public().modulus_len()];
        key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), said.as_bytes(), &mut signature).ok()?;
        Some(format!("{said}.{}", base64url(&signature)))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Base64 for URLs, without padding. <https://www.rfc-editor.org/rfc/rfc4648#section-5>
fn base64url(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let bits = group.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - group.len()));
        let digits = (0..=group.len()).map(|digit| DIGITS[(bits >> (18 - 6 * digit)) as usize & 63]);
        text.extend(digits.map(char::from));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_spelt_for_urls() {
        for (bytes, expected) in [
            ("", ""),
            ("f", "Zg"),
            ("fo", "Zm8"),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg"),
            ("fooba", "Zm9vYmE"),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64url(bytes.as_bytes()), expected, "{bytes}");
        }
        assert_eq!(base64url(&[0xfb, 0xff, 0xfe]), "-__-");
    }
}
