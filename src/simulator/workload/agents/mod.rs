//! The agents of the workload: who they are, and where their scripts live.
//!
//! `operations` watches (logs, health, runs, schemas), `diagnosis` explains failures, `engineering`
//! plans and changes. Each script writes one session into a conversation.

mod diagnosis;
mod engineering;
mod operations;

use super::chance::Chance;
use super::conversation::Conversation;

/// One agent.
pub(super) struct Script {
    pub(super) agent: &'static str,
    pub(super) team: &'static str,
    pub(super) project: &'static str,
    pub(super) pipeline: &'static str,
    pub(super) users: &'static [&'static str],
    /// Whether it asks for temperature 0.
    pub(super) deterministic: bool,
    /// Its own output limit in tokens.
    pub(super) output_limit: Option<u64>,
    pub(super) play: fn(&mut Conversation<'_>, &mut Chance),
}

const ORDERS: Script = Script {
    agent: "",
    team: "data-platform",
    project: "reliability",
    pipeline: "orders_daily",
    users: &["webhook", "mira", "tobias"],
    deterministic: false,
    output_limit: None,
    play: operations::check_health,
};

/// All agents, in the order in which sessions take turns with them.
pub(super) const SCRIPTS: &[Script] = &[
    Script {
        agent: "log-triage",
        deterministic: true,
        output_limit: Some(800),
        play: operations::triage_logs,
        ..ORDERS
    },
    Script { agent: "root-cause", output_limit: Some(2_000), play: diagnosis::find_root_cause, ..ORDERS },
    Script {
        agent: "health-check",
        project: "on-call",
        users: &["cron"],
        deterministic: true,
        output_limit: Some(400),
        ..ORDERS
    },
    Script {
        agent: "business-logic",
        team: "analytics",
        project: "metrics",
        users: &["adaeze", "jun", "priya"],
        play: engineering::settle_business_logic,
        ..ORDERS
    },
    Script {
        agent: "schema-diff",
        team: "ingestion",
        project: "contracts",
        users: &["registry-hook"],
        deterministic: true,
        play: operations::compare_schemas,
        ..ORDERS
    },
    Script { agent: "novel-failure", play: diagnosis::diagnose_novel_failure, ..ORDERS },
    Script {
        agent: "run-history",
        project: "on-call",
        users: &["standup-bot", "mira"],
        output_limit: Some(1_000),
        play: operations::summarise_runs,
        ..ORDERS
    },
    Script { agent: "impact", team: "governance", project: "lineage", play: diagnosis::assess_impact, ..ORDERS },
    Script {
        agent: "backfill-planner",
        team: "analytics",
        project: "history",
        users: &["priya"],
        play: engineering::plan_backfill,
        ..ORDERS
    },
    Script { agent: "orders-fixer", project: "code", users: &["webhook"], play: engineering::mend_code, ..ORDERS },
];

#[cfg(test)]
mod tests {
    use super::SCRIPTS;

    #[test]
    fn there_are_ten_agents_of_four_teams() {
        let mut names: Vec<_> = SCRIPTS.iter().map(|script| script.agent).collect();
        names.sort_unstable();
        names.dedup();
        let mut teams: Vec<_> = SCRIPTS.iter().map(|script| script.team).collect();
        teams.sort_unstable();
        teams.dedup();
        assert_eq!((names.len(), teams.len()), (10, 4));
    }
}
