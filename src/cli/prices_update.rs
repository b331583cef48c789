//! `farthing prices update`: rows from another price file or from LiteLLM's list into the configuration's own.
//!
//! Only what changes a price is taken, each row with the day from which it holds; what stands in the file stays. The new
//! file is read before it takes the old one's place, and takes it whole.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use http::{Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use jiff::civil::Date;
use serde_json::{Value, json};

use super::prices::{Common, Meant, is_far, today};
use super::{Format, counted, fail};
use crate::app::read_book;
use crate::cost::{Book, Change, Imported, LeftOut, Row, Rows, change, import_litellm, yaml_of};
use crate::limits::{PRICE_LIST_BYTES_MAX, PRICE_LIST_REDIRECTS_MAX};
use crate::problem::Problem;
use crate::providers::connect::{plain_client, why};

/// Printed under `farthing prices update --help`.
pub const AFTER_HELP: &str = "\
SOURCE is a price file of the same layout as `prices.yaml`, LiteLLM's model_prices_and_context_window.json,
or where one of them is: an address that begins with https://. Nothing is fetched but by this command.

What changes no price is left. Rows of LiteLLM's list, and those without `from`, hold from --from on, so that
what has been spent stays as it was priced. There zero means unknown, and is never taken for a price.
Without --only, the models of the vendors are taken that the configuration has provider rows of.

Example:
  farthing prices update model_prices_and_context_window.json --dry-run
  farthing prices update https://example.com/prices.yaml --only 'openai/*' --from 2026-12-01";

/// How long fetching may take.
const FETCH_TIMEOUT: Duration = Duration::from_secs(60);

#[derive(Args)]
pub struct Arguments {
    /// A price file, LiteLLM's list, or its https address
    source: String,
    /// Models that are taken, `vendor/name` or a name alone; `*` stands for anything; may be given several times
    #[arg(long, value_name = "PATTERN")]
    only: Vec<String>,
    /// The first day on which the new prices hold; else today in the configured time zone
    #[arg(long, value_name = "DAY")]
    from: Option<Date>,
    /// The file that is brought up to date, or made; else the one that the configuration names
    #[arg(long, value_name = "FILE")]
    into: Option<PathBuf>,
    /// Print what would change, and change nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    common: Common,
}

/// What an update comes to.
struct Found {
    changes: Vec<(Row, Change)>,
    same: usize,
    left_out: Vec<LeftOut>,
}

impl Arguments {
    /// Runs the command.
    pub fn run(&self) -> Result<ExitCode, Vec<Problem>> {
        let books = self.common.books()?;
        let into = self.into.clone().or_else(|| books.prices.clone());
        if into.is_none() && !self.dry_run {
            return Ok(fail(
                "the configuration names no price file; wanted `prices: prices.yaml` in it, `--into FILE`, or `--dry-run`",
            ));
        }
        let only = match self.only.iter().map(|pattern| Meant::read(pattern)).collect::<Result<Vec<_>, _>>() {
            Ok(only) => only,
            Err(error) => return Ok(fail(error)),
        };
        let wanted = |vendor: &str, model: &str| match &only[..] {
            [] => books.vendors.iter().any(|known| known == vendor),
            only => only.iter().any(|meant| meant.is(vendor, model)),
        };
        // A file that is to be made says nothing yet.
        let book = read_book(into.as_deref().filter(|file| file.exists()))?;
        let text = match self.text() {
            Ok(text) => text,
            Err(error) => return Ok(fail(error)),
        };
        let from = self.from.unwrap_or_else(|| today(&books));
        let imported = self.read(&text, from)?;
        let found = Found::of(imported, &book, &wanted);
        if !self.dry_run
            && let Some(into) = into.as_deref().filter(|_| !found.changes.is_empty())
        {
            write(into, found.changes.iter().map(|(row, _)| row))?;
        }
        self.tell(&found, into.as_deref().filter(|_| !self.dry_run));
        if let Some(into) = into.as_deref().filter(|into| self.common.format == Format::Table && into.exists()) {
            tell_of_use(into, books.prices.as_deref());
        }
        Ok(ExitCode::SUCCESS)
    }

    fn text(&self) -> Result<String, String> {
        if self.source.contains("://") {
            return fetch(&self.source).map_err(|why| format!("`{}`: {why}", self.source));
        }
        let is_too_long = |length: u64| length > PRICE_LIST_BYTES_MAX as u64;
        let cannot = |error: std::io::Error| format!("`{}` cannot be read: {error}", self.source);
        if is_too_long(fs::metadata(&self.source).map_err(cannot)?.len()) {
            return Err(format!("`{}` is longer than {PRICE_LIST_BYTES_MAX} bytes", self.source));
        }
        fs::read_to_string(&self.source).map_err(cannot)
    }

    fn read(&self, text: &str, from: Date) -> Result<Imported, Vec<Problem>> {
        if text.trim_start().starts_with('{') {
            return import_litellm(text, from).map_err(|why| vec![Problem::of_file(&self.source, why)]);
        }
        let mut rows = Book::parse(&self.source, text)?;
        rows.0.iter_mut().for_each(|row| row.price.from = row.price.from.or(Some(from)));
        Ok(Imported { rows, left_out: Vec::new() })
    }

    fn tell(&self, found: &Found, written: Option<&Path>) {
        match self.common.format {
            Format::Json => say!("{}", found.json(written)),
            Format::Table => found.print(written),
        }
    }
}

impl Found {
    fn of(imported: Imported, book: &Book, wanted: &dyn Fn(&str, &str) -> bool) -> Self {
        let Imported { rows: Rows(mut rows), left_out } = imported;
        rows.retain(|row| wanted(&row.vendor, &row.model));
        rows.sort_by(|a, b| (&a.vendor, &a.model, a.price.from).cmp(&(&b.vendor, &b.model, b.price.from)));
        let all = rows.len();
        let changes: Vec<(Row, Change)> = rows
            .into_iter()
            .filter_map(|row| {
                let change = change(book, &row, row.price.from?)?;
                Some((row, change))
            })
            .collect();
        let is_wanted = |out: &LeftOut| out.key.split_once('/').is_some_and(|(vendor, model)| wanted(vendor, model));
        Self { same: all - changes.len(), changes, left_out: left_out.into_iter().filter(is_wanted).collect() }
    }

    fn json(&self, written: Option<&Path>) -> Value {
        let changes = self.changes.iter().map(|(row, change)| {
            let figures = change.figures.iter().map(|figure| {
                let percent = figure.per_mille.map(percent);
                json!({ "name": figure.name, "old": figure.old, "new": figure.new, "percent": percent })
            });
            json!({
                "model": change.key, "from": row.price.from.map(|day| day.to_string()), "replaces": change.replaces,
                "figures": figures.collect::<Vec<_>>(),
            })
        });
        let left_out = self.left_out.iter().map(|out| json!({ "name": out.name, "model": out.key, "why": out.why }));
        json!({
            "changes": changes.collect::<Vec<_>>(), "same": self.same, "left_out": left_out.collect::<Vec<_>>(),
            "written": written.filter(|_| !self.changes.is_empty()).map(|file| file.display().to_string()),
        })
    }

    fn print(&self, written: Option<&Path>) {
        for (row, change) in &self.changes {
            let from = row.price.from.map_or_else(String::new, |day| format!(" from {day}"));
            say!("{}{from}{}", change.key, if change.replaces.is_none() { ", not known before" } else { "" });
            for figure in &change.figures {
                let text = |figure: &Option<String>| figure.clone().unwrap_or_else(|| "unknown".to_owned());
                let by = figure.per_mille.map_or_else(String::new, |change| format!("  {}%", percent(change)));
                let mark = if is_far(figure) { "  (another unit?)" } else { "" };
                say!("  {:32} {:>12} -> {}{by}{mark}", figure.name, text(&figure.old), text(&figure.new));
            }
        }
        let mut reasons: Vec<(&str, usize)> = Vec::new();
        for out in &self.left_out {
            match reasons.iter_mut().find(|(why, _)| *why == out.why) {
                Some((_, count)) => *count += 1,
                None => reasons.push((out.why, 1)),
            }
        }
        reasons.iter().for_each(|(why, count)| say!("left out: {}, {why}", counted(*count, "model")));
        let changed = counted(self.changes.len(), "change");
        match written {
            Some(_) if self.changes.is_empty() => say!("no changes, {} as before", counted(self.same, "model")),
            Some(file) => say!("{changed} written to {}, {} as before", file.display(), counted(self.same, "model")),
            None => say!("{changed}, {} as before; nothing was written", counted(self.same, "model")),
        }
    }
}

/// Prices in a file that the configuration does not name price nothing.
fn tell_of_use(file: &Path, named: Option<&Path>) {
    let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
    let file = real(file);
    if named.map(real).as_ref() != Some(&file) {
        say!("nothing is priced by it until the configuration says `prices: {}`", file.display());
    }
}

/// Tenths of a percent as text, such as `+12.5`.
fn percent(per_mille: i64) -> String {
    let sign = if per_mille < 0 { '-' } else { '+' };
    let (whole, tenths) = (per_mille.unsigned_abs() / 10, per_mille.unsigned_abs() % 10);
    if tenths == 0 { format!("{sign}{whole}") } else { format!("{sign}{whole}.{tenths}") }
}

/// Adds rows to a price file, or makes it. What it holds stays as it is written.
fn write<'a>(file: &Path, rows: impl Iterator<Item = &'a Row>) -> Result<(), Vec<Problem>> {
    let name = file.display().to_string();
    let about = |message: String| vec![Problem::of_file(&name, message)];
    let before = match fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(about(format!("cannot be read: {error}"))),
    };
    let text = added(&before, &yaml_of(rows));
    // It was good before, so that what is wrong now is where the old and the new meet.
    if let Err(problems) = Book::parse(&name, &text) {
        let first = problems.first().map_or_else(String::new, |problem| problem.message.clone());
        let message = format!(
            "the new rows cannot be added ({first}); wanted a list in block style, a row of which begins with `- `, and for \
             a model that has a row from that day another `--from`; nothing was written"
        );
        return Err(about(message));
    }
    put(file, &text).map_err(|error| about(format!("cannot be written: {error}")))
}

fn added(before: &str, rows: &str) -> String {
    match before.trim() {
        "" | "[]" => rows.to_owned(),
        _ if before.ends_with('\n') => format!("{before}{rows}"),
        _ => format!("{before}\n{rows}"),
    }
}

/// Puts a whole file in the place of the one before, whose permissions it keeps; whoever reads meets one of both.
fn put(file: &Path, text: &str) -> std::io::Result<()> {
    let file = if file.exists() { fs::canonicalize(file)? } else { file.to_path_buf() };
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut new = tempfile::NamedTempFile::new_in(folder)?;
    new.write_all(text.as_bytes())?;
    let permissions = match fs::metadata(&file) {
        Ok(before) => before.permissions(),
        Err(_) => std::os::unix::fs::PermissionsExt::from_mode(0o644),
    };
    new.as_file().set_permissions(permissions)?;
    new.as_file().sync_all()?;
    new.persist(&file).map(drop).map_err(|error| error.error)
}

/// Fetches a list over TLS, within bounds of time and length.
fn fetch(address: &str) -> Result<String, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("cannot be fetched: {error}"))?;
    let fetched = runtime.block_on(async { tokio::time::timeout(FETCH_TIMEOUT, follow(address)).await });
    let bytes = fetched.map_err(|_| format!("no whole answer within {} s", FETCH_TIMEOUT.as_secs()))??;
    String::from_utf8(bytes.to_vec()).map_err(|_| "the answer is no text".to_owned())
}

async fn follow(address: &str) -> Result<Bytes, String> {
    let client = plain_client(FETCH_TIMEOUT);
    let mut address = address.to_owned();
    for _ in 0..=PRICE_LIST_REDIRECTS_MAX {
        let uri: Uri = address.parse().map_err(|_| "is no address".to_owned())?;
        if uri.scheme_str() != Some("https") {
            return Err(format!("prices are fetched over https only, not from `{address}`"));
        }
        let mut request = Request::new(Full::<Bytes>::default());
        *request.uri_mut() = uri;
        request.headers_mut().insert(header::USER_AGENT, header::HeaderValue::from_static("farthing"));
        let response = client.request(request).await.map_err(|error| why(&error).to_owned())?;
        let moved = response.status().is_redirection().then(|| response.headers().get(header::LOCATION)).flatten();
        if let Some(next) = moved {
            address = next.to_str().map_err(|_| "is moved to what is no address".to_owned())?.to_owned();
            continue;
        }
        if response.status() != StatusCode::OK {
            return Err(format!("the answer has status {}", response.status().as_u16()));
        }
        return match Limited::new(response.into_body(), PRICE_LIST_BYTES_MAX).collect().await {
            Ok(body) => Ok(body.to_bytes()),
            Err(error) if error.is::<LengthLimitError>() => {
                Err(format!("the answer is longer than {PRICE_LIST_BYTES_MAX} bytes"))
            }
            Err(_) => Err("the answer broke off".to_owned()),
        };
    }
    Err(format!("it is moved more than {PRICE_LIST_REDIRECTS_MAX} times"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_told_with_their_sign() {
        assert_eq!([125, -250, 1, -1, 11_500].map(percent), ["+12.5", "-25", "+0.1", "-0.1", "+1150"]);
    }

    #[test]
    fn rows_are_added_under_what_stands_there() {
        assert_eq!(added("", "- a\n"), "- a\n");
        assert_eq!(added("[]\n", "- a\n"), "- a\n");
        assert_eq!(added("# ours\n- b", "- a\n"), "# ours\n- b\n- a\n");
        assert_eq!(added("- b\n", "- a\n"), "- b\n- a\n");
    }

    #[test]
    fn nothing_is_fetched_in_clear() {
        for address in ["http://127.0.0.1:9/x", "ftp://a/x", "/x"] {
            let refused = fetch(address).expect_err(address);
            assert!(refused.contains("https only"), "{address}: {refused}");
        }
        for address in ["https://", "file:///etc/passwd"] {
            assert!(fetch(address).expect_err(address).contains("no address"), "{address}");
        }
    }
}
