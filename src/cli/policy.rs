//! `farthing policy test`: holds policies against the examples that they carry, for whoever changes them and for CI.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{Format, counted, explain, print_problems};
use crate::config::policies;
use crate::policy::{Expected, Policy, Set, builtin};
use crate::problem::Problem;
use crate::route::examples::{Tried, try_all};

/// What `--help` ends with.
pub const AFTER_HELP: &str = "Example:\n  farthing policy test routing-policies/orders_daily.md";

const TEST_HELP: &str = "\
Examples:
  farthing policy test
  farthing policy test routing-policies/orders_daily.md
  farthing policy test --format json routing-policies | jq '.examples[] | select(.holds | not)'

Each bullet under `## Examples` is decided as a request of that text would be: rules first, then the classifier. One
line for each that fails, then counts; the exit status is 1 if one fails that is not `advisory`, if a policy cannot
be read, or if there is no example at all. Nothing is sent, and no key of a provider is needed.

JSON: `ok`; `problems`, of policies that cannot be read; `examples`, each with `file`, `line`, `column`, `request`,
`wanted` (a tier or a task), `tier` and `task` (what came of it; the task may be null), `rule` (from 1, where one
decided), `wanted_share` and `share` (how likely what was wanted is, and what came; null where a rule decided),
`advisory`, `holds`, and `message` where it does not.";

#[derive(Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Hold policies against their own examples; exit status 1 if one fails
    #[command(after_help = TEST_HELP)]
    Test(Test),
}

#[derive(Args)]
struct Test {
    /// Policies, or folders of them; else those of the configuration
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// The configuration; else FARTHING_CONFIG, else ./farthing.yaml, else the built-in default is tried
    #[arg(long, value_name = "FILE", conflicts_with = "paths")]
    config: Option<PathBuf>,
    /// How to print
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

pub fn run(arguments: &Arguments) -> ExitCode {
    let Command::Test(test) = &arguments.command;
    let (policies, mut problems) = read(test);
    let tried: Vec<_> = policies.iter().map(|policy| (&**policy, try_all(policy))).collect();
    // Those of whoever asks: a folder without a default has the built-in one beside its own.
    let own: Vec<&Policy> =
        policies.iter().filter(|policy| !Arc::ptr_eq(policy, builtin())).map(|policy| &**policy).collect();
    if problems.is_empty() && !own.is_empty() && own.iter().all(|policy| policy.tests.is_empty()) {
        // A heading with a typing error must not look as if all were well.
        let files: Vec<&str> = own.iter().map(|policy| policy.file.as_str()).collect();
        let found = "has no examples; wanted bullets such as `- \"a request\" → lightweight` under `## Examples`";
        problems.push(Problem::of_file(&files.join(", "), found));
    }
    let fails = |policy: &Policy, tried: &Tried| !tried.holds && !policy.tests[tried.test].advisory;
    let ok = problems.is_empty() && tried.iter().all(|(policy, all)| !all.iter().any(|tried| fails(policy, tried)));
    match test.format {
        Format::Table => print_table(&tried, &problems),
        Format::Json => {
            let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
            let examples = tried.iter().flat_map(|(policy, all)| all.iter().map(|tried| as_json(policy, tried)));
            say!("{}", json!({ "ok": ok, "problems": problems, "examples": examples.collect::<Vec<_>>() }));
        }
    }
    if ok { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The policies that can be read, and what is wrong with the others.
fn read(test: &Test) -> (Vec<Arc<Policy>>, Vec<Problem>) {
    let mut paths = test.paths.clone();
    if paths.is_empty() {
        match explain::load(test.config.as_ref()) {
            Ok(config) => paths.extend(config.policies),
            Err(problems) => return (Vec::new(), problems),
        }
    }
    if paths.is_empty() {
        return (Set::builtin().policies().to_vec(), Vec::new());
    }
    let (mut policies, mut problems) = (Vec::new(), Vec::new());
    for path in &paths {
        match read_path(path) {
            Ok(read) => policies.extend(read),
            Err(found) => problems.extend(found),
        }
    }
    let mut seen = std::collections::HashSet::new();
    policies.retain(|policy| seen.insert(policy.file.clone()));
    (policies, problems)
}

fn read_path(path: &Path) -> Result<Vec<Arc<Policy>>, Vec<Problem>> {
    // The examples are tried below, where all of them are told and not only those that fail.
    let untried = &|_: &Policy| Vec::new();
    if path.is_dir() {
        let (set, _) = policies::load(path, untried)?;
        if set.policies().iter().all(|policy| Arc::ptr_eq(policy, builtin())) {
            return Err(vec![Problem::of_file(&path.display().to_string(), "has no policies; wanted some to try")]);
        }
        return Ok(set.policies().to_vec());
    }
    policies::load_file(path, untried).map(|(policy, _)| vec![Arc::new(policy)])
}

fn print_table(tried: &[(&Policy, Vec<Tried>)], problems: &[Problem]) {
    print_problems(problems);
    for (policy, all) in tried {
        let failing = all.iter().filter(|tried| !tried.holds);
        let (advisory, failed): (Vec<_>, Vec<_>) = failing.partition(|tried| policy.tests[tried.test].advisory);
        failed.iter().for_each(|tried| super::complain(tried.as_problem(policy)));
        advisory.iter().for_each(|tried| say!("warning: {}", tried.as_problem(policy)));
    }
    for (policy, all) in tried {
        let count = |advisory: bool| {
            all.iter().filter(|tried| !tried.holds && policy.tests[tried.test].advisory == advisory).count()
        };
        let (failed, warned) = (count(false), count(true));
        let warned = if warned == 0 { String::new() } else { format!(", {warned} of them advisory") };
        let fail = failed + count(true);
        say!("{}: {}, {fail} failing{warned}", policy.file, counted(all.len(), "example"));
    }
}

fn as_json(policy: &Policy, tried: &Tried) -> Value {
    let test = &policy.tests[tried.test];
    let wanted = match &test.expected {
        Expected::Tier(tier) => tier.as_str(),
        Expected::Task(id) => id,
    };
    let rounded = |share: f32| (f64::from(share) * 1e4).round() / 1e4;
    let shares = tried.shares(policy);
    let mut json = json!({
        "file": policy.file,
        "line": test.at.line,
        "column": test.at.column,
        "request": test.request,
        "wanted": wanted,
        "tier": tried.verdict.tier.as_str(),
        "task": tried.verdict.task.map(|task| &policy.tasks[task].id),
        "rule": tried.rule.map(|rule| rule + 1),
        "wanted_share": shares.map(|(wanted, _)| rounded(wanted)),
        "share": shares.map(|(_, came)| rounded(came)),
        "advisory": test.advisory,
        "holds": tried.holds,
    });
    if !tried.holds {
        json["message"] = tried.as_problem(policy).message.into();
    }
    json
}
