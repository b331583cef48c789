use super::*;
use crate::policy::builtin;

fn policy(name: &str, applies_to: AppliesTo) -> Policy {
    Policy { name: name.to_owned(), file: format!("{name}.md"), applies_to, ..Policy::clone(builtin()) }
}

fn list(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn teams(names: &[&str]) -> AppliesTo {
    AppliesTo { teams: list(names), ..AppliesTo::default() }
}

fn pipelines(names: &[&str]) -> AppliesTo {
    AppliesTo { pipelines: list(names), ..AppliesTo::default() }
}

fn set(policies: Vec<Policy>) -> Set {
    Set::new(policies).unwrap_or_else(|problems| panic!("{problems:?}"))
}

#[test]
fn the_most_specific_policy_wins() {
    let set = set(vec![
        policy("of-team", teams(&["data"])),
        policy("of-project", AppliesTo { projects: list(&["orders"]), ..AppliesTo::default() }),
        policy("of-pipeline", pipelines(&["daily", "weekly"])),
        policy("of-key", AppliesTo { keys: list(&["ci"]), ..AppliesTo::default() }),
        policy("of-team-and-pipeline", AppliesTo { pipelines: list(&["daily"]), ..teams(&["search"]) }),
    ]);
    let check = |team, project, pipeline, key, expected: &str| {
        let who = Who { team, project, pipeline, key };
        assert_eq!(set.select(who).name, expected, "{who:?}");
    };
    check("other", None, None, None, "default");
    check("data", None, None, None, "of-team");
    check("data", Some("orders"), None, None, "of-project");
    check("data", Some("orders"), Some("weekly"), None, "of-pipeline");
    check("data", Some("orders"), Some("weekly"), Some("ci"), "of-key");
    check("search", None, Some("daily"), None, "of-team-and-pipeline");
    check("search", None, Some("weekly"), None, "of-pipeline");
    check("search", None, None, None, "default");
}

#[test]
fn a_default_of_ones_own_replaces_the_built_in_one() {
    let own = Policy { version: "default@own1".to_owned(), ..policy("default", AppliesTo::default()) };
    let set = set(vec![own]);
    assert_eq!(set.select(Who::default()).version, "default@own1");
    assert_eq!(set.policies().len(), 1);
}

#[test]
fn policies_that_could_both_win_are_refused() {
    let refused = |policies| Set::new(policies).map(|_| ()).unwrap_err().first().map(ToString::to_string).unwrap();
    insta::assert_snapshot!(
        refused(vec![policy("a", pipelines(&["x", "daily"])), policy("b", pipelines(&["daily"]))]),
        @"b.md:1:1: applies to `daily`, and so does a.md; wanted one of them to be more specific: key before pipeline before project before team"
    );
    insta::assert_snapshot!(
        refused(vec![policy("a", teams(&["x"])), policy("a", teams(&["y"]))]),
        @"a.md:1:1: the policy `a` is there twice, also as a.md"
    );
    // Other values, or another kind of value, are no tie.
    set(vec![policy("a", pipelines(&["x"])), policy("b", pipelines(&["y"])), policy("c", teams(&["x"]))]);
}
