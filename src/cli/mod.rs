//! The command line: arguments in, exit status and one clear line on bad input out.

/// Prints a line. A reader that has left (`| head`) ends the command quietly instead of with a panic.
macro_rules! say {
    ($($text:tt)*) => {{
        use std::io::Write as _;
        if writeln!(std::io::stdout(), $($text)*).is_err() {
            std::process::exit(0);
        }
    }};
}

mod audit;
mod budgets;
mod check;
mod demo;
mod explain;
mod keys;
mod keys_options;
mod keys_update;
mod ledger;
mod mirror;
mod policy;
mod prices;
mod prices_update;
mod reconcile;
mod reconcile_bill;
mod reconcile_told;
mod report;
mod rerate;
mod review;
mod serve;
mod statement;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};

use crate::problem::Problem;

/// A gateway between AI agents and their model providers that makes every model call cost what it is worth.
#[derive(Parser)]
#[command(name = "farthing", version, arg_required_else_help = true, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Try it: simulated providers, the gateway and an agent workload over real HTTP; prints what it cost and saved
    #[command(after_help = "Example:\n  farthing demo --once\n  farthing demo --once --replay sessions.jsonl.gz")]
    Demo(demo::Arguments),
    /// Run the gateway
    #[command(after_help = "Example:\n  OPENAI_API_KEY=sk-… farthing serve\n  farthing serve --config farthing.yaml")]
    Serve(serve::Arguments),
    /// Check the configuration, the prices and the policies: file:line:column, what was found, what was wanted
    #[command(
        after_help = "Example:\n  farthing check --config farthing.yaml\n  farthing check routing-policies/orders_daily.md"
    )]
    Check(check::Arguments),
    /// Dry run: JSONL of requests in, JSONL of decisions out, by the code that routes them
    #[command(after_help = explain::AFTER_HELP)]
    Explain(explain::Arguments),
    /// Try policies before they go live
    #[command(after_help = policy::AFTER_HELP)]
    Policy(policy::Arguments),
    /// Say what was spent and saved, by team, model, day and more
    #[command(after_help = report::AFTER_HELP)]
    Report(report::Arguments),
    /// Answer the five questions of the quarterly cost review, with figures and advice
    #[command(after_help = review::AFTER_HELP)]
    Review(review::Arguments),
    /// Close months for teams, and print what was closed
    #[command(after_help = statement::AFTER_HELP)]
    Statement(statement::Arguments),
    /// Make, list, rotate and revoke virtual keys, while the gateway runs or not
    #[command(after_help = keys::AFTER_HELP)]
    Keys(keys::Arguments),
    /// Say what is spent, held and left of each budget
    #[command(after_help = budgets::AFTER_HELP)]
    Budgets(budgets::Arguments),
    /// Show prices, check a price file, bring it up to date
    #[command(after_help = prices::AFTER_HELP)]
    Prices(prices::Arguments),
    /// Compare the ledger with a provider's usage or cost export, and settle what was in doubt
    #[command(after_help = reconcile::AFTER_HELP)]
    Reconcile(reconcile::Arguments),
    /// Look through the ledger, back it up, compact it
    #[command(after_help = ledger::AFTER_HELP)]
    Ledger(ledger::Arguments),
}

/// How a command prints.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    Table,
    /// For programs
    Json,
}

/// Where the configuration comes from: `--config`, else `FARTHING_CONFIG`, else `./farthing.yaml`, else the environment.
fn find_config(explicit: Option<&PathBuf>) -> Option<PathBuf> {
    crate::config::find(explicit.map(PathBuf::as_path), &env, std::path::Path::new(""))
}

fn env(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Prints problems, one a line.
fn print_problems(problems: &[Problem]) {
    problems.iter().for_each(complain);
}

/// Prints a line for people to stderr. Whoever has closed it, as `head` does, wants no more of them.
fn complain(line: impl std::fmt::Display) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// `1 key`, `2 keys`.
fn counted(number: impl TryInto<u64>, what: &str) -> String {
    let number = number.try_into().unwrap_or(u64::MAX);
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

/// Prints one error line.
fn fail(message: impl std::fmt::Display) -> ExitCode {
    complain(format_args!("farthing: {message}"));
    ExitCode::FAILURE
}

/// Runs the command that the process was started with.
pub fn run() -> ExitCode {
    match Arguments::parse().command {
        Command::Demo(arguments) => demo::run(&arguments),
        Command::Serve(arguments) => serve::run(&arguments),
        Command::Check(arguments) => check::run(&arguments),
        Command::Explain(arguments) => explain::run(&arguments),
        Command::Policy(arguments) => policy::run(&arguments),
        Command::Report(arguments) => report::run(&arguments),
        Command::Review(arguments) => review::run(&arguments),
        Command::Statement(arguments) => statement::run(&arguments),
        Command::Keys(arguments) => keys::run(&arguments),
        Command::Budgets(arguments) => budgets::run(&arguments),
        Command::Prices(arguments) => prices::run(&arguments),
        Command::Reconcile(arguments) => reconcile::run(&arguments),
        Command::Ledger(arguments) => ledger::run(&arguments),
    }
}

/// The user of the system, by the id that the kernel knows and not by what the environment says.
fn user() -> String {
    let id = rustix::process::getuid().as_raw().to_string();
    let known = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let name = known.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == id).then(|| name.to_owned())
    });
    name.unwrap_or(id)
}
