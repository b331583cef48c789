//! How often the classifier decided as the workload's own labels say, and what routing saved where requests went too low.
//!
//! The classifier's tier is that of the task it chose; where it chose none, the one that the request went to. A
//! conversation may stay at a dearer tier than the classifier's: money goes by where requests went.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension};
use serde_json::{Value, json};

use super::agents::Played;
use super::savings::Spending;
use super::summary::dollars;
use crate::cli::counted;
use crate::money::NanoUsd;
use crate::policy::Policy;
use crate::simulator::workload::Label;
use crate::task::Tier;

/// Decisions held against labels.
#[derive(Default)]
pub struct Agreement {
    /// Requests that have a label and a decision in the ledger.
    labelled: usize,
    tiers: usize,
    tasks: usize,
    /// Requests by the tier of their label and the classifier's, where these differ.
    confused: BTreeMap<(Tier, Tier), usize>,
    /// Requests that went to a cheaper tier than that of their label.
    below: usize,
    /// What routing saved on those.
    saved_below: NanoUsd,
}

/// What became of a request.
struct Decision<'a> {
    task: Option<&'a str>,
    classified: Tier,
    routed: Tier,
    /// What routing saved on it.
    saved: NanoUsd,
}

impl Agreement {
    /// Looks up every labelled request in the ledger's views; one that was refused before it had a tier is left out.
    pub fn read(views: &Connection, policy: &Policy, all: &Spending, played: &Played) -> rusqlite::Result<Self> {
        let mut statement = views.prepare("select task, tier from requests_v1 where request_id = ?1")?;
        let mut agreement = Self::default();
        for (id, label) in &played.labels {
            let columns = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?));
            let found: Option<(Option<String>, Option<String>)> = statement.query_row([id], columns).optional()?;
            let Some((task, tier)) = found else { continue };
            let Some(routed) = tier.as_deref().and_then(Tier::parse) else { continue };
            let classified = task.as_deref().and_then(|task| policy.task(task)).map_or(routed, |task| task.tier);
            let saved = all.by_route_of(id);
            agreement.add(*label, &Decision { task: task.as_deref(), classified, routed, saved });
        }
        Ok(agreement)
    }

    fn add(&mut self, label: Label, decision: &Decision<'_>) {
        self.labelled += 1;
        self.tasks += usize::from(decision.task == Some(label.task));
        if decision.classified == label.tier {
            self.tiers += 1;
        } else {
            *self.confused.entry((label.tier, decision.classified)).or_default() += 1;
        }
        if decision.routed.is_below(label.tier) {
            self.below += 1;
            self.saved_below += decision.saved;
        }
    }

    /// What a person reads; nothing where no request has a label, as in a replay.
    pub fn lines(&self) -> Vec<String> {
        let Self { labelled, tiers, tasks, below, .. } = self;
        if *labelled == 0 {
            return Vec::new();
        }
        let mut lines = vec![format!(
            "classifier and the workload's own labels agree on {tiers} of {labelled} tiers, {tasks} of {labelled} tasks"
        )];
        if !self.confused.is_empty() {
            let confused = self.confused.iter().map(|((label, found), count)| format!("{label} as {found} {count}"));
            lines.push(format!("tiers taken for others: {}", confused.collect::<Vec<_>>().join(", ")));
        }
        if *below > 0 {
            lines.push(format!(
                "{} went to a cheaper tier than their label's; ${} of what routing saved is theirs",
                counted(*below, "request"),
                dollars(self.saved_below)
            ));
        }
        lines
    }

    pub fn json(&self) -> Value {
        let confused = self.confused.iter().map(
            |((label, found), count)| json!({ "label": label.as_str(), "classified": found.as_str(), "requests": count }),
        );
        json!({
            "labelled": self.labelled, "tiers": self.tiers, "tasks": self.tasks, "confused": confused.collect::<Vec<_>>(),
            "below_label": { "requests": self.below, "saved_nano_usd": self.saved_below.0 },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::Tier::{Frontier, Lightweight, Reasoning};

    const LOGS: Label = Label { task: "logs", tier: Lightweight };
    const CAUSE: Label = Label { task: "cause", tier: Reasoning };

    #[test]
    fn tiers_and_tasks_are_counted_apart_and_what_went_too_low_has_its_money() {
        let mut agreement = Agreement::default();
        assert!(agreement.lines().is_empty());
        for (label, task, classified, routed) in [
            (LOGS, Some("logs"), Lightweight, Lightweight),
            (LOGS, Some("runs"), Lightweight, Frontier),
            (LOGS, None, Frontier, Frontier),
            (CAUSE, None, Frontier, Frontier),
            (CAUSE, Some("logs"), Lightweight, Lightweight),
            (CAUSE, Some("logs"), Lightweight, Reasoning),
        ] {
            agreement.add(label, &Decision { task, classified, routed, saved: NanoUsd(7) });
        }
        assert_eq!(
            agreement.lines(),
            [
                "classifier and the workload's own labels agree on 2 of 6 tiers, 1 of 6 tasks",
                "tiers taken for others: reasoning as frontier 1, reasoning as lightweight 2, lightweight as frontier 1",
                "1 request went to a cheaper tier than their label's; $0.000000007 of what routing saved is theirs",
            ]
        );
    }
}
