//! `budget:`, `limits:` and `webhooks:`: what payers may spend, how fast, and who is told of it.

use std::time::Duration;

use serde_saphyr::Spanned;

use crate::budget::terms::{Budget, Limits, Terms, dollars};

use super::super::findings::Findings;
use super::super::secrets::References;
use super::super::values;
use super::super::written::{self, Field};
use super::super::{Holding, Members, OnShort, Webhook};

/// How long a request waits for money unless the file says otherwise.
const HOLD_WAIT: Duration = Duration::from_secs(2);
/// The row of `projects:` and `users:` that stands for everybody without one.
const EACH: &str = "*";
/// Events that webhooks may ask for; this version has the first.
const EVENTS: [&str; 4] = ["budget", "run", "policy", "provider"];

/// `budget:` and `limits:` of one payer.
pub(super) fn terms(
    findings: &mut Findings,
    written: Field<written::Budget>,
    limits: Option<written::PaceLimits>,
) -> Terms {
    Terms { budget: budget(findings, written), limits: pace(findings, limits.unwrap_or_default()) }
}

/// One payer.
fn payer(findings: &mut Findings, row: written::Payer) -> Terms {
    terms(findings, row.budget, row.limits)
}

/// `projects:` of a team: those with a row, and what holds for each of the others.
pub(super) fn projects(findings: &mut Findings, rows: Option<written::Rows<written::Payer>>) -> Members {
    members(findings, "the name of a project", rows.map(|rows| rows.0).unwrap_or_default())
}

/// `users:` of a team, likewise. What stands there without a name is that of each.
pub(super) fn users(findings: &mut Findings, written: Option<written::Users>) -> Members {
    let Some(written::Users { each, named }) = written else { return Members::default() };
    let stars = named.iter().filter(|(name, _)| name.value == EACH);
    if each.is_some() {
        for (star, _) in stars {
            let message =
                "`\"*\"` stands beside `budget` or `limits`, which are those of each user as well; wanted one of them";
            findings.at(star.referenced, message);
        }
    }
    let mut members = members(findings, "the name of a user", named);
    members.each = each.map(|row| payer(findings, row)).or(members.each);
    members
}

fn members(findings: &mut Findings, what: &str, rows: written::Named<written::Payer>) -> Members {
    let mut members = Members::default();
    for (name, row) in rows {
        let terms = payer(findings, row.unwrap_or_default());
        let known = findings.parsed(what, &name, |text| values::name(text).map(str::to_owned));
        match known.as_deref() {
            Some(EACH) => members.each = Some(terms),
            Some(known) => drop(members.named.insert(known.to_owned(), terms)),
            None => {}
        }
    }
    members
}

fn budget(findings: &mut Findings, field: Field<written::Budget>) -> Option<Budget> {
    let Spanned { value: row, referenced: place, .. } = findings.given("budget", field)?;
    if row.usd.0.is_none() {
        findings.at(place, "a budget has no `usd`; wanted dollars, such as `usd: 500`");
    }
    if row.every.0.is_none() {
        findings.at(place, "a budget has no `every`; wanted a period, such as `every: month`");
    }
    let usd = findings.value("usd", row.usd, dollars);
    let every = findings.value("every", row.every, str::parse);
    let when_near = findings.value("when_near", row.when_near, str::parse).unwrap_or_default();
    let near = findings.value("near", row.near, str::parse).unwrap_or_default();
    Some(Budget { usd: usd?, every: every?, when_near, near })
}

fn pace(findings: &mut Findings, written: written::PaceLimits) -> Limits {
    let mut limit = |key, field| findings.value(key, field, values::whole(1..=values::LIMIT_MAX));
    Limits {
        requests_per_minute: limit("requests_per_minute", written.requests_per_minute),
        tokens_per_minute: limit("tokens_per_minute", written.tokens_per_minute),
        concurrency: limit("concurrency", written.concurrency),
        output_tokens: limit("output_tokens", written.output_tokens),
    }
}

/// `budget:` at the top.
pub(super) fn holding(findings: &mut Findings, written: written::Holding) -> Holding {
    let on_short = |text: &str| values::word(&[("refuse", OnShort::Refuse), ("shrink", OnShort::Shrink)], text);
    Holding {
        hold_wait: findings.value("hold_wait", written.hold_wait, values::duration).unwrap_or(HOLD_WAIT),
        on_short: findings.value("on_short", written.on_short, on_short).unwrap_or(OnShort::Refuse),
    }
}

/// `webhooks:`
pub(super) fn webhooks(
    findings: &mut Findings,
    field: Field<Vec<Spanned<Option<written::Webhook>>>>,
    references: References<'_>,
) -> Vec<Webhook> {
    let rows = findings.given("webhooks", field).map(|rows| rows.value).unwrap_or_default();
    let mut webhooks = Vec::new();
    for Spanned { value, referenced, .. } in rows {
        let row = value.unwrap_or_default();
        if row.url.0.is_none() {
            findings.at(referenced, "a webhook has no `url`; wanted a reference, such as `url: env:OPS_WEBHOOK`");
        }
        if row.events.0.is_none() {
            findings.at(referenced, "a webhook has no `events`; wanted `events: [budget]`");
        }
        let url = findings.given("url", row.url).and_then(|written| {
            let resolved = references.resolve("url", &written.value).and_then(|url| {
                // Where it leads is a secret as well, so it is not quoted.
                let is_url = url.reveal().parse().is_ok_and(|url: http::Uri| {
                    matches!(url.scheme_str(), Some("https" | "http"))
                        && url.host().is_some_and(|host| !host.is_empty())
                });
                if is_url { Ok(url) } else { Err("`url` leads to what is no `https://` or `http://` URL".to_owned()) }
            });
            resolved.map_err(|message| findings.at(written.referenced, message)).ok()
        });
        findings.list("events", row.events, |text| match text {
            "budget" => Ok(()),
            _ if EVENTS.contains(&text) => Err("`budget`; the others are not available in this version".to_owned()),
            _ => Err("`budget`".to_owned()),
        });
        let secret = findings.given("secret", row.secret).and_then(|written| {
            references
                .resolve("secret", &written.value)
                .map_err(|message| findings.at(written.referenced, message))
                .ok()
        });
        webhooks.extend(url.map(|url| Webhook { url, secret }));
    }
    webhooks
}
