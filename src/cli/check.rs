//! `farthing check`: everything that can be known about a configuration and its policies without starting it.

mod live;
mod providers;

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use serde_json::json;

use super::{Format, counted, env, fail, find_config, print_problems};
use crate::app::warnings::{of_policies, warnings};
use crate::app::{VERIFY, read_book, read_keys};
use crate::budget::Terms;
use crate::config::{self, Config, policies};
use crate::cost::Book;
use crate::ledger;
use crate::ledger::mirror::{MirrorError, Reader, Target};
use crate::policy::{AppliesTo, Policy, Set};
use crate::problem::Problem;
use crate::server::{KeyRing, tls};
use crate::task::Tier;

use providers::Told;

#[derive(Args)]
pub struct Arguments {
    /// The configuration; else FARTHING_CONFIG, else ./farthing.yaml, else OPENAI_API_KEY alone
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Policies: files, or folders of them. Without `--config` they are all that is checked; what they are for is looked up
    /// in the configuration, if there is one that can be read
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Connect as well: to the ledger's mirror, and to providers, one call for each key; where one lists no models
    /// that is an answer of one token, which the ledger does not have
    #[arg(long)]
    live: bool,
    /// How to print
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

/// What was checked, without a problem.
#[derive(Default)]
struct Checked {
    config: Option<(Config, Book)>,
    policies: Vec<Arc<Policy>>,
    warnings: Vec<String>,
    /// Those in force; `None` where nobody looked, or they cannot be read.
    keys: Option<Arc<KeyRing>>,
    /// Connections are made as well.
    is_live: bool,
    /// What they found.
    answered: Vec<String>,
}

pub fn run(arguments: &Arguments) -> ExitCode {
    let file = find_config(arguments.config.as_ref());
    let source = match &file {
        Some(file) => file.display().to_string(),
        None if arguments.paths.is_empty() => "environment".to_owned(),
        None => listed(&arguments.paths),
    };
    let mut checked = Checked { is_live: arguments.live, ..Checked::default() };
    let mut problems = Vec::new();
    let is_asked_for = arguments.config.is_some() || arguments.paths.is_empty();
    if arguments.live && !is_asked_for {
        return fail(
            "`--live` found policies alone, which name nobody to connect to; wanted `--config FILE` beside it",
        );
    }
    let config = match &file {
        Some(file) => Some(config::load(file, &env)),
        None if arguments.paths.is_empty() => Some(config::from_environment(&env)),
        None => None,
    };
    match config {
        Some(Ok(config)) if is_asked_for => checked.config(&source, config, &mut problems),
        Some(Err(found)) if is_asked_for => problems.extend(found),
        Some(read) => checked.beside(read),
        None => {}
    }
    let source = if is_asked_for { source } else { listed(&arguments.paths) };
    for path in &arguments.paths {
        checked.path(path, &mut problems);
    }
    checked.doubt_policies();
    let Checked { config, policies, warnings, keys, answered, .. } = checked;
    let ok = problems.is_empty();
    match arguments.format {
        Format::Json => {
            let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
            let config = config.iter().filter(|_| is_asked_for);
            let rows = config.flat_map(|(config, book)| config.providers.iter().map(|row| Told::of(row, book)));
            let rows: Vec<_> = rows.map(|told| told.json()).collect();
            let told = json!({ "source": source, "ok": ok, "problems": problems, "warnings": warnings, "providers": rows, "answered": answered });
            say!("{told}");
        }
        Format::Table => {
            if ok {
                say!("{source}: ok");
                let config = config.iter().filter(|_| is_asked_for);
                let keys = keys.unwrap_or_default();
                config.for_each(|(config, book)| describe(config, book, &keys));
                policies.iter().for_each(|policy| describe_policy(policy));
                warnings.iter().for_each(|warning| say!("warning: {warning}"));
            }
            answered.iter().for_each(|line| say!("  {line}"));
            print_problems(&problems);
        }
    }
    if ok { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn listed(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}

impl Checked {
    /// The configuration that policies are for, where they are what is checked: whatever is wrong with it is not theirs.
    fn beside(&mut self, config: Result<Config, Vec<Problem>>) {
        let read = config.and_then(|config| {
            let book = read_book(config.prices.as_deref())?;
            Ok((config, book))
        });
        match read {
            Ok((config, book)) => {
                if let Err(error) = self.read_keys(&config) {
                    self.warnings.push(format!("keys are not looked up: {error}"));
                }
                self.config = Some((config, book));
            }
            Err(found) => {
                let why = found.first().map(ToString::to_string).unwrap_or_default();
                self.warnings.push(format!("tiers, teams and keys are not looked up in the configuration: {why}"));
            }
        }
    }

    /// The keys in force, and those that are not.
    fn read_keys(&mut self, config: &Config) -> Result<(), String> {
        let (keys, not_in_force) = read_keys(config).map_err(|error| error.to_string())?;
        self.keys = Some(keys.ring());
        self.warnings.extend(not_in_force);
        Ok(())
    }

    /// A configuration that came from `source`, and what it names.
    fn config(&mut self, source: &str, config: Config, problems: &mut Vec<Problem>) {
        let book = read_book(config.prices.as_deref()).map_err(|found| problems.extend(found)).ok();
        if let Some(Err(found)) = config.server.tls.as_ref().map(tls::read) {
            problems.extend(found);
        }
        if let Err(error) = self.read_keys(&config) {
            problems.push(Problem::of_file(source, error));
        }
        if let Err(error) = ledger::preview(&config.ledger.path) {
            problems.push(Problem {
                file: source.to_owned(),
                line: 0,
                column: 0,
                message: format!("`ledger`: {error}"),
            });
        }
        if let Some(Err(message)) = config.ledger.mirror.as_ref().map(|url| self.mirror(url.reveal())) {
            problems.push(Problem { file: source.to_owned(), line: 0, column: 0, message });
        }
        match &config.policies {
            Some(folder) => match policies::are_there(&config, source) {
                Ok(()) => self.path(folder, problems),
                Err(problem) => problems.push(problem),
            },
            None => self.policies.extend(Set::builtin().policies().iter().cloned()),
        }
        if let Some(book) = &book
            && self.is_live
            && problems.is_empty()
        {
            match live::ask(&config, book) {
                Ok((good, bad)) => {
                    self.answered.extend(good);
                    problems.extend(bad.into_iter().map(|why| Problem::of_file(source, why)));
                }
                Err(why) => problems.push(Problem::of_file(source, why)),
            }
        }
        if let Some(book) = book {
            self.warnings.extend(warnings(&config, &book, jiff::Timestamp::now()));
            self.config = Some((config, book));
        }
    }

    /// The mirror's URL, and what answers there.
    fn mirror(&mut self, url: &str) -> Result<(), String> {
        let target = Target::parse(url).map_err(|message| format!("`mirror` {message}"))?;
        if !self.is_live {
            return Ok(());
        }
        let said = |error: MirrorError| format!("`mirror`: {target}: {error}");
        let has_ledgers = Reader::open(&target).and_then(|reader| reader.has_ledgers()).map_err(said)?;
        let has = if has_ledgers { "has ledgers" } else { "answers and has no ledger yet" };
        self.answered.push(format!("mirror {target}: {has}"));
        Ok(())
    }

    /// A policy, or a folder of policies.
    fn path(&mut self, path: &Path, problems: &mut Vec<Problem>) {
        let read = if path.is_dir() {
            policies::load(path, VERIFY).map(|(set, warnings)| (set.policies().to_vec(), warnings))
        } else if is_yaml(path) {
            let name = path.display().to_string();
            let message = format!("is no policy; wanted `farthing check --config {name}` for a configuration");
            Err(vec![Problem::of_file(&name, message)])
        } else {
            policies::load_file(path, VERIFY).map(|(policy, warnings)| (vec![Arc::new(policy)], warnings))
        };
        match read {
            Ok((policies, warnings)) => {
                self.warnings.extend(warnings.iter().map(ToString::to_string));
                self.policies.extend(policies);
            }
            Err(found) => problems.extend(found),
        }
    }

    /// What policies say and yet probably do not mean, once each.
    fn doubt_policies(&mut self) {
        let mut seen = HashSet::new();
        self.policies.retain(|policy| seen.insert(policy.file.clone()));
        self.warnings.extend(of_policies(
            &self.policies,
            self.config.as_ref().map(|(config, _)| config),
            self.keys.as_deref(),
        ));
        let mut told = HashSet::new();
        self.warnings.retain(|warning| told.insert(warning.clone()));
    }
}

fn is_yaml(path: &Path) -> bool {
    path.extension().is_some_and(|end| end.eq_ignore_ascii_case("yaml") || end.eq_ignore_ascii_case("yml"))
}

fn describe_policy(policy: &Policy) {
    let AppliesTo { teams, projects, pipelines, keys } = &policy.applies_to;
    let lists = [("keys", keys), ("pipelines", pipelines), ("projects", projects), ("teams", teams)];
    let named = lists.iter().filter(|(_, names)| !names.is_empty());
    let named: Vec<String> = named.map(|(what, names)| format!("{what} {}", names.join(", "))).collect();
    let applies_to = if named.is_empty() { "everything else".to_owned() } else { named.join("; ") };
    say!(
        "  policy {} for {applies_to}: {} rules, {} tasks, {} examples as tests, else {}",
        policy.version,
        policy.rules.len(),
        policy.tasks.len(),
        policy.tests.len(),
        policy.default
    );
}

/// What every payer is held to, defaults resolved.
fn describe_terms(config: &Config, keys: &KeyRing) {
    let told = |payer: &str, terms: &Terms| {
        if let Some(budget) = terms.budget {
            say!("  {payer}: budget {budget}");
        }
        if !terms.limits.are_none() {
            say!("  {payer}: limits {}", terms.limits);
        }
    };
    for team in &config.teams {
        told(&format!("team {}", team.id), &team.terms);
        for (kind, members) in [("project", &team.projects), ("user", &team.users)] {
            members.named.iter().for_each(|(name, terms)| told(&format!("{kind} {name} of team {}", team.id), terms));
            let other = if kind == "user" && members.named.is_empty() { "" } else { "other " };
            members.each.iter().for_each(|terms| told(&format!("each {other}{kind} of team {}", team.id), terms));
        }
    }
    let mut keys = keys.keys();
    keys.sort_by(|one, other| one.id.cmp(&other.id));
    keys.iter().for_each(|key| told(&format!("key {}", key.id), &key.terms));
}

fn describe(config: &Config, book: &Book, keys: &KeyRing) {
    for row in &config.providers {
        let told = Told::of(row, book);
        told.lines().for_each(|line| say!("  {line}"));
    }
    for tier in Tier::ALL {
        let models: Vec<String> = config.tiers.models(tier).iter().map(ToString::to_string).collect();
        say!("  {tier}: {}", if models.is_empty() { "no models".to_owned() } else { models.join(", ") });
        for group in config.tiers.equals(tier) {
            let names: Vec<String> = group.iter().map(ToString::to_string).collect();
            say!("    equal: {}", names.join(", "));
        }
    }
    describe_terms(config, keys);
    let (keys, teams) = (counted(keys.keys().len(), "key"), counted(config.teams.len(), "team"));
    say!("  {keys}, {teams}, ledger {}", config.ledger.path.display());
}
