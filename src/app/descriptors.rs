//! File descriptors: how many the process may have open, and how they are shared between the doors and the providers.
//!
//! What is not shared out is left to the ledger, the log and the files that are read again.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::limits::{CONNECTIONS_MAX, DESCRIPTORS_KEPT, DESCRIPTORS_WANTED, OPERATORS_CONNECTIONS_MAX};

/// The fewest connections of the operators' door.
const OPERATORS_CONNECTIONS_MIN: usize = 4;

/// How many connections each side may have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Shares {
    /// Of the agents' door.
    pub agents: usize,
    /// Of the operators' door.
    pub operators: usize,
    /// To all providers together.
    pub providers: usize,
}

/// Raises the soft limit as far as is useful and allowed; gives the limit that is in force.
pub fn raise() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let [soft, hard] = [limit.current, limit.maximum].map(|descriptors| descriptors.unwrap_or(u64::MAX));
    let wanted = hard.min(DESCRIPTORS_WANTED);
    if soft >= wanted {
        return soft;
    }
    let raised = setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum: limit.maximum });
    raised.map_or(soft, |()| wanted)
}

/// Shares `descriptors` out. A connection of an agent has at most one call under way, unless it speaks HTTP/2, so
/// half is for the agents' door and half for the calls.
pub fn shares(descriptors: u64) -> Shares {
    let descriptors = usize::try_from(descriptors).unwrap_or(usize::MAX);
    let operators = (descriptors / 16).clamp(OPERATORS_CONNECTIONS_MIN, OPERATORS_CONNECTIONS_MAX);
    let left = descriptors.saturating_sub(DESCRIPTORS_KEPT + operators);
    let agents = (left / 2).clamp(1, CONNECTIONS_MAX);
    Shares { agents, operators, providers: left.saturating_sub(agents).max(1) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(descriptors: u64, agents: usize, operators: usize, providers: usize) {
        assert_eq!(shares(descriptors), Shares { agents, operators, providers }, "{descriptors}");
    }

    #[test]
    fn the_doors_and_the_providers_leave_some_to_the_ledger() {
        check(200, 74, 12, 74);
        check(1024, 460, 64, 460);
        check(65_536, 16_384, 256, 48_856);
        check(0, 1, 4, 1);
        for descriptors in 100..2000 {
            let Shares { agents, operators, providers } = shares(descriptors);
            assert!((agents + operators + providers + DESCRIPTORS_KEPT) as u64 <= descriptors, "{descriptors}");
        }
    }
}
