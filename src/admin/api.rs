//! `/admin/api/*`: keys, their audit, teams and how budgets stand, as JSON, for whoever holds the admin key. `docs/admin-api.md` has each shape.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, ORIGIN};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use jiff::tz::TimeZone;
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::changes::Change;
use super::{Admin, shows};
use crate::budget::Terms;
use crate::config::{Key, Team};
use crate::dialect::Dialect;
use crate::gateway::standings::{self, Standing};
use crate::keys::{AUDIT_ROWS_MAX, KeysError, Repeat, Store, StoredKey, Surroundings, Wanted, Who, duration};
use crate::limits::{ADMIN_BODY_BYTES_MAX, ADMIN_BODY_TIMEOUT, IDEMPOTENCY_KEY_BYTES_MAX};
use crate::server::shown_method;
use crate::telemetry::log::now_ms;
use crate::wire::errors::{ApiError, Code};

/// Most keys of one answer.
const KEYS_MAX: usize = 1_000;

/// Answers one request.
pub(super) async fn serve(admin: Arc<Admin>, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let method = request.method().clone();
    let answer = answer(&admin, request).await;
    let (status, body) = match &answer {
        Ok((status, value)) => (*status, value.to_string()),
        Err(error) => {
            admin.accounts.metrics.count_error(error.code.metric());
            // Without its path, in which a secret may stand for a name.
            let fields = json!({ "method": shown_method(&method), "code": error.code.as_str() });
            admin.accounts.log.event("admin_refused", &fields);
            let status = StatusCode::from_u16(error.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            (status, error.body(Dialect::Chat, None))
        }
    };
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    // A secret is nothing to be kept on the way.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(methods) = answer.err().and_then(|error| error.allow) {
        headers.insert(ALLOW, HeaderValue::from_static(methods));
    }
    response
}

async fn answer(admin: &Arc<Admin>, request: Request<Incoming>) -> Result<(StatusCode, Value), ApiError> {
    // Without an admin key there is nothing here.
    let Some(key) = &admin.key else { return Err(not_found()) };
    let host = crate::server::host(&request)?;
    if let Some(origin) = request.headers().get(ORIGIN)
        && origin.to_str().ok().and_then(|origin| origin.split_once("://")).is_none_or(|(_, from)| from != host)
    {
        return Err(ApiError::new(Code::NotGranted, "requests from other web origins are not accepted"));
    }
    if !shows(&request, key) {
        return Err(ApiError::new(Code::InvalidApiKey, "wanted `Authorization: Bearer <admin key>`"));
    }
    let who = Who::holder_of(key);
    let (head, body) = request.into_parts();
    let path = head.uri.path().strip_prefix("/admin/api/").ok_or_else(not_found)?;
    let parts: Vec<&str> = path.split('/').collect();
    match (&head.method, parts.as_slice()) {
        (&Method::GET, ["keys"]) => {
            let query = Query::read(head.uri.query(), &["after", "limit"])?;
            read(admin, move |store| listed(store, &query)).await
        }
        (&Method::POST, ["keys"]) => {
            let body = whole(body).await?;
            let repeat = repeat(&head, &body)?;
            let wanted: Wanted = parsed(&body)?;
            let timezone = TimeZone::get(&admin.config.timezone).unwrap_or(TimeZone::UTC);
            let payers = admin.server.gateway.payers();
            let around =
                Surroundings { teams: &payers.teams, keys: &admin.config.keys, timezone: &timezone, now_ms: now_ms() };
            let asked = Box::new(wanted.check(around).map_err(|error| refusal(&error))?);
            Ok((StatusCode::CREATED, change(admin, who, Change::Create(asked), repeat).await?))
        }
        (&Method::GET, ["keys", name]) => {
            let name = (*name).to_owned();
            read(admin, move |store| {
                let unknown = || KeysError::Unknown { name: crate::config::quoted(&name), hint: String::new() };
                let key = store.ok_or_else(unknown)?.one(&name)?;
                Ok(json!({ "key": key.shown(now_ms()) }))
            })
            .await
        }
        (&Method::PATCH, ["keys", name]) => {
            let patch = parsed(&whole(body).await?)?;
            Ok((StatusCode::OK, change(admin, who, Change::Update((*name).to_owned(), patch), None).await?))
        }
        (&Method::DELETE, ["keys", name]) => {
            Ok((StatusCode::OK, change(admin, who, Change::Revoke((*name).to_owned()), None).await?))
        }
        (&Method::POST, ["keys", name, "rotate"]) => {
            let body = whole(body).await?;
            let repeat = repeat(&head, &body)?;
            let Rotation { overlap } = if body.is_empty() { Rotation::default() } else { parsed(&body)? };
            let overlap = overlap.as_deref().map_or(Ok(Duration::ZERO), duration).map_err(|wanted| {
                let found = overlap.as_deref().unwrap_or_default();
                let message = format!("`overlap` is `{}`; wanted {wanted}", crate::config::quoted(found));
                ApiError::new(Code::InvalidBody, message).param("overlap")
            })?;
            let rotated = change(admin, who, Change::Rotate((*name).to_owned(), overlap), repeat).await?;
            Ok((StatusCode::OK, rotated))
        }
        (&Method::GET, ["audit"]) => {
            let query = Query::read(head.uri.query(), &["after", "limit", "key"])?;
            let (after, limit) = (query.number("after", 0)?, query.number("limit", i64::from(AUDIT_ROWS_MAX))?);
            let limit = u32::try_from(limit).unwrap_or(AUDIT_ROWS_MAX);
            read(admin, move |store| {
                let key = query.value("key");
                Ok(json!({ "audit": store.map_or(Ok(Vec::new()), |store| store.audit(key, after, limit))? }))
            })
            .await
        }
        (&Method::GET, ["teams"]) => {
            let teams: Vec<Value> = admin.server.gateway.payers().teams.iter().map(shown_team).collect();
            Ok((StatusCode::OK, json!({ "teams": teams })))
        }
        (&Method::GET, ["budgets"]) => {
            let server = &admin.server;
            let (teams, ring) = (&server.gateway.payers().teams, server.keys.ring());
            let keys: Vec<Key> = ring.keys().into_iter().cloned().collect();
            let (standings, left_out) = standings::of_holds(&admin.accounts.holds, teams, &keys, now_ms());
            let budgets: Vec<Value> = standings.iter().map(Standing::shown).collect();
            Ok((StatusCode::OK, json!({ "budgets": budgets, "left_out": left_out })))
        }
        (method, ["keys"]) => Err(wrong_method(method, "GET, POST")),
        (method, ["keys", _]) => Err(wrong_method(method, "GET, PATCH, DELETE")),
        (method, ["keys", _, "rotate"]) => Err(wrong_method(method, "POST")),
        (method, ["audit" | "budgets" | "teams"]) => Err(wrong_method(method, "GET")),
        _ => Err(not_found()),
    }
}

/// The body of a rotation.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Rotation {
    overlap: Option<String>,
}

/// The query of a request: each name once, and none that is not known.
struct Query(Vec<(String, String)>);

impl Query {
    fn read(query: Option<&str>, known: &[&str]) -> Result<Self, ApiError> {
        let mut pairs: Vec<(String, String)> = Vec::new();
        for pair in query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            if !known.contains(&name) || pairs.iter().any(|(other, _)| other == name) {
                let known = known.join("`, `");
                return Err(ApiError::new(Code::InvalidRequest, format!("the query takes `{known}`, each once")));
            }
            pairs.push((name.to_owned(), value.to_owned()));
        }
        Ok(Self(pairs))
    }

    fn value(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    fn number(&self, name: &'static str, default: i64) -> Result<i64, ApiError> {
        let number = self.value(name).map_or(Ok(default), str::parse).ok().filter(|number| *number >= 0);
        number.ok_or_else(|| {
            ApiError::new(Code::InvalidRequest, format!("`{name}` is no whole number from 0")).param(name)
        })
    }
}

/// Keys in the order in which they were made, behind the one named by `after`.
fn listed(store: Option<Store>, query: &Query) -> Result<Value, KeysError> {
    let limit = query.value("limit").and_then(|limit| limit.parse().ok()).unwrap_or(KEYS_MAX).clamp(1, KEYS_MAX);
    let all = store.map_or(Ok(Vec::new()), |store| store.all())?;
    let behind = |after: &str| all.iter().position(|key| key.asked.name == after).map_or(all.len(), |at| at + 1);
    let from = query.value("after").map_or(0, behind);
    let page: &[StoredKey] = &all[from..all.len().min(from + limit)];
    let next = page.last().filter(|_| from + page.len() < all.len()).map(|key| &key.asked.name);
    let now = now_ms();
    let shown: Vec<Value> = page.iter().map(|key| key.shown(now)).collect();
    Ok(json!({ "keys": shown, "next": next }))
}

fn shown_team(team: &Team) -> Value {
    let by_name = |(name, terms): (&String, &Terms)| (name.clone(), shown_terms(Some(terms)));
    let mut projects: serde_json::Map<_, _> = team.projects.named.iter().map(by_name).collect();
    projects.extend(team.projects.each.as_ref().map(|terms| ("*".to_owned(), shown_terms(Some(terms)))));
    let users: serde_json::Map<_, _> = team.users.named.iter().map(by_name).collect();
    let own = &team.terms;
    json!({
        "name": team.id.as_str(), "budget": own.budget, "limits": own.limits, "projects": projects,
        "users": shown_terms(team.users.each.as_ref()), "named_users": users,
    })
}

fn shown_terms(terms: Option<&Terms>) -> Value {
    terms.map_or(Value::Null, |terms| json!({ "budget": terms.budget, "limits": terms.limits }))
}

/// Reads the store away from the threads that serve; `None`: no key was ever made.
async fn read(
    admin: &Arc<Admin>,
    what: impl FnOnce(Option<Store>) -> Result<Value, KeysError> + Send + 'static,
) -> Result<(StatusCode, Value), ApiError> {
    let path = admin.config.ledger.keys_path();
    let value = tokio::task::spawn_blocking(move || Store::open(&path).and_then(what)).await;
    value.map_err(|_| broken())?.map(|value| (StatusCode::OK, value)).map_err(|error| refusal(&error))
}

/// A change goes on to its end also if the client hangs up.
async fn change(admin: &Arc<Admin>, who: Who, change: Change, repeat: Option<Repeat>) -> Result<Value, ApiError> {
    let admin = Arc::clone(admin);
    let changed =
        tokio::task::spawn_blocking(move || admin.changing.change(&admin.server, &who, &change, repeat.as_ref()));
    changed.await.map_err(|_| broken())?.map_err(|error| refusal(&error))
}

async fn whole(body: Incoming) -> Result<Bytes, ApiError> {
    let read = tokio::time::timeout(ADMIN_BODY_TIMEOUT, Limited::new(body, ADMIN_BODY_BYTES_MAX).collect()).await;
    let read = read.map_err(|_| ApiError::new(Code::RequestTimeout, "the body did not arrive in time"))?;
    read.map(|body| body.to_bytes()).map_err(|error| match error.is::<LengthLimitError>() {
        true => {
            let message = format!("the body is larger than the limit of {ADMIN_BODY_BYTES_MAX} bytes");
            ApiError::new(Code::BodyTooLarge, message)
        }
        false => ApiError::new(Code::InvalidBody, "the body broke off"),
    })
}

fn parsed<T: for<'de> Deserialize<'de>>(body: &Bytes) -> Result<T, ApiError> {
    let wrong = |error: serde_json::Error| ApiError::new(Code::InvalidBody, error.to_string());
    let written: Value = serde_json::from_slice(body).map_err(wrong)?;
    // Serde takes a list for a struct as well, member by member.
    let members = written.as_object();
    let members = members.ok_or_else(|| ApiError::new(Code::InvalidBody, "the body is no JSON object"))?;
    for name in ["may", "budget", "limits"] {
        if members.get(name).is_some_and(|value| !value.is_object() && !value.is_null()) {
            return Err(ApiError::new(Code::InvalidBody, format!("`{name}` is no JSON object")).param(name));
        }
    }
    serde_json::from_slice(body).map_err(wrong)
}

/// What keeps a request from being done twice, if it asks for that.
fn repeat(head: &http::request::Parts, body: &Bytes) -> Result<Option<Repeat>, ApiError> {
    let mut given = head.headers.get_all("idempotency-key").iter();
    let Some(token) = given.next() else { return Ok(None) };
    if token.is_empty() || token.len() > IDEMPOTENCY_KEY_BYTES_MAX || given.next().is_some() {
        let message = format!("`Idempotency-Key`: wanted one of 1 to {IDEMPOTENCY_KEY_BYTES_MAX} bytes");
        return Err(ApiError::new(Code::InvalidRequest, message));
    }
    let request = Sha256::new_with_prefix(head.uri.path()).chain_update(b"\n").chain_update(body).finalize().into();
    Ok(Some(Repeat { token: Sha256::digest(token).into(), request }))
}

fn refusal(error: &KeysError) -> ApiError {
    let code = match error {
        KeysError::Wrong(_) => Code::InvalidBody,
        KeysError::Unknown { .. } => Code::NotFound,
        KeysError::Exists { .. } | KeysError::Over { .. } | KeysError::Repeated { .. } | KeysError::TooMany => {
            Code::Conflict
        }
        KeysError::RepeatedOtherwise => Code::IdempotencyConflict,
        _ => Code::KeyStoreUnavailable,
    };
    ApiError::new(code, error.to_string())
}

fn not_found() -> ApiError {
    ApiError::new(Code::NotFound, "nothing is served at this path")
}

fn wrong_method(method: &Method, served: &'static str) -> ApiError {
    ApiError::new(Code::MethodNotAllowed, format!("`{method}` is not served here; wanted {served}")).allow(served)
}

fn broken() -> ApiError {
    ApiError::new(Code::Internal, "this broke off by a fault of Farthing's")
}
