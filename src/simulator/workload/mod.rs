//! The demo's traffic: agents of several teams that run, watch and mend the `orders_daily` pipeline.
//!
//! A [`Workload`] is a list of [`Session`]s, each a conversation that grows turn by turn with tools,
//! pasted logs, diffs and tables; every answer is scripted and found again among the recordings. The
//! same number gives the same workload. Each turn carries the [`Label`] that a perfect router would give.

mod agents;
mod chance;
mod conversation;
mod logs;
mod tables;

use bytes::Bytes;

use self::chance::Chance;
use self::conversation::Conversation;
use super::recordings::Recordings;
use crate::task::Tier;

/// Sessions in a demo unless told otherwise: about 150 requests.
pub const SESSIONS_DEFAULT: usize = 25;

/// Sessions to play, and the answers that belong to them.
#[derive(Clone, Debug)]
pub struct Workload {
    /// The sessions; they may run side by side, the turns of each in order.
    pub sessions: Vec<Session>,
    /// What the provider answers: give it to [`super::Provider::remembers`].
    pub recordings: Recordings,
}

/// One run of one agent.
#[derive(Clone, Debug)]
pub struct Session {
    /// Who pays.
    pub team: &'static str,
    /// The team's project.
    pub project: &'static str,
    /// The pipeline that is worked on.
    pub pipeline: &'static str,
    /// The agent.
    pub agent: &'static str,
    /// The person or service that started it.
    pub user: &'static str,
    /// The run's id, unlike any other's.
    pub run: String,
    /// How the session says who it is.
    pub attribution: Attribution,
    /// Its requests in order.
    pub turns: Vec<Turn>,
}

/// How an agent says for whom it works.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Attribution {
    /// `x-farthing-*` headers.
    Headers,
    /// `metadata` in the body.
    Metadata,
}

/// One request of a session.
#[derive(Clone, Debug)]
pub struct Turn {
    /// A chat-completions body for the model `auto`, `stream` included.
    pub body: Bytes,
    /// Whether it asks for a stream.
    pub stream: bool,
    /// Where it belongs.
    pub label: Label,
}

/// The right decision for a turn under the shipped policy `orders_daily`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Label {
    /// The task kind: the id of its bullet in the policy.
    pub task: &'static str,
    /// The tier that it belongs to.
    pub tier: Tier,
}

impl Session {
    /// The headers that say who it is; none if the body does.
    pub fn headers(&self) -> Vec<(&'static str, String)> {
        if self.attribution == Attribution::Metadata {
            return Vec::new();
        }
        self.claims().into_iter().map(|(name, value)| (name.header, value)).collect()
    }

    fn claims(&self) -> [(Claim, String); 6] {
        let claim = |header, metadata| Claim { header, metadata };
        [
            (claim("x-farthing-team", "team"), self.team.to_owned()),
            (claim("x-farthing-project", "project"), self.project.to_owned()),
            (claim("x-farthing-pipeline", "pipeline"), self.pipeline.to_owned()),
            (claim("x-farthing-user", "user"), self.user.to_owned()),
            (claim("x-farthing-run", "run"), self.run.clone()),
            (claim("x-farthing-prompt", "prompt"), self.agent.to_owned()),
        ]
    }
}

/// The two spellings of one claim.
struct Claim {
    header: &'static str,
    metadata: &'static str,
}

impl Workload {
    /// `sessions` sessions around `orders_daily`, the same ones for the same `number`.
    pub fn orders_daily(number: u64, sessions: usize) -> Self {
        let mut recordings = Recordings::default();
        let sessions = (0..sessions).map(|index| {
            let mut chance = Chance::of(number.wrapping_mul(1_000_003).wrapping_add(index as u64));
            let script = &agents::SCRIPTS[index % agents::SCRIPTS.len()];
            let mut session = Session {
                team: script.team,
                project: script.project,
                pipeline: script.pipeline,
                agent: script.agent,
                user: chance.pick(script.users),
                run: format!("{}-{:04}-{}", script.agent, index + 1, chance.hex(8)),
                attribution: if chance.once_in(3) { Attribution::Metadata } else { Attribution::Headers },
                turns: Vec::new(),
            };
            let mut conversation = Conversation::of(&session, script, &mut recordings);
            (script.play)(&mut conversation, &mut chance);
            session.turns = conversation.turns();
            session
        });
        let sessions = sessions.collect();
        Self { sessions, recordings }
    }

    /// Requests of all sessions together.
    pub fn requests(&self) -> usize {
        self.sessions.iter().map(|session| session.turns.len()).sum()
    }
}

#[cfg(test)]
mod tests;
