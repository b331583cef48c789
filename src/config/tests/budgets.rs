//! Budgets, limits, webhooks, and how money is held.

use std::time::Duration;

use insta::assert_snapshot;

use super::*;
use crate::budget::{Every, WhenNear};
use crate::money::NanoUsd;

#[test]
fn every_payer_has_terms_of_its_own() {
    let config = good(&format!(
        "budget: {{ hold_wait: 500ms, on_short: shrink }}
teams:
  ops:
    budget: {{ usd: 500, every: month, when_near: downgrade, near: 75% }}
    limits: {{ requests_per_minute: 600, output_tokens: 4000 }}
    projects: {{ orders: {{ budget: {{ usd: 0.5, every: day }} }}, '*': {{ limits: {{ concurrency: 2 }} }} }}
    users: {{ limits: {{ tokens_per_minute: 1000 }} }}
keys: [ {{ sha256: {HASH}, team: ops, budget: {{ usd: 1, every: rolling 24h }}, limits: {{ concurrency: 8 }} }} ]
"
    ));
    assert_eq!(config.holding, Holding { hold_wait: Duration::from_millis(500), on_short: OnShort::Shrink });
    let team = config.team("ops").unwrap();
    assert_eq!(team.terms.budget.unwrap().to_string(), "500 USD every month, from 75% on downgrade");
    assert_eq!(team.terms.limits.to_string(), "requests_per_minute 600, output_tokens 4000");
    let orders = &team.projects.named["orders"];
    assert_eq!(orders.budget.unwrap().usd, NanoUsd(500_000_000));
    assert_eq!(orders.budget.unwrap().when_near, WhenNear::Warn);
    assert_eq!(team.projects.of("any").unwrap().limits.concurrency, Some(2));
    assert_eq!(team.users.of("anybody").unwrap().limits.tokens_per_minute, Some(1000));
    let key = &config.keys[0].terms;
    assert_eq!(key.budget.unwrap().every, Every::Rolling(Duration::from_secs(86_400)));
    assert_eq!(key.limits.concurrency, Some(8));
}

#[test]
fn without_a_word_nobody_is_held_to_anything() {
    let config = good("teams: { ops: {} }\n");
    assert_eq!(config.holding, Holding { hold_wait: Duration::from_secs(2), on_short: OnShort::Refuse });
    let team = config.team("ops").unwrap();
    assert!(team.terms.are_none() && team.projects == Members::default() && team.users == Members::default());
    assert!(config.webhooks.is_empty());
}

#[test]
fn a_single_user_has_terms_in_place_of_those_of_each_user() {
    let of = |users: &str| {
        let config = good(&format!("teams: {{ ops: {{ users: {{ {users} }} }} }}\n"));
        let users = &config.team("ops").unwrap().users;
        let limit = |name: &str| users.of(name).and_then(|terms| terms.limits.concurrency);
        [limit("alice"), limit("bob"), limit("*")]
    };
    let alice = "alice: { limits: { concurrency: 9 } }";
    assert_eq!(of(alice), [Some(9), None, None]);
    assert_eq!(of(&format!("{alice}, '*': {{ limits: {{ concurrency: 2 }} }}")), [Some(9), Some(2), Some(2)]);
    assert_eq!(of(&format!("limits: {{ concurrency: 2 }}, {alice}")), [Some(9), Some(2), Some(2)]);
    assert_eq!(
        of("alice: , '*': { limits: { concurrency: 2 } }"),
        [None, Some(2), Some(2)],
        "nothing is what it is held to"
    );
    assert_snapshot!(wrong_part("\
teams:
  a: { users: { limits: { concurrency: 2 }, '*': { budget: { usd: 5, every: day } } } }
  b: { users: { ' x': { budget: { usd: 5 } } } }
"), @r#"
    farthing.yaml:2:45: `"*"` stands beside `budget` or `limits`, which are those of each user as well; wanted one of them
    farthing.yaml:3:17: the name of a user is ` x`; wanted a name of 1 to 128 bytes without control characters or surrounding space
    farthing.yaml:3:33: a budget has no `every`; wanted a period, such as `every: month`
    "#);
    let slip = wrong("teams: { a: { users: { alice: { bugdet: { usd: 5, every: day } } } } }\n");
    assert!(slip.contains("unknown key `bugdet`; wanted one of `budget`, `limits`"), "{slip}");
}

#[test]
fn a_budget_has_an_amount_and_a_period() {
    assert_snapshot!(wrong_part("\
teams:
  a: { budget: { usd: 5 } }
  b: { budget: { every: month } }
  c: { budget: { usd: 5 EUR, every: year, when_near: panic, near: 120% } }
  d: { budget: }
  e: { limits: { requests_per_minute: 0, concurrency: many } }
  f: { projects: { '': { budget: { usd: 1e3, every: rolling 5m } } } }
budget: { hold_wait: 2, on_short: wait }
"), @"
    farthing.yaml:2:16: a budget has no `every`; wanted a period, such as `every: month`
    farthing.yaml:3:16: a budget has no `usd`; wanted dollars, such as `usd: 500`
    farthing.yaml:4:23: `usd` is `5 EUR`; wanted dollars as a plain decimal with at most nine decimals, such as `500` or `0.25`, up to 1000000000
    farthing.yaml:4:37: `every` is `year`; wanted `day`, `week`, `month`, or `rolling` and a time such as `rolling 24h` or `rolling 30d`
    farthing.yaml:4:54: `when_near` is `panic`; wanted `downgrade`, `warn` or `nothing`
    farthing.yaml:4:67: `near` is `120%`; wanted a percentage above `0%` and up to `100%`, such as `80%`
    farthing.yaml:5:14: `budget` has no value; wanted one, or no `budget`
    farthing.yaml:6:39: `requests_per_minute` is `0`; wanted a whole number from 1 to 1000000000000
    farthing.yaml:6:55: `concurrency` is `many`; wanted a whole number from 1 to 1000000000000
    farthing.yaml:7:20: the name of a project is ``; wanted a name of 1 to 128 bytes without control characters or surrounding space
    farthing.yaml:7:41: `usd` is `1e3`; wanted dollars as a plain decimal with at most nine decimals, such as `500` or `0.25`, up to 1000000000
    farthing.yaml:7:53: `every` is `rolling 5m`; wanted `day`, `week`, `month`, or `rolling` and a time such as `rolling 24h` or `rolling 30d`
    farthing.yaml:8:22: `hold_wait` is `2`; wanted a duration such as `250ms`, `5s`, `15m` or `1h`, at most 24 hours
    farthing.yaml:8:35: `on_short` is `wait`; wanted `refuse` or `shrink`
    ");
}

#[test]
fn a_webhook_is_a_reference_that_leads_to_a_url() {
    let config = good("webhooks: [ { url: env:OPS_WEBHOOK, events: [budget], secret: env:OPENAI_API_KEY } ]\n");
    assert!(config.webhooks[0].url.reveal().starts_with("https://hooks.example/"));
    assert!(config.webhooks[0].secret.is_some());
    assert_snapshot!(wrong_part("\
webhooks:
  - { url: https://hooks.example/x, events: [budget] }
  - { url: env:OPENAI_API_KEY, events: [policy, spam] }
  - {}
"), @"
    farthing.yaml:2:12: `url` holds a literal value; wanted a reference, `env:NAME` or `file:path`, so that no secret stands in this file
    farthing.yaml:3:12: `url` leads to what is no `https://` or `http://` URL
    farthing.yaml:3:41: an entry of `events` is `policy`; wanted `budget`; the others are not available in this version
    farthing.yaml:3:49: an entry of `events` is `spam`; wanted `budget`
    farthing.yaml:4:5: a webhook has no `url`; wanted a reference, such as `url: env:OPS_WEBHOOK`
    farthing.yaml:4:5: a webhook has no `events`; wanted `events: [budget]`
    ");
}
