//! `farthing check`: everything that can be known about a configuration without starting it.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use super::{Format, env, find_config, print_problems};
use crate::app::read_book;
use crate::config::{self, Config};
use crate::cost::Book;
use crate::problem::Problem;
use crate::server::tls;
use crate::task::Tier;

#[derive(Args)]
pub struct Arguments {
    /// The configuration; else FARTHING_CONFIG, else ./farthing.yaml, else OPENAI_API_KEY alone
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// How to print
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

pub fn run(arguments: &Arguments) -> ExitCode {
    let file = find_config(arguments.config.as_ref());
    let config = match &file {
        Some(file) => config::load(file, &env),
        None => config::from_environment(&env),
    };
    let checked = config.and_then(|config| {
        let book = read_book(config.prices.as_deref());
        let certificates = config.server.tls.as_ref().map(tls::read).transpose();
        match (book, certificates) {
            (Ok(book), Ok(_)) => Ok((config, book)),
            (book, certificates) => Err([book.err(), certificates.err()].into_iter().flatten().flatten().collect()),
        }
    });
    let source = file.map_or_else(|| "environment".to_owned(), |file| file.display().to_string());
    match (checked, arguments.format) {
        (Ok((config, book)), Format::Json) => {
            let warnings = warnings(&config, &book);
            say!("{}", json!({ "source": source, "ok": true, "problems": [], "warnings": warnings }));
            ExitCode::SUCCESS
        }
        (Ok((config, book)), Format::Table) => {
            describe(&source, &config);
            for warning in warnings(&config, &book) {
                say!("warning: {warning}");
            }
            ExitCode::SUCCESS
        }
        (Err(problems), Format::Json) => {
            say!("{}", json!({ "source": source, "ok": false, "problems": texts(&problems), "warnings": [] }));
            ExitCode::FAILURE
        }
        (Err(problems), Format::Table) => {
            print_problems(&problems);
            ExitCode::FAILURE
        }
    }
}

fn texts(problems: &[Problem]) -> Vec<String> {
    problems.iter().map(ToString::to_string).collect()
}

fn describe(source: &str, config: &Config) {
    say!("{source}: ok");
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
