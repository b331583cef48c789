//! Web pages of other origins that are let in, and what their browsers are told.
//! <https://fetch.spec.whatwg.org/#http-cors-protocol>
//!
//! Without `server.cors` nothing here is ever said, and browsers keep other pages out. Cookies mean nothing to us,
//! so credentials in the sense of that protocol are never allowed; a key travels in a header of the page's own.

use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
};
use http::{HeaderMap, HeaderValue};

use crate::config::Cors;

/// What a page may read of a reply besides what browsers always show. `*` would not cover names case by case in
/// older browsers, and says less.
const EXPOSED: HeaderValue = HeaderValue::from_static(
    "x-request-id, request-id, x-farthing-model, x-farthing-tier, x-farthing-task, x-farthing-confidence, x-farthing-policy, \
     x-farthing-reason, x-farthing-edits, x-farthing-dropped, x-farthing-tokens-source, x-farthing-cache, x-farthing-tokens-saved, \
     x-farthing-cost-usd, x-farthing-cost-source, x-farthing-saved-usd, x-farthing-provider-request-id, \
     retry-after, x-should-retry",
);

/// A page that reads a reply: its origin, if it may.
pub struct Reader(Option<HeaderValue>);

impl Reader {
    /// The page that sent these headers.
    pub fn of(cors: &Cors, headers: &HeaderMap) -> Self {
        Self(admitted(cors, headers).cloned())
    }

    /// Tells its browser. Caches keep replies to different origins apart.
    pub fn may_read(self, headers: &mut HeaderMap) {
        headers.append(VARY, HeaderValue::from_static("origin"));
        if let Some(origin) = self.0 {
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
        }
    }
}

/// What a browser is told that asks whether it may send a request by one of `methods`; `None` if this is no such
/// question, or not from a page that is let in. The headers that it names are allowed: each is read by allow-list.
pub fn preflight(cors: &Cors, headers: &HeaderMap, methods: &'static str) -> Option<HeaderMap> {
    admitted(cors, headers)?;
    headers.get(ACCESS_CONTROL_REQUEST_METHOD)?;
    let mut told = HeaderMap::new();
    told.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(methods));
    if let Some(names) = headers.get(ACCESS_CONTROL_REQUEST_HEADERS) {
        told.insert(ACCESS_CONTROL_ALLOW_HEADERS, names.clone());
    }
    told.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from(cors.max_age.as_secs()));
    told.insert(VARY, HeaderValue::from_static("access-control-request-method, access-control-request-headers"));
    Some(told)
}

fn admitted<'a>(cors: &Cors, headers: &'a HeaderMap) -> Option<&'a HeaderValue> {
    let mut origins = headers.get_all(ORIGIN).iter();
    let origin = origins.next().filter(|origin| cors.admits(origin))?;
    origins.next().is_none().then_some(origin)
}
