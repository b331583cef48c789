//! `farthing keys create|list|show|update|rotate|revoke|backup|audit`: virtual keys, whether the gateway runs or not.
//!
//! What is done is in `keys`; here are the arguments and the words for people. A secret goes to stdout, once and alone.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};
use comfy_table::{Table, presets};
use jiff::tz::TimeZone;
use serde_json::{Value, json};

use super::keys_options::{Options, grants};
use super::keys_update::Update;
use super::{Format, complain, counted, fail, find_config, print_problems, user};
use crate::budget::Budget;
use crate::config::{self, Keyholding};
use crate::keys::{AUDIT_ROWS_MAX, KeysError, Made, Store, StoredKey, Surroundings, Wanted, Who, at, duration};
use crate::telemetry::log::now_ms;

/// Printed under `farthing keys --help`.
pub const AFTER_HELP: &str = "\
Keys are kept in farthing.keys.db beside the ledger; a gateway that runs sees changes within a second.
The secret of a key is printed once, to stdout alone, and kept as a hash only. Once there is a key,
loopback wants one too. docs/keys.md has all of it.

Example:
  KEY=$(farthing keys create --name orders-ci --team data-platform --expires 90d)
  farthing keys create --team search --usd 20 --every month --may tiers=lightweight,reasoning
  farthing keys update orders-ci --usd 50 --concurrency 8 --remove expires
  farthing keys rotate orders-ci --overlap 24h
  farthing keys revoke orders-ci
  farthing keys list --format json";

#[derive(Args)]
#[command(arg_required_else_help = true)]
pub struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Make a key and print its secret
    Create(Box<Create>),
    /// List keys, without their secrets
    List {
        #[command(flatten)]
        common: Common,
    },
    /// Show one key
    Show {
        /// The key's name
        name: String,
        #[command(flatten)]
        common: Common,
    },
    /// Give a key other grants, limits, another budget or end
    Update(Box<Update>),
    /// Give a key a new secret and print it
    Rotate {
        /// The key's name
        name: String,
        /// How long the old secret opens the door beside the new one: 24h, 7d, 30m
        #[arg(long, value_name = "SPAN", default_value = "0s", value_parser = duration)]
        overlap: Duration,
        #[command(flatten)]
        common: Common,
    },
    /// Revoke a key for good
    Revoke {
        /// The key's name
        name: String,
        #[command(flatten)]
        common: Common,
    },
    /// Copy the key store to a file, also while the gateway serves
    Backup {
        /// Where to; nothing may stand there
        destination: PathBuf,
        #[command(flatten)]
        common: Common,
    },
    /// Say who changed which key, and how
    Audit {
        /// Only this key's changes
        name: Option<String>,
        /// Only changes behind this number
        #[arg(long, value_name = "NUMBER", default_value_t = 0)]
        after: i64,
        #[command(flatten)]
        common: Common,
    },
}

#[derive(Args)]
pub(super) struct Common {
    /// The configuration that names ledger, teams and time zone; else FARTHING_CONFIG, else ./farthing.yaml
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// How to print
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

#[derive(Args)]
struct Create {
    /// Its name for ever: letters, digits, `.`, `_` and `-`; else `key-` and eight random ones
    #[arg(long)]
    name: Option<String>,
    /// Who pays
    #[arg(long)]
    team: String,
    #[command(flatten)]
    options: Options,
    #[command(flatten)]
    common: Common,
}

pub fn run(arguments: &Arguments) -> ExitCode {
    let common = match &arguments.action {
        Action::Create(create) => &create.common,
        Action::Update(update) => &update.common,
        Action::List { common }
        | Action::Show { common, .. }
        | Action::Rotate { common, .. }
        | Action::Revoke { common, .. }
        | Action::Backup { common, .. }
        | Action::Audit { common, .. } => common,
    };
    let known = match config::load_keyholding(find_config(common.config.as_ref()).as_deref()) {
        Ok(known) => known,
        Err(problems) => {
            print_problems(&problems);
            return ExitCode::FAILURE;
        }
    };
    match act(&arguments.action, &known, common.format) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(error),
    }
}

fn act(action: &Action, known: &Keyholding, format: Format) -> Result<(), KeysError> {
    let (path, now, who) = (known.ledger.keys_path(), now_ms(), Who::at_prompt(&user()));
    let existing = |name: &str| {
        let unknown = || KeysError::Unknown {
            name: config::quoted(name),
            hint: format!("; there are none in `{}`", path.display()),
        };
        Store::open(&path)?.ok_or_else(unknown)
    };
    let timezone = TimeZone::get(&known.timezone).unwrap_or(TimeZone::UTC);
    let around = Surroundings { teams: &known.teams, keys: &known.keys, timezone: &timezone, now_ms: now };
    match action {
        Action::Create(create) => {
            let asked = wanted(create)?.check(around)?;
            let mut store = Store::open_or_make(&path)?;
            let closes = known.keys.is_empty() && store.all()?.is_empty();
            let made = store.create(&asked, &who, now, None)?;
            tell_made(&made, "made", format, now);
            if closes {
                complain(format_args!(
                    "it is the first key: loopback wants one too from now on, and stays closed when it ends; to open it \
                     again stop the gateway, move `{}` away and start",
                    path.display()
                ));
            }
        }
        Action::Update(update) => {
            let patch = update.patch()?;
            let key = existing(&update.name)?.update(&update.name, &who, now, |key| key.patched(&patch, around))?;
            tell(&key, format, now);
        }
        Action::Rotate { name, overlap, .. } => {
            let made = existing(name)?.rotate(name, *overlap, &who, now, None)?;
            tell_made(&made, "rotated", format, now);
        }
        Action::Revoke { name, .. } => {
            let key = existing(name)?.revoke(name, &who, now)?;
            match format {
                Format::Json => say!("{}", json!({ "key": key.shown(now) })),
                Format::Table => say!("key `{name}` is revoked since {}", key.revoked_ms.map(at).unwrap_or_default()),
            }
        }
        Action::Backup { destination, .. } => {
            let none = || KeysError::Wrong(format!("there are no keys in `{}`", path.display()));
            Store::open(&path)?.ok_or_else(none)?.backup(destination)?;
            match format {
                Format::Json => say!("{}", json!({ "path": destination })),
                Format::Table => say!("the keys of `{}` are in `{}`", path.display(), destination.display()),
            }
        }
        Action::Show { name, .. } => {
            tell(&existing(name)?.one(name)?, format, now);
        }
        Action::List { .. } => {
            let keys = Store::open(&path)?.map_or(Ok(Vec::new()), |store| store.all())?;
            match format {
                Format::Json => {
                    let shown: Vec<Value> = keys.iter().map(|key| key.shown(now)).collect();
                    say!("{}", json!({ "keys": shown }));
                }
                Format::Table if keys.is_empty() => say!("there are no keys in `{}`", path.display()),
                Format::Table => say!("{}", table(&keys, now)),
            }
        }
        Action::Audit { name, after, .. } => {
            let store = Store::open(&path)?;
            let rows = store.map_or(Ok(Vec::new()), |store| store.audit(name.as_deref(), *after, AUDIT_ROWS_MAX))?;
            match format {
                Format::Json => say!("{}", json!({ "audit": rows })),
                Format::Table => {
                    let mut table = blank(&["number", "at", "who", "action", "key"]);
                    for row in &rows {
                        table.add_row([
                            row.id.to_string(),
                            row.at.clone(),
                            row.who.clone(),
                            row.action.clone(),
                            row.key.clone(),
                        ]);
                    }
                    say!("{table}");
                    if rows.len() == AUDIT_ROWS_MAX as usize {
                        complain(format_args!(
                            "{} shown; `--after {}` has those behind them",
                            counted(rows.len(), "change"),
                            rows.last().map_or(0, |row| row.id)
                        ));
                    }
                }
            }
        }
    }
    Ok(())
}

fn tell(key: &StoredKey, format: Format, now: i64) {
    match format {
        Format::Json => say!("{}", json!({ "key": key.shown(now) })),
        Format::Table => say!("{}", card(key, now)),
    }
}

/// The secret alone to stdout, so that a variable or a file can take it; the rest to stderr.
fn tell_made(made: &Made, what: &str, format: Format, now: i64) {
    let (key, secret) = (&made.key, made.secret.reveal());
    if format == Format::Json {
        say!("{}", json!({ "key": key.shown(now), "secret": secret }));
        return;
    }
    let end = key.asked.expires_ms.map_or_else(String::new, |end| format!(", until {}", at(end)));
    let old = key.secrets.iter().skip(1).filter_map(|old| Some((&old.prefix, old.until_ms.filter(|end| *end > now)?)));
    let old: String = old.map(|(prefix, end)| format!("; the old one, {prefix}, until {}", at(end))).collect();
    complain(format_args!(
        "key `{}` of team `{}` is {what}{end}; its secret stands here once{old}",
        key.asked.name, key.asked.team
    ));
    say!("{secret}");
}

fn wanted(Create { name, team, options, .. }: &Create) -> Result<Wanted, KeysError> {
    let budget = options.usd.zip(options.every).map(|(usd, every)| Budget {
        usd,
        every,
        when_near: options.when_near.unwrap_or_default(),
        near: options.near.unwrap_or_default(),
    });
    let parts = [("--usd", options.usd.is_some()), ("--every", options.every.is_some())];
    let others = [("--when-near", options.when_near.is_some()), ("--near", options.near.is_some())];
    if let Some((given, _)) = parts.into_iter().chain(others).find(|(_, given)| *given).filter(|_| budget.is_none()) {
        return Err(KeysError::Wrong(format!("`{given}` is part of a budget; wanted `--usd` and `--every` together")));
    }
    Ok(Wanted {
        name: name.clone(),
        team: Some(team.clone()),
        may: grants(&options.may)?,
        project: options.project.clone(),
        pipeline: options.pipeline.clone(),
        mode: options.mode.clone(),
        budget,
        limits: options.limits(),
        expires: options.expires.clone(),
    })
}

fn blank(headings: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY).set_header(headings);
    table
}

fn table(keys: &[StoredKey], now: i64) -> Table {
    let mut table = blank(&["name", "secret", "team", "state", "expires", "budget", "limits", "made"]);
    for key in keys {
        let asked = &key.asked;
        table.add_row([
            asked.name.clone(),
            key.prefix().to_owned(),
            asked.team.clone(),
            key.state(now).as_str().to_owned(),
            asked.expires_ms.map(at).unwrap_or_default(),
            asked.terms.budget.map(|budget| budget.to_string()).unwrap_or_default(),
            asked.terms.limits.to_string(),
            at(key.created_ms),
        ]);
    }
    table
}

/// One key, a line for each thing that there is to say.
fn card(key: &StoredKey, now: i64) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    if let Value::Object(shown) = key.shown(now) {
        for (name, value) in shown {
            let text = match value {
                Value::Null => continue,
                Value::String(text) => text,
                Value::Object(map) if map.is_empty() => continue,
                Value::Array(list) if list.is_empty() => continue,
                value => value.to_string(),
            };
            table.add_row([name, text]);
        }
    }
    table
}
