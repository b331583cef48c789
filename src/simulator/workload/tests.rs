//! The workload as the demo sees it.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use super::super::request::ChatRequest;
use super::super::tokenizer::count;
use super::*;

fn default_workload() -> Workload {
    Workload::orders_daily(1, SESSIONS_DEFAULT)
}

#[test]
fn a_demo_has_about_150_requests_and_the_same_ones_every_time() {
    let workload = default_workload();
    assert!((135..=175).contains(&workload.requests()), "{} requests", workload.requests());
    let bodies = |workload: &Workload| -> Vec<Bytes> {
        workload.sessions.iter().flat_map(|session| session.turns.iter().map(|turn| turn.body.clone())).collect()
    };
    assert_eq!(bodies(&workload), bodies(&default_workload()));
    assert_ne!(bodies(&workload), bodies(&Workload::orders_daily(2, SESSIONS_DEFAULT)));
}

#[test]
fn every_request_has_a_recorded_answer() {
    let workload = default_workload();
    for session in &workload.sessions {
        for turn in &session.turns {
            let request = ChatRequest::parse(&turn.body).expect("a valid request");
            let answer = workload.recordings.find(&request.messages).expect("a recorded answer");
            assert!(answer.text.is_some() || !answer.calls.is_empty());
        }
    }
}

#[test]
fn each_turn_extends_the_history_of_the_one_before() {
    for session in default_workload().sessions {
        let messages = |turn: &Turn| -> Vec<Value> {
            let body: Value = serde_json::from_slice(&turn.body).expect("JSON");
            body["messages"].as_array().cloned().unwrap_or_default()
        };
        for pair in session.turns.windows(2) {
            let (before, after) = (messages(&pair[0]), messages(&pair[1]));
            assert_eq!(after[..before.len()], before, "{}", session.run);
            assert!(after.len() >= before.len() + 2, "{}", session.run);
        }
    }
}

#[test]
fn the_work_is_of_all_kinds_tiers_and_sizes() {
    let workload = default_workload();
    let turns: Vec<_> = workload.sessions.iter().flat_map(|session| &session.turns).collect();
    let kinds: HashSet<_> = turns.iter().map(|turn| turn.label.task).collect();
    let tiers: HashSet<_> = turns.iter().map(|turn| turn.label.tier).collect();
    assert_eq!((kinds.len(), tiers.len()), (9, 3));
    let streams = turns.iter().filter(|turn| turn.stream).count() * 100 / turns.len();
    assert!((25..=75).contains(&streams), "{streams} % streams");
    let long = turns.iter().filter(|turn| count(&String::from_utf8_lossy(&turn.body)) > 1_400).count();
    assert!(long * 2 > turns.len(), "{long} of {} requests are long enough for a prefix cache", turns.len());
    let runs: HashSet<_> = workload.sessions.iter().map(|session| &session.run).collect();
    assert_eq!(runs.len(), workload.sessions.len());
}

#[test]
fn sessions_say_who_they_are_in_headers_or_in_the_body() {
    let mut seen = HashMap::new();
    for session in default_workload().sessions {
        let body: Value = serde_json::from_slice(&session.turns[0].body).expect("JSON");
        let headers = session.headers();
        let from_headers = headers.iter().find(|(name, _)| *name == "x-farthing-run").map(|(_, run)| run.as_str());
        assert_eq!(from_headers.or(body["metadata"]["run"].as_str()), Some(session.run.as_str()));
        *seen.entry(from_headers.is_some()).or_insert(0) += 1;
    }
    assert_eq!(seen.len(), 2, "{seen:?}");
}

#[test]
fn every_label_is_a_task_of_the_shipped_policy_under_the_same_tier() {
    let text = include_str!("../../../routing-policies/orders_daily.md");
    let (policy, _) = crate::policy::parse("orders_daily.md", text).expect("a policy");
    for session in default_workload().sessions {
        assert!(policy.applies_to.pipelines.iter().any(|pipeline| pipeline == session.pipeline), "{}", session.run);
        for Label { task, tier } in session.turns.iter().map(|turn| turn.label) {
            assert_eq!(policy.task(task).map(|of| of.tier), Some(tier), "{task}");
        }
    }
}
