//! `POST /v1/feedback`: what an answer, or a whole run of an agent, was worth.
//!
//! Of one's own team's requests and runs only: what is foreign and what is unknown are one answer, after the same wait. The
//! last word of a key on a subject counts. Nothing of it is logged but its outcome; the ledger keeps it (`feedback_v1`).

mod pace;

use std::sync::Arc;
use std::time::Instant;

use http::{Request, Response};
use hyper::body::Incoming;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use super::{ReplyStream, RequestBody, Server, attribute, headers, intake, respond};
use crate::config::{Grants, Key};
use crate::ids::{RequestId, TeamId};
use crate::ledger::feedback::{Owner, Subject, owners};
use crate::ledger::record::{Feedback, Record};
use crate::ledger::{Ledger, LedgerError};
use crate::limits::{
    FEEDBACK_AT_ONCE, FEEDBACK_BODY_BYTES_MAX, FEEDBACK_CLAIM_MAX, FEEDBACK_EVERY, FEEDBACK_LOOKUPS_MAX,
    FEEDBACK_NOTE_BYTES_MAX, FEEDBACK_PATIENCE, Limits,
};
use crate::telemetry::log::now_ms;
use crate::wire::errors::{ApiError, Code};

/// What may have come of it.
const OUTCOMES: [&str; 3] = ["success", "partial", "failure"];

pub use pace::Pace;

static LOOKUPS: Semaphore = Semaphore::const_new(FEEDBACK_LOOKUPS_MAX);

/// The body as it is written.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct Written {
    request_id: Option<Value>,
    run: Option<Value>,
    outcome: Option<Value>,
    score: Option<Value>,
    resolved_incidents: Option<Value>,
    hours_saved: Option<Value>,
    note: Option<Value>,
}

/// The body as it is meant.
#[derive(PartialEq, Debug)]
struct Said {
    /// `None`: an id that no request can have.
    subject: Option<Subject>,
    outcome: &'static str,
    score_ppm: Option<u32>,
    resolved_incidents: Option<u32>,
    saved_milli_hours: Option<u32>,
    note: Option<String>,
}

impl Server {
    /// Keeps what somebody says of a request or a run.
    ///
    /// # Errors
    ///
    /// 429 for a key that speaks too fast; 400 for a body that says something else; 404 for a request or run that is not there or not theirs; 503 if the
    /// ledger cannot take it.
    pub(super) async fn feedback(
        &self,
        id: RequestId,
        request: Request<Incoming>,
        key: Option<&Key>,
        request_body: &mut RequestBody,
    ) -> Result<Response<ReplyStream>, ApiError> {
        self.feedback_pace.speak(key.map(|key| &key.id), Instant::now()).map_err(too_fast)?;
        let (head, body) = request.into_parts();
        let limits = self.gateway.config().limits;
        let limits = Limits { body_bytes: limits.body_bytes.min(FEEDBACK_BODY_BYTES_MAX), ..limits };
        let (body, _held) = intake::body(&head.headers, body, &self.admission, &limits, key.map(|key| &key.id)).await?;
        *request_body = RequestBody::Read;
        let _permit = self.admission.admit()?;
        let said = read(&body)?;
        let subject = said.subject.ok_or_else(unknown)?;
        let claimed = headers::read(head.headers).claims.team.map(attribute::name);
        let speaker = Speaker::of(key, claimed);
        let team = self.owner(&subject, speaker).await?;
        let accounts = self.gateway.accounts();
        let (request, run) = match &subject {
            Subject::Request(id) => (Some(*id), ""),
            Subject::Run(run) => (None, run.as_str()),
        };
        let record = Record::Feedback(Box::new(Feedback {
            team: &team,
            key: key.map_or("", |key| key.id.as_str()),
            request,
            run,
            at_ms: now_ms(),
            outcome: said.outcome,
            score_ppm: said.score_ppm,
            resolved_incidents: said.resolved_incidents,
            saved_milli_hours: said.saved_milli_hours,
            note: said.note.as_deref(),
        }));
        accounts.commit(&record).map_err(|_| cannot_write())?;
        if let Some(secured) = accounts.secured() {
            secured.await.map_err(|_| cannot_write())?;
        }
        accounts.metrics.feedback.with_label_values(&[said.outcome]).inc();
        let kept = match request {
            Some(id) => json!({ "object": "feedback", "request_id": id.to_string(), "outcome": said.outcome }),
            None => json!({ "object": "feedback", "run": run, "outcome": said.outcome }),
        };
        Ok(respond::json(id, &kept))
    }

    /// The team that the subject belongs to, if the speaker may speak of it.
    async fn owner(&self, subject: &Subject, speaker: Speaker) -> Result<String, ApiError> {
        let place = LOOKUPS.acquire().await.map_err(|_| cannot_write())?;
        let (accounts, subject) = (Arc::clone(self.gateway.accounts()), subject.clone());
        let look = move || {
            let _place = place;
            speaker.look(&accounts.ledger, &subject)
        };
        let looked = tokio::task::spawn_blocking(look).await;
        let mut teams = looked.unwrap_or(Ok(Vec::new())).map_err(|_| cannot_write())?;
        match teams.len() {
            0 => Err(unknown()),
            1 => Ok(teams.remove(0)),
            _ => Err(wrong("run", "is a name that runs of several teams have; wanted `x-farthing-team` as well")),
        }
    }
}

/// Whose requests somebody may speak of.
struct Speaker {
    /// `None`: whose they are matters to nobody, on loopback without keys.
    teams: Option<Vec<TeamId>>,
    key: Option<String>,
    may: Grants,
}

impl Speaker {
    /// A claimed team narrows what the key grants, and counts for nothing beyond that.
    fn of(key: Option<&Key>, claimed: Option<String>) -> Self {
        let claimed = claimed.map(|team| TeamId::from(&*team));
        let Some(key) = key else {
            return Self { teams: claimed.map(|team| vec![team]), key: None, may: Grants::default() };
        };
        let all: Vec<TeamId> = std::iter::once(&key.team).chain(&key.may.teams).cloned().collect();
        let teams = claimed.filter(|team| all.contains(team)).map_or(all, |team| vec![team]);
        Self { teams: Some(teams), key: Some(key.id.to_string()), may: key.may.clone() }
    }

    /// The teams that the subject belongs to and that may be spoken for. What just ended may not stand in the views yet:
    /// where nothing is found, they are brought up to date first, whatever the reason.
    fn look(&self, ledger: &Ledger, subject: &Subject) -> Result<Vec<String>, LedgerError> {
        let views = ledger.views()?;
        let teams: Option<Vec<&str>> = self.teams.as_ref().map(|teams| teams.iter().map(TeamId::as_str).collect());
        let found = |owners: Vec<Owner>| {
            let mut found: Vec<String> =
                owners.into_iter().filter(|owner| self.grants(owner)).map(|owner| owner.team).collect();
            found.sort_unstable();
            found.dedup();
            found
        };
        let first = found(owners(&views, subject, teams.as_deref())?);
        if !first.is_empty() {
            return Ok(first);
        }
        ledger.sync_views(FEEDBACK_PATIENCE)?;
        Ok(found(owners(&views, subject, teams.as_deref())?))
    }

    /// Whether a request is the key's own, or one that it might have made.
    fn grants(&self, owner: &Owner) -> bool {
        let within = |globs: Option<&[globset::GlobMatcher]>, name: Option<&str>| match (globs, name) {
            (Some(globs), Some(name)) => globs.iter().any(|glob| glob.is_match(name)),
            _ => true,
        };
        self.key.as_ref() == Some(&owner.key)
            || within(self.may.projects.as_deref(), owner.project.as_deref())
                && within(self.may.pipelines.as_deref(), owner.pipeline.as_deref())
                && within(self.may.tasks.as_deref(), owner.task.as_deref())
    }
}

fn too_fast(seconds: u64) -> ApiError {
    let a_minute = 60_000 / FEEDBACK_EVERY.as_millis();
    let what =
        format!("this key has said more of answers than {a_minute} a minute, {FEEDBACK_AT_ONCE} of them at once");
    ApiError::new(Code::RateLimited, what).retry_after(seconds)
}

fn unknown() -> ApiError {
    ApiError::new(Code::NotFound, "no such request or run of your team")
}

fn cannot_write() -> ApiError {
    ApiError::new(Code::LedgerUnavailable, "the ledger cannot take feedback now")
}

fn wrong(param: &'static str, what: &str) -> ApiError {
    ApiError::new(Code::InvalidBody, format!("`{param}` {what}")).param(param)
}

/// What a body says. Errors never repeat it.
fn read(body: &[u8]) -> Result<Said, ApiError> {
    // Serde takes a list for a struct as well, member by member.
    let is_object = body.trim_ascii_start().first() == Some(&b'{');
    let written = serde_json::from_slice(body)
        .map_err(|error| error.is_data())
        .and_then(|written: Written| if is_object { Ok(written) } else { Err(false) });
    let written = written.map_err(|is_data| {
        let found = if is_data && is_object { "an unknown member, or one that stands twice" } else { "no object" };
        let wanted =
            "`request_id` or `run`, `outcome`, and if known `score`, `resolved_incidents`, `hours_saved`, `note`";
        ApiError::new(Code::InvalidBody, format!("found {found}; wanted an object with {wanted}"))
    })?;
    let outcome = written.outcome.as_ref().and_then(Value::as_str);
    let outcome = OUTCOMES.into_iter().find(|word| Some(*word) == outcome);
    Ok(Said {
        subject: subject(&written)?,
        outcome: outcome.ok_or_else(|| wrong("outcome", "must be `success`, `partial` or `failure`"))?,
        score_ppm: number(written.score.as_ref(), 1, 1e6).map_err(|()| wrong("score", "must be from 0 to 1"))?,
        resolved_incidents: incidents(written.resolved_incidents.as_ref())?,
        saved_milli_hours: number(written.hours_saved.as_ref(), FEEDBACK_CLAIM_MAX, 1e3)
            .map_err(|()| wrong("hours_saved", &format!("must be from 0 to {FEEDBACK_CLAIM_MAX}")))?,
        note: note(written.note)?,
    })
}

fn subject(written: &Written) -> Result<Option<Subject>, ApiError> {
    match (&written.request_id, &written.run) {
        (Some(Value::String(id)), None) => Ok(uuid::Uuid::try_parse(id).ok().map(|id| Subject::Request(RequestId(id)))),
        (None, Some(Value::String(run))) if !run.is_empty() => Ok(Some(Subject::Run(attribute::name(run.clone())))),
        (Some(_), None) => Err(wrong("request_id", "must be the `x-request-id` of an answer")),
        (None, Some(_)) => Err(wrong("run", "must be the name of a run")),
        (None, None) => Err(wrong("request_id", "is missing; wanted it or `run`")),
        (Some(_), Some(_)) => Err(wrong("run", "stands beside `request_id`; wanted one of them")),
    }
}

/// A number from 0 to `most`, in parts of which `parts` make a whole.
fn number(written: Option<&Value>, most: u32, parts: f64) -> Result<Option<u32>, ()> {
    let Some(written) = written else { return Ok(None) };
    let number = written.as_f64().filter(|number| (0.0..=f64::from(most)).contains(number)).ok_or(())?;
    Ok(Some((number * parts).round() as u32))
}

fn incidents(written: Option<&Value>) -> Result<Option<u32>, ApiError> {
    let Some(written) = written else { return Ok(None) };
    let number = written.as_u64().and_then(|number| u32::try_from(number).ok());
    let number = number.filter(|number| *number <= FEEDBACK_CLAIM_MAX);
    let wanted = || format!("must be a whole number from 0 to {FEEDBACK_CLAIM_MAX}");
    number.map(Some).ok_or_else(|| wrong("resolved_incidents", &wanted()))
}

/// A note without what a terminal would obey.
fn note(written: Option<Value>) -> Result<Option<String>, ApiError> {
    match written {
        None => Ok(None),
        Some(Value::String(note)) if note.len() <= FEEDBACK_NOTE_BYTES_MAX => {
            let plain = |c: char| if c.is_control() { ' ' } else { c };
            Ok(Some(note.chars().map(plain).collect()))
        }
        Some(_) => Err(wrong("note", &format!("must be text of at most {FEEDBACK_NOTE_BYTES_MAX} bytes"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Score, incidents and time.
    type Figures = (Option<u32>, Option<u32>, Option<u32>);

    #[track_caller]
    fn check(body: &str, expected: Result<Figures, &str>) {
        let got = read(body.as_bytes());
        let got = got.map(|said| (said.score_ppm, said.resolved_incidents, said.saved_milli_hours));
        assert_eq!(
            got.as_ref().map_err(|error| error.param.as_deref().unwrap_or("body").to_owned()),
            expected.as_ref().map_err(|e| (*e).to_owned()),
            "{body}"
        );
        if let Err(error) = got {
            assert!(!error.message.contains("secret"), "{}", error.message);
        }
    }

    #[test]
    fn a_body_says_what_it_means_or_is_refused_without_being_repeated() {
        let id = r#""request_id":"01990000-0000-7000-8000-000000000001""#;
        let good = |more: &str| format!(r#"{{{id},"outcome":"success"{more}}}"#);
        check(&good(""), Ok((None, None, None)));
        check(
            &good(r#","score":0.75,"resolved_incidents":2,"hours_saved":1.5"#),
            Ok((Some(750_000), Some(2), Some(1_500))),
        );
        check(&good(r#","score":null,"note":"it was right""#), Ok((None, None, None)));
        check(r#"{"run":"r","outcome":"partial"}"#, Ok((None, None, None)));
        check(r#"{"request_id":"secret","outcome":"failure"}"#, Ok((None, None, None)));
        check(&good(r#","score":1.01"#), Err("score"));
        check(&good(r#","score":"secret""#), Err("score"));
        check(&good(r#","hours_saved":1000.5"#), Err("hours_saved"));
        check(&good(r#","hours_saved":-1"#), Err("hours_saved"));
        check(&good(r#","resolved_incidents":1.5"#), Err("resolved_incidents"));
        check(&good(r#","resolved_incidents":1001"#), Err("resolved_incidents"));
        check(&good(&format!(r#","note":"{}""#, "é".repeat(251))), Err("note"));
        check(&good(r#","secret":1"#), Err("body"));
        check(&good(r#","outcome":"failure""#), Err("body"));
        check(&good(r#","run":"r""#), Err("run"));
        check(r#"{"outcome":"success"}"#, Err("request_id"));
        check(r#"{"run":"","outcome":"success"}"#, Err("run"));
        check(r#"{"run":"r","outcome":"secret"}"#, Err("outcome"));
        check("secret", Err("body"));
        check("[]", Err("body"));
    }
}
