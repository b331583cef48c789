//! What a request's headers say: claims, wishes, and what may be passed on to a provider. One pass.

use std::time::Duration;

use http::header::HOST;
use http::{HeaderMap, HeaderName, HeaderValue};
use percent_encoding::percent_decode;
use serde_json::{Map, Value};

use crate::call::OnShort;
use crate::prompt::view::Claims;

/// What the headers said.
#[derive(Debug, Default)]
pub struct Said {
    /// `x-farthing-*` claims.
    pub claims: Claims,
    /// The metadata headers of LiteLLM, Portkey, Helicone and Cloudflare, for those who come from there.
    pub migrated: Claims,
    /// Claims that are there and cannot be read: of headers of ours, those that are no UTF-8; of other gateways' headers
    /// `metadata` if it is no JSON object at all, else the key whose value is no text, number or switch.
    pub unread: Vec<&'static str>,
    /// `x-farthing-tier`, as written.
    pub tier: Option<String>,
    /// The session that a known client's own header names.
    pub session: Option<String>,
    /// `x-farthing-deadline`.
    pub deadline: Option<Duration>,
    /// `x-farthing-budget`.
    pub on_short: Option<OnShort>,
    /// `Idempotency-Key`, as often as it came.
    pub repeats: Vec<HeaderValue>,
    /// The headers that may reach a provider, in the order in which they came.
    pub forward: Vec<(HeaderName, HeaderValue)>,
}

/// Reads all headers once.
pub fn read(headers: HeaderMap) -> Said {
    let mut said = Said { forward: Vec::with_capacity(headers.len()), ..Said::default() };
    let mut last = (HOST, false);
    for (name, value) in headers {
        let passing = match name {
            Some(name) if passes(&name) => Some(name),
            Some(name) => {
                last = (name, false);
                None
            }
            // A name stands before the first of its values only.
            None => last.1.then(|| said.forward.last().map(|(name, _)| name.clone())).flatten(),
        };
        match passing {
            Some(name) => {
                last.1 = true;
                said.note_session(name.as_str(), &value);
                said.forward.push((known(name), value));
            }
            None => said.note(last.0.as_str(), &value),
        }
    }
    said
}

/// The names that official SDKs send with every request. Copies of these share their text; those of others do not.
const KNOWN: [HeaderName; 10] = [
    HeaderName::from_static("x-stainless-lang"),
    HeaderName::from_static("x-stainless-package-version"),
    HeaderName::from_static("x-stainless-os"),
    HeaderName::from_static("x-stainless-arch"),
    HeaderName::from_static("x-stainless-runtime"),
    HeaderName::from_static("x-stainless-runtime-version"),
    HeaderName::from_static("x-stainless-async"),
    HeaderName::from_static("x-stainless-retry-count"),
    HeaderName::from_static("x-stainless-timeout"),
    HeaderName::from_static("x-stainless-read-timeout"),
];

fn known(name: HeaderName) -> HeaderName {
    KNOWN.iter().find(|known| **known == name).cloned().unwrap_or(name)
}

/// Credentials, cookies, `x-farthing-*` and organisation headers never reach a provider: only what is listed does.
fn passes(name: &HeaderName) -> bool {
    let name = name.as_str();
    matches!(
        name,
        "accept"
            | "user-agent"
            | "traceparent"
            | "tracestate"
            | "originator"
            | "session-id"
            | "thread-id"
            | "x-app"
            | "x-session-affinity"
            | "x-claude-code-session-id"
            | "openai-beta"
            | "anthropic-beta"
            | "anthropic-version"
    ) || name.starts_with("x-stainless-")
        || name.starts_with("x-codex-")
}

impl Said {
    /// Codex (a thread is one conversation of a session), opencode, Claude Code.
    fn note_session(&mut self, name: &str, value: &HeaderValue) {
        match name {
            "thread-id" | "x-session-affinity" | "x-claude-code-session-id" => self.session = text(value),
            "session-id" => self.session = self.session.take().or_else(|| text(value)),
            _ => {}
        }
    }

    fn note(&mut self, name: &str, value: &HeaderValue) {
        let text = || text(value);
        if let Some(ours) = name.strip_prefix("x-farthing-") {
            let mut claim = |claim: &'static str| claimed(value, claim, &mut self.unread);
            match ours {
                "team" => self.claims.team = claim("team"),
                "project" => self.claims.project = claim("project"),
                "pipeline" => self.claims.pipeline = claim("pipeline"),
                "user" => self.claims.user = claim("user"),
                "run" => self.claims.run = claim("run"),
                "task" => self.claims.task = claim("task"),
                "prompt" => self.claims.prompt = claim("prompt"),
                "tier" => self.tier = text(),
                "budget" => self.on_short = text().and_then(|word| OnShort::parse(&word)),
                "deadline" => self.deadline = text().and_then(|ms| ms.parse().ok()).map(Duration::from_millis),
                _ => {}
            }
            return;
        }
        match name {
            "idempotency-key" => self.repeats.push(value.clone()),
            "x-portkey-metadata" | "cf-aig-metadata" | "x-litellm-spend-logs-metadata" => {
                let claims = metadata(value.as_bytes(), &mut self.unread);
                self.migrated.merge(claims);
            }
            "x-portkey-trace-id" | "x-litellm-session-id" | "helicone-session-id" => self.migrated.run = text(),
            "x-litellm-trace-id" => self.migrated.run = self.migrated.run.take().or_else(text),
            "x-litellm-customer-id" | "helicone-user-id" => self.migrated.user = text(),
            // LiteLLM looks at it after the customer's. https://docs.litellm.ai/docs/proxy/customers
            "x-litellm-end-user-id" => self.migrated.user = self.migrated.user.take().or_else(text),
            "helicone-prompt-id" => self.migrated.prompt = text(),
            "helicone-property-team" => self.migrated.team = text(),
            "helicone-property-project" => self.migrated.project = text(),
            "helicone-property-pipeline" => self.migrated.pipeline = text(),
            "helicone-property-task" => self.migrated.task = text(),
            _ => {}
        }
    }
}

/// A name as our own headers have it: percent-encoded where it is not ASCII, as in replies and as most clients have to, since
/// headers are ASCII to them; plain UTF-8 as well. What is neither is told.
fn claimed(value: &HeaderValue, claim: &'static str, unread: &mut Vec<&'static str>) -> Option<String> {
    let decoded = percent_decode(value.as_bytes()).decode_utf8();
    match decoded.map(|text| text.trim().to_owned()) {
        Ok(text) => Some(text).filter(|text| !text.is_empty()),
        Err(_) => {
            unread.push(claim);
            None
        }
    }
}

fn text(value: &HeaderValue) -> Option<String> {
    std::str::from_utf8(value.as_bytes()).ok().map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned)
}

impl Claims {
    /// Fills what is absent from `other`.
    pub fn merge(&mut self, other: Self) {
        let Self { team, project, pipeline, user, run, task, prompt } = other;
        self.team = self.team.take().or(team);
        self.project = self.project.take().or(project);
        self.pipeline = self.pipeline.take().or(pipeline);
        self.user = self.user.take().or(user);
        self.run = self.run.take().or(run);
        self.task = self.task.take().or(task);
        self.prompt = self.prompt.take().or(prompt);
    }
}

/// The claims of one kind and the names that other gateways' users give them, the first that is there counts.
const NAMES: [(&str, &[&str]); 7] = [
    ("team", &["team", "team_id"]),
    ("project", &["project", "project_id"]),
    ("pipeline", &["pipeline"]),
    ("user", &["user", "_user", "user_id"]),
    ("run", &["run", "run_id", "trace_id", "session_id"]),
    ("task", &["task"]),
    ("prompt", &["prompt", "_prompt"]),
];

/// A JSON object of metadata, as Portkey, Cloudflare and LiteLLM send it. Numbers and switches count as their text,
/// as in those gateways; what cannot be read takes nothing else with it.
fn metadata(json: &[u8], unread: &mut Vec<&'static str>) -> Claims {
    let Ok(object) = serde_json::from_slice::<Map<String, Value>>(json) else {
        unread.push("metadata");
        return Claims::default();
    };
    let [team, project, pipeline, user, run, task, prompt] = NAMES.map(|(claim, names)| {
        let found = names.iter().filter_map(|name| object.get(*name)).find(|value| !value.is_null())?;
        match found {
            Value::String(text) => Some(text.trim().to_owned()).filter(|text| !text.is_empty()),
            Value::Number(number) => Some(number.to_string()),
            Value::Bool(switch) => Some(switch.to_string()),
            Value::Null | Value::Array(_) | Value::Object(_) => {
                unread.push(claim);
                None
            }
        }
    });
    Claims { team, project, pipeline, user, run, task, prompt }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_listed_headers_reach_a_provider() {
        let mut headers = HeaderMap::new();
        for name in
            ["authorization", "x-api-key", "cookie", "x-farthing-team", "openai-organization", "openai-project", "host"]
        {
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static("secret"));
        }
        for name in ["user-agent", "traceparent", "x-stainless-lang", "openai-beta"] {
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static("fine"));
        }
        let said = read(headers);
        assert_eq!(said.forward.len(), 4);
        assert!(said.forward.iter().all(|(_, value)| value == "fine"));
    }

    #[test]
    fn a_session_is_known_by_the_headers_of_clients_and_still_passed_on() {
        let check = |pairs: &[(&'static str, &'static str)], expected: Option<&str>| {
            let mut headers = HeaderMap::new();
            for (name, value) in pairs {
                headers.insert(*name, HeaderValue::from_static(value));
            }
            let said = read(headers);
            assert_eq!(said.session.as_deref(), expected, "{pairs:?}");
            said.forward.len()
        };
        assert_eq!(check(&[("session-id", "s"), ("thread-id", "t")], Some("t")), 2);
        assert_eq!(check(&[("x-session-affinity", "s")], Some("s")), 1);
        assert_eq!(check(&[("x-claude-code-session-id", "s")], Some("s")), 1);
        assert_eq!(check(&[("user-agent", "u")], None), 1);
    }

    #[test]
    fn metadata_of_other_gateways_is_understood() {
        let mut headers = HeaderMap::new();
        headers.insert("x-portkey-metadata", HeaderValue::from_static(r#"{"_user":"ann","team":"data","n":1}"#));
        headers.insert("helicone-session-id", HeaderValue::from_static("s-1"));
        let said = read(headers);
        let expected = Claims {
            user: Some("ann".into()),
            team: Some("data".into()),
            run: Some("s-1".into()),
            ..Claims::default()
        };
        assert_eq!(said.migrated, expected);
    }

    #[test]
    fn names_are_plain_or_percent_encoded_and_what_is_neither_is_told() {
        for (sent, expected) in [
            (&b"ops"[..], Some("ops")),
            ("Öl".as_bytes(), Some("Öl")),
            (b"%C3%96l", Some("Öl")),
            (b"100%", Some("100%")),
            (b" %20 ", None),
            (b"\xd6l", None),
            (b"%D6l", None),
        ] {
            let mut headers = HeaderMap::new();
            for name in ["team", "project", "pipeline", "user", "run", "task", "prompt"] {
                let name = HeaderName::try_from(format!("x-farthing-{name}")).unwrap();
                headers.insert(name, HeaderValue::from_bytes(sent).unwrap());
            }
            let Said { claims, unread, .. } = read(headers);
            let Claims { team, project, pipeline, user, run, task, prompt } = claims;
            for claim in [team, project, pipeline, user, run, task, prompt] {
                assert_eq!(claim.as_deref(), expected, "{sent:?}");
            }
            assert_eq!(unread.len(), if sent.contains(&0xd6) || sent == b"%D6l" { 7 } else { 0 }, "{sent:?}");
        }
    }

    /// What one header alone says.
    #[track_caller]
    fn check_migrated(name: &'static str, value: &'static str, expected: Claims) {
        let mut headers = HeaderMap::new();
        headers.insert(name, HeaderValue::from_static(value));
        let said = read(headers);
        assert_eq!((said.migrated, said.claims), (expected, Claims::default()), "{name}: {value}");
        assert!(said.forward.is_empty(), "{name}");
    }

    #[test]
    fn each_header_of_another_gateway_says_one_thing() {
        let v = || Some("v".to_owned());
        let none = Claims::default;
        for name in ["x-portkey-trace-id", "x-litellm-session-id", "x-litellm-trace-id", "helicone-session-id"] {
            check_migrated(name, "v", Claims { run: v(), ..none() });
        }
        for name in ["x-litellm-customer-id", "x-litellm-end-user-id", "helicone-user-id"] {
            check_migrated(name, "v", Claims { user: v(), ..none() });
        }
        check_migrated("helicone-prompt-id", "v", Claims { prompt: v(), ..none() });
        check_migrated("helicone-property-team", "v", Claims { team: v(), ..none() });
        check_migrated("helicone-property-project", "v", Claims { project: v(), ..none() });
        check_migrated("helicone-property-pipeline", "v", Claims { pipeline: v(), ..none() });
        check_migrated("helicone-property-task", "v", Claims { task: v(), ..none() });
        for name in ["x-portkey-metadata", "cf-aig-metadata", "x-litellm-spend-logs-metadata"] {
            let claims = Claims { run: v(), prompt: Some("p".into()), ..none() };
            check_migrated(name, r#"{"trace_id":"v","_prompt":"p"}"#, claims);
            check_migrated(name, "no json", none());
        }
    }

    /// What a metadata header says, and what of it cannot be read.
    #[track_caller]
    fn check_metadata(value: &'static str, claims: Claims, unread: &[&str]) {
        let mut headers = HeaderMap::new();
        headers.insert("cf-aig-metadata", HeaderValue::from_static(value));
        let said = read(headers);
        assert_eq!((said.migrated, &*said.unread), (claims, unread), "{value}");
    }

    #[test]
    fn numbers_and_switches_in_metadata_are_text_and_take_nothing_with_them() {
        let text = |text: &str| Some(text.to_owned());
        let claims = Claims { team: text("AI"), user: text("12345"), ..Claims::default() };
        check_metadata(r#"{"team":"AI","user":12345,"test":true}"#, claims, &[]);
        let claims = Claims { project: text("7.5"), task: text("false"), ..Claims::default() };
        check_metadata(r#"{"project":7.5,"task":false,"user":null,"n":{"a":[1]}}"#, claims, &[]);
        let claims = Claims { user: text("12345"), project: text("proj_abc"), ..Claims::default() };
        check_metadata(r#"{"user_id":"12345","project_id":"proj_abc"}"#, claims, &[]);
    }

    #[test]
    fn what_cannot_be_read_of_metadata_is_named() {
        let claims = Claims { team: Some("AI".to_owned()), ..Claims::default() };
        check_metadata(r#"{"team":"AI","user":["a"],"run":{}}"#, claims, &["user", "run"]);
        for whole in ["[1]", "no json", "7", r#"{"team":"#] {
            check_metadata(whole, Claims::default(), &["metadata"]);
        }
    }

    #[test]
    fn a_customer_of_litellm_comes_before_an_end_user_in_any_order() {
        for names in
            [["x-litellm-customer-id", "x-litellm-end-user-id"], ["x-litellm-end-user-id", "x-litellm-customer-id"]]
        {
            let mut headers = HeaderMap::new();
            for name in names {
                headers.insert(name, HeaderValue::from_static(name));
            }
            assert_eq!(read(headers).migrated.user.as_deref(), Some("x-litellm-customer-id"));
        }
    }
}
