//! The arrows between rooms go one way: every `use crate::…` line points to a lower layer, or is listed here with a reason.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// From the ground up. A room may use rooms of lower layers; inside a layer only the exceptions below.
const LAYERS: &[(&str, &[&str])] = &[
    (
        "nouns",
        &[
            "ids", "money", "task", "call", "dialect", "plan", "prompt", "reply", "limits", "memory", "hashed",
            "problem", "yaml",
        ],
    ),
    (
        "thinking",
        &["wire", "translate", "tokens", "cost", "vectors", "policy", "classify", "route", "budget", "report", "bill"],
    ),
    ("piped", &["decoding", "providers", "ledger", "telemetry", "config", "keys", "simulator"]),
    ("accounting", &["meter", "webhooks"]),
    ("hallway", &["gateway"]),
    ("doors", &["server", "admin"]),
    ("house", &["app"]),
    ("street", &["cli"]),
];

/// Arrows inside a layer, each with its reason.
const INSIDE: &[(&str, &str, &str)] = &[
    ("call", "dialect", "a door speaks one"),
    ("call", "ids", "a call names who pays"),
    ("call", "memory", "a call holds the memory of its body"),
    ("call", "prompt", "a call carries the view of its body"),
    ("call", "task", "a call may pin a tier"),
    ("memory", "limits", "the places to decode in are bounded"),
    ("plan", "ids", "a plan names its targets"),
    ("plan", "task", "a plan has a tier"),
    ("prompt", "limits", "nesting is bounded"),
    ("problem", "limits", "only so many problems are told"),
    ("reply", "money", "a provider may say what it charges"),
    ("yaml", "problem", "places and findings are its words"),
    ("translate", "wire", "what a vendor takes is a habit of its"),
    ("classify", "policy", "a policy is what requests are classified by"),
    ("classify", "vectors", "words are compared by their vectors"),
    ("route", "policy", "a policy says where work belongs"),
    ("route", "tokens", "an example is measured as requests are"),
    ("route", "classify", "what a request was taken for decides its tier"),
    ("providers", "config", "a row is built from its configuration"),
    ("providers", "decoding", "an answer may come encoded"),
    ("ledger", "config", "`durability` and `when_it_fails` are the configuration's words"),
    ("keys", "config", "a stored key is a key of the configuration, and in its words"),
    ("admin", "server", "readiness is the agents' door's"),
];

/// Rooms that think take values and return values.
const PURE: &[&str] =
    &["wire", "translate", "tokens", "cost", "vectors", "policy", "classify", "route", "budget", "report", "bill"];
const IMPURE: &[&str] =
    &["tokio::", "std::fs", "std::env", "std::net", "SystemTime", "Instant::now", "async fn", "prometheus"];

#[test]
fn arrows_point_down() {
    let mut wrong = Vec::new();
    let mut used = BTreeSet::new();
    for (room, file, text) in sources() {
        for (number, line) in text.lines().enumerate() {
            for target in targets(line) {
                if target == room || allowed(&room, &target, &mut used) {
                    continue;
                }
                wrong.push(format!("{}:{}: `{room}` may not use `{target}`", file.display(), number + 1));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let stale: Vec<_> = INSIDE.iter().filter(|(from, to, _)| !used.contains(&(*from, *to))).collect();
    assert!(stale.is_empty(), "exceptions that nothing uses: {stale:?}");
}

#[test]
fn rooms_that_think_do_nothing_else() {
    let mut wrong = Vec::new();
    for (room, file, text) in sources().into_iter().filter(|(room, ..)| PURE.contains(&room.as_str())) {
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        for word in IMPURE.iter().filter(|word| code.contains(**word)) {
            wrong.push(format!("{}: `{room}` thinks and may not use `{word}`", file.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_room_has_a_layer() {
    let known: BTreeSet<&str> = LAYERS.iter().flat_map(|(_, rooms)| rooms.iter().copied()).collect();
    let rooms: BTreeSet<String> =
        sources().into_iter().map(|(room, ..)| room).filter(|room| room != "lib" && room != "main").collect();
    assert_eq!(rooms, known.into_iter().map(str::to_owned).collect());
}

#[test]
fn every_file_says_what_it_owns_and_stays_readable() {
    for (_, file, text) in sources() {
        let is_tests = file.components().any(|part| part.as_os_str() == "tests") || file.ends_with("tests.rs");
        assert!(is_tests || text.starts_with("//!"), "{} does not say what it owns", file.display());
        assert!(text.lines().count() <= 600, "{} is longer than 600 lines: where is the seam?", file.display());
    }
}

fn layer(room: &str) -> Option<usize> {
    LAYERS.iter().position(|(_, rooms)| rooms.contains(&room))
}

fn allowed(room: &str, target: &str, used: &mut BTreeSet<(&'static str, &'static str)>) -> bool {
    if room == "lib" || room == "main" {
        return true;
    }
    if let Some((from, to, _)) = INSIDE.iter().find(|(from, to, _)| *from == room && *to == target) {
        used.insert((from, to));
        return true;
    }
    layer(room) > layer(target)
}

/// The rooms that a line uses: `use crate::room…`, `pub use crate::room…`, or `crate::room::` in an expression.
fn targets(line: &str) -> Vec<String> {
    let line = line.trim_start();
    if line.starts_with("//") {
        return Vec::new();
    }
    let ident = |rest: &str| rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    line.match_indices("crate::")
        .map(|(at, found)| ident(&line[at + found.len()..]))
        .filter(|name| !name.is_empty())
        .collect()
}

/// Every source file with the room that it belongs to.
fn sources() -> Vec<(String, PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    collect(&root, &mut files);
    let read = |file: PathBuf| {
        let inside = file.strip_prefix(&root).expect("a file under src").to_owned();
        let first = inside.components().next().expect("a name").as_os_str().to_string_lossy();
        let text = fs::read_to_string(&file).expect("readable source");
        (first.trim_end_matches(".rs").to_owned(), inside, text)
    };
    files.into_iter().map(read).collect()
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a readable folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}
