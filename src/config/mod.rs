//! Configuration: what people write in `farthing.yaml`, checked into what the process runs on.
//!
//! `written` mirrors the file with its places; `check` turns it into [`Config`] or a list of
//! problems; nothing downstream sees the written shape. [`models`] says which provider rows an exact
//! model name leads to. Prices are read by `cost`; watching files for changes is `app`'s work.

pub mod access;
mod check;
mod checked;
mod findings;
mod google;
pub mod models;
pub mod policies;
pub mod presets;
mod secrets;
mod syntax;
#[cfg(test)]
mod tests;
pub mod values;
mod written;

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::problem::Problem;

use findings::Findings;
use secrets::References;

pub use checked::*;
pub use findings::quoted;
pub use secrets::MirrorReference;

/// The file that is looked for in the working directory.
pub const FILE_NAME: &str = "farthing.yaml";
/// The environment variable that names another one.
pub const FILE_VARIABLE: &str = "FARTHING_CONFIG";

/// Largest configuration file that is read, in bytes.
const FILE_BYTES_MAX: u64 = 4 << 20;
/// The configuration that holds without a file, and what its problems call it.
const WITHOUT_FILE: &str = include_str!("environment.yaml");
const ENVIRONMENT: &str = "environment";

/// Where the configuration is: the file given explicitly, else the one that `FARTHING_CONFIG`
/// names, else `farthing.yaml` in `working_dir` if it exists. `None`: use [`from_environment`].
///
/// Relative paths start at `working_dir`; an empty one keeps them as they are. Whether an explicit
/// file exists is left to [`load`], which can say what is wrong with it.
pub fn find(explicit: Option<&Path>, env: &dyn Fn(&str) -> Option<String>, working_dir: &Path) -> Option<PathBuf> {
    let named = || env(FILE_VARIABLE).filter(|path| !path.is_empty()).map(PathBuf::from);
    let file = explicit.map(Path::to_path_buf).or_else(named).map(|file| working_dir.join(file));
    file.or_else(|| Some(working_dir.join(FILE_NAME)).filter(|usual| usual.symlink_metadata().is_ok()))
}

/// Reads and checks a configuration file. Relative paths in it start at its folder.
///
/// # Errors
///
/// Every problem that could be told, in the order of the file; the file's path is spelled as given.
pub fn load(file: &Path, env: &dyn Fn(&str) -> Option<String>) -> Result<Config, Vec<Problem>> {
    let name = file.display().to_string();
    let text = read(file).map_err(|message| vec![about_all(&name, &message)])?;
    parse(&name, &text, file.parent().unwrap_or(Path::new("")), env)
}

/// Checks the text of a configuration file that problems call `file_name`; `base_dir` is where
/// relative paths start. Secret files are read, and `env` is asked for variables.
///
/// # Errors
///
/// As [`load`]. A violation of YAML or unknown keys hide all else; the rest is reported together.
pub fn parse(
    file_name: &str,
    text: &str,
    base_dir: &Path,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Config, Vec<Problem>> {
    if text.lines().all(|line| matches!(line.trim_start().chars().next(), None | Some('#')) || line.trim() == "---") {
        return Err(vec![about_all(file_name, "the file is empty; wanted at least `providers`")]);
    }
    let written = syntax::read(file_name, text)?;
    check::check(file_name, written, References { env, base_dir })
}

/// What a command needs that works on the ledger alone, from `file` or, without one, what holds without one.
///
/// Keys and other secrets are neither resolved nor asked for; the rest of the file must be well-formed, and
/// is checked no further.
///
/// # Errors
///
/// As [`load`], as far as it looks.
pub fn load_bookkeeping(file: Option<&Path>) -> Result<Bookkeeping, Vec<Problem>> {
    let Some(file) = file else { return bookkeeping(ENVIRONMENT, WITHOUT_FILE, Path::new("")) };
    let name = file.display().to_string();
    let text = read(file).map_err(|message| vec![about_all(&name, &message)])?;
    bookkeeping(&name, &text, file.parent().unwrap_or(Path::new("")))
}

fn bookkeeping(file_name: &str, text: &str, base_dir: &Path) -> Result<Bookkeeping, Vec<Problem>> {
    let written = syntax::read(file_name, text)?;
    check::check_bookkeeping(file_name, written, References { env: &|_| None, base_dir })
}

/// What commands need that work on the key store, from `file` or, without one, what holds without one.
///
/// Secrets are neither resolved nor asked for, as in [`load_bookkeeping`].
///
/// # Errors
///
/// As [`load`], as far as it looks.
pub fn load_keyholding(file: Option<&Path>) -> Result<Keyholding, Vec<Problem>> {
    let (name, text, folder) = match file {
        None => (ENVIRONMENT.to_owned(), WITHOUT_FILE.to_owned(), PathBuf::new()),
        Some(file) => {
            let name = file.display().to_string();
            let text = read(file).map_err(|message| vec![about_all(&name, &message)])?;
            (name, text, file.parent().unwrap_or(Path::new("")).to_path_buf())
        }
    };
    let written = syntax::read(&name, &text)?;
    check::check_keyholding(&name, written, References { env: &|_| None, base_dir: &folder })
}

/// The configuration without a file: OpenAI with the key in `OPENAI_API_KEY`, three tiers of its
/// models, the ledger `farthing.db` in the working directory, and defaults for all else.
///
/// # Errors
///
/// `OPENAI_API_KEY` is not set, or holds what no header can carry.
pub fn from_environment(env: &dyn Fn(&str) -> Option<String>) -> Result<Config, Vec<Problem>> {
    if env("OPENAI_API_KEY").is_none_or(|key| key.is_empty()) {
        let message = "there is no `farthing.yaml` here and `OPENAI_API_KEY` is not set; wanted one of them; \
                       `farthing demo` runs without either";
        return Err(vec![about_all(ENVIRONMENT, message)]);
    }
    let mut result = parse(ENVIRONMENT, WITHOUT_FILE, Path::new(""), env);
    // Lines of a file that nobody wrote would only confuse.
    for problem in result.as_mut().err().into_iter().flatten() {
        (problem.line, problem.column) = (0, 0);
    }
    result
}

/// Reads the keys again, for a process that runs on `running` and where `in_force` keys are valid now.
///
/// The whole file is checked, so that keys and teams never change by half. Other changes in it wait for a restart.
///
/// # Errors
///
/// As [`load`]; also no keys although some are in force: a door never opens by itself.
pub fn load_keys(
    file: &Path,
    in_force: usize,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<(Vec<Key>, Payers), Vec<Problem>> {
    let fresh = load(file, env)?;
    let mut findings = Findings::new(&file.display().to_string());
    if fresh.keys.is_empty() && in_force > 0 {
        findings.overall(
            "`keys` is gone, which would open the door; wanted at least one key, or a restart that means it".to_owned(),
        );
    }
    let payers = fresh.payers();
    findings.or_problems((fresh.keys, payers))
}

/// A problem of a file as a whole.
fn about_all(file: &str, message: &str) -> Problem {
    Problem { file: file.to_owned(), line: 0, column: 0, message: message.to_owned() }
}

/// The text of a file, or what is wrong with it.
fn read(file: &Path) -> Result<String, String> {
    let unreadable = |error| format!("cannot read it: {}", secrets::reason(&error));
    if fs::metadata(file).map_err(unreadable)?.is_dir() {
        return Err(format!("it is a directory; wanted a file, such as `{}`", file.join(FILE_NAME).display()));
    }
    let mut text = String::new();
    fs::File::open(file)
        .and_then(|open| open.take(FILE_BYTES_MAX + 1).read_to_string(&mut text))
        .map_err(unreadable)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(format!("it is larger than {FILE_BYTES_MAX} bytes; wanted a configuration"));
    }
    Ok(text)
}
