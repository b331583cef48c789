//! The policies that the demo routes by: those that ship with Farthing and that its traffic comes under.
//!
//! The workload is one pipeline's, a replay is nobody's; teams and projects of the other policies are not in either.

use std::fs;
use std::path::Path;

use crate::policy::{self, Policy};
use crate::problem::Problem;

/// The folder that they are written to, beside the demo's ledger.
pub const FOLDER: &str = "routing-policies";

/// The one that the built-in workload comes under.
const ORDERS_DAILY: (&str, &str) = ("orders_daily.md", include_str!("../../../routing-policies/orders_daily.md"));

const SHIPPED: [(&str, &str); 2] = [("default.md", include_str!("../../../routing-policies/default.md")), ORDERS_DAILY];

/// Writes them into `folder`, where people may change them while the demo serves.
pub fn write(folder: &Path) -> std::io::Result<()> {
    let folder = folder.join(FOLDER);
    fs::create_dir(&folder)?;
    SHIPPED.iter().try_for_each(|(name, text)| fs::write(folder.join(name), text))
}

/// The policy that the built-in workload comes under.
pub fn of_the_workload() -> Result<Policy, String> {
    let (name, text) = ORDERS_DAILY;
    match policy::parse(name, text) {
        Ok((policy, _)) => Ok(policy),
        Err(problems) => Err(problems.iter().map(Problem::to_string).collect::<Vec<_>>().join("\n")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::read_policies;

    #[test]
    fn the_demos_policies_pass_their_own_tests_and_default_to_the_frontier_tier() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        write(folder.path()).expect("written policies");
        let (set, _) = read_policies(Some(&folder.path().join(FOLDER))).expect("policies that may go live");
        for policy in set.policies() {
            assert_eq!(policy.default, crate::task::Tier::Frontier, "{}", policy.name);
        }
    }
}
