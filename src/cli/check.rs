//! `farthing check`: everything that can be known about a configuration and its policies without starting it.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use serde_json::json;

use super::{Format, env, find_config, print_problems};
use crate::app::{VERIFY, read_book};
use crate::config::{self, Config, policies};
use crate::cost::Book;
use crate::policy::{AppliesTo, Policy, Set, doubts};
use crate::problem::Problem;
use crate::server::tls;
use crate::task::Tier;

#[derive(Args)]
pub struct Arguments {
    /// The configuration; else FARTHING_CONFIG, else ./farthing.yaml, else OPENAI_API_KEY alone
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Policies besides those of the configuration: files, or folders of them; without a configuration they are all
    /// that is checked
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,
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
}

pub fn run(arguments: &Arguments) -> ExitCode {
    let file = find_config(arguments.config.as_ref());
    let mut checked = Checked::default();
    let mut problems = Vec::new();
    let config = match &file {
        Some(file) => Some(config::load(file, &env)),
        None if arguments.paths.is_empty() => Some(config::from_environment(&env)),
        None => None,
    };
    match config {
        Some(Ok(config)) => checked.config(config, &mut problems),
        Some(Err(found)) => problems.extend(found),
        None => {}
    }
    for path in &arguments.paths {
        checked.path(path, &mut problems);
    }
    checked.doubt_policies();
    let source = match file {
        Some(file) => file.display().to_string(),
        None if arguments.paths.is_empty() => "environment".to_owned(),
        None => arguments.paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", "),
    };
    let Checked { config, policies, warnings } = checked;
    let ok = problems.is_empty();
    match arguments.format {
        Format::Json => {
            let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
            say!("{}", json!({ "source": source, "ok": ok, "problems": problems, "warnings": warnings }));
        }
        Format::Table => {
            if ok {
                say!("{source}: ok");
                config.iter().for_each(|(config, _)| describe(config));
                policies.iter().for_each(|policy| describe_policy(policy));
            }
            print_problems(&problems);
            for warning in warnings {
                say!("warning: {warning}");
            }
        }
    }
    if ok { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

impl Checked {
    fn config(&mut self, config: Config, problems: &mut Vec<Problem>) {
        let book = read_book(config.prices.as_deref()).map_err(|found| problems.extend(found)).ok();
        if let Some(Err(found)) = config.server.tls.as_ref().map(tls::read) {
            problems.extend(found);
        }
        match &config.policies {
            Some(folder) => self.path(folder, problems),
            None => self.policies.extend(Set::builtin().policies().iter().cloned()),
        }
        if let Some(book) = book {
            self.warnings.extend(warnings(&config, &book));
            self.config = Some((config, book));
        }
    }

    /// A policy, or a folder of policies.
    fn path(&mut self, path: &Path, problems: &mut Vec<Problem>) {
        let is_file = path.is_file();
        let read = if is_file {
            policies::load_file(path, VERIFY).map(|(policy, warnings)| (vec![Arc::new(policy)], warnings))
        } else {
            policies::load(path, VERIFY).map(|(set, warnings)| (set.policies().to_vec(), warnings))
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
        for policy in &self.policies {
            let mut doubts = doubts::alike(policy, &doubts::shared_words);
            if let Some((config, _)) = &self.config {
                doubts.extend(doubts::tiers_without_models(policy, &|tier| !config.tiers.models(tier).is_empty()));
            }
            self.warnings.extend(doubts.iter().map(ToString::to_string));
        }
        let mut told = HashSet::new();
        self.warnings.retain(|warning| told.insert(warning.clone()));
    }
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

fn describe(config: &Config) {
    for row in &config.providers {
        let key = if row.key.is_some() { "with a key" } else { "without a key" };
        say!("  provider {}: {} {key}", row.id, row.base_url);
    }
    for tier in Tier::ALL {
        let models: Vec<String> = config.tiers.models(tier).iter().map(ToString::to_string).collect();
        say!("  {tier}: {}", if models.is_empty() { "no models".to_owned() } else { models.join(", ") });
    }
    say!("  {} keys, {} teams, ledger {}", config.keys.len(), config.teams.len(), config.ledger.path.display());
}

/// What is allowed and yet probably not meant.
fn warnings(config: &Config, book: &Book) -> Vec<String> {
    let zone = jiff::tz::TimeZone::get(&config.timezone).unwrap_or(jiff::tz::TimeZone::UTC);
    let today = jiff::Timestamp::now().to_zoned(zone).date();
    let mut warnings = Vec::new();
    let folder = config.ledger.path.parent().filter(|folder| !folder.as_os_str().is_empty());
    if let Some(folder) = folder.filter(|folder| !folder.is_dir()) {
        warnings.push(format!("the ledger's folder `{}` is not there; `serve` will not start", folder.display()));
    }
    for row in &config.providers {
        let is_local =
            row.base_url.host().is_some_and(|host| host == "localhost" || host.starts_with("127.") || host == "[::1]");
        if row.key.is_some() && row.base_url.scheme_str() == Some("http") && !is_local {
            warnings.push(format!("`{}` is called over `http`, so its key travels in clear", row.id));
        }
        if row.path_prefix().is_empty() {
            warnings.push(format!(
                "`{}`: the base URL `{}` has no path; most providers' end in `/v1`",
                row.id, row.base_url
            ));
        }
    }
    let served =
        |vendor: &str, model: &str| config.providers.iter().any(|row| row.vendor == vendor && row.serves(model));
    for (vendor, model, price) in book.user_rows() {
        if !served(vendor, model) {
            warnings.push(format!(
                "the price of `{vendor}/{model}` ({}) is for a model that no provider row serves",
                price.version
            ));
        }
    }
    for tier in Tier::ALL {
        let models = config.tiers.models(tier);
        if models.is_empty() {
            warnings.push(format!("the tier `{tier}` has no models; requests for it are refused"));
        }
        for model in models {
            let vendor = config.provider(model.provider.as_str()).map_or("", |row| row.vendor.as_str());
            match book.price(vendor, model.model.as_str(), today) {
                None => warnings
                    .push(format!("`{model}` has no price as `{vendor}/{}`; its cost will be unknown", model.model)),
                Some(price) => warnings
                    .extend(price.deprecated.map(|day| format!("`{model}` is withdrawn by its provider on {day}"))),
            }
        }
    }
    warnings
}
