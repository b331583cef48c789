//! How long one attempt may take: the row's rules and the caller's patience together.

use std::time::Duration;

use tokio::time::Instant;

use crate::meter::Meter;
use crate::providers::load::{Kind, Load};
use crate::providers::{Failure, Row};

/// The deadlines of one attempt.
#[derive(Clone, Copy)]
pub(super) struct Timing {
    pub(super) started: Instant,
    first_byte: Duration,
    /// Of the whole request, all attempts together.
    pub(super) deadline: Instant,
    /// The caller's deadline is the shorter one.
    deadline_is_callers: bool,
}

impl Timing {
    pub(super) fn new(row: &Row, meter: &Meter) -> Self {
        let (rules, call) = (row.dispatch(), meter.call());
        let patience = call.deadline.unwrap_or(Duration::MAX);
        Self {
            started: Instant::now(),
            first_byte: rules.first_byte_timeout,
            deadline: Instant::from_std(call.arrived) + rules.total_timeout.min(patience),
            deadline_is_callers: patience < rules.total_timeout,
        }
    }

    /// Tells how long an answer took that is here now.
    pub(super) fn answered(&self, load: &Load, kind: Kind) {
        let now = Instant::now();
        load.answered(kind, now.saturating_duration_since(self.started), now.into_std());
    }

    /// A caller's haste says nothing about a target's health, and must not rest it for others.
    pub(super) fn was_ended_by_caller(&self, failure: &Failure) -> bool {
        self.deadline_is_callers && matches!(failure, Failure::Timeout { .. }) && Instant::now() >= self.deadline
    }

    /// Whether no further attempt may begin.
    pub(super) fn is_over(&self) -> bool {
        Instant::now() >= self.deadline
    }

    /// When the head, and for a stream its first event, must have come.
    pub(super) fn head(&self, stream: bool) -> Instant {
        if stream { self.deadline.min(self.started + self.first_byte) } else { self.deadline }
    }
}
