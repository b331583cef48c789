//! `farthing check`: everything that can be known about a configuration without starting it.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use super::{Format, counted, env, find_config, print_problems};
use crate::app::read_book;
use crate::app::warnings::warnings;
use crate::config::{self, Config};
use crate::ledger;
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
    let source = file.map_or_else(|| "environment".to_owned(), |file| file.display().to_string());
    let checked = config.and_then(|config| {
        let book = read_book(config.prices.as_deref());
        let certificates = config.server.tls.as_ref().map(tls::read).transpose();
        let books = ledger::preview(&config.ledger.path).map_err(|error| {
            vec![Problem { file: source.clone(), line: 0, column: 0, message: format!("`ledger`: {error}") }]
        });
        match (book, certificates, books) {
            (Ok(book), Ok(_), Ok(())) => Ok((config, book)),
            (book, certificates, books) => {
                Err([book.err(), certificates.err(), books.err()].into_iter().flatten().flatten().collect())
            }
        }
    });
    let now = jiff::Timestamp::now();
    match (checked, arguments.format) {
        (Ok((config, book)), Format::Json) => {
            let warnings = warnings(&config, &book, now);
            say!("{}", json!({ "source": source, "ok": true, "problems": [], "warnings": warnings }));
            ExitCode::SUCCESS
        }
        (Ok((config, book)), Format::Table) => {
            describe(&source, &config);
            for warning in warnings(&config, &book, now) {
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
    let (keys, teams) = (counted(config.keys.len(), "key"), counted(config.teams.len(), "team"));
    say!("  {keys}, {teams}, ledger {}", config.ledger.path.display());
}
