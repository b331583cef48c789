//! The real binary, run as a shell or a supervisor would run it, and the ledger that it leaves.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::thread::JoinHandle;

use farthing::ledger::open_views;

pub const FARTHING: &str = env!("CARGO_BIN_EXE_farthing");

/// A running `farthing serve`. Dropping it kills it.
pub struct Served {
    child: Child,
    pub listen: String,
    pub admin_listen: String,
    log: Option<JoinHandle<String>>,
}

/// Starts `farthing serve` and kills it while it starts, after `looks` looks at its
/// configuration: a moment that no clock chooses.
pub fn start_and_kill(config: &Path, looks: u64) {
    let mut child = serve(config);
    for _ in 0..looks {
        let _ = config.metadata();
    }
    child.kill().expect("a process to kill");
    child.wait().expect("an exit status");
}

fn serve(config: &Path) -> Child {
    spawn(serving(config))
}

pub fn serving(config: &Path) -> Command {
    let mut command = Command::new(FARTHING);
    command.args(["serve", "--config"]).arg(config);
    command
}

fn spawn(mut command: Command) -> Child {
    command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the binary runs")
}

impl Served {
    /// Starts it and waits for its `listening` event.
    pub fn start(config: &Path) -> Self {
        Self::start_with(serving(config))
    }

    /// The same for a command that becomes `farthing serve`.
    pub fn start_with(command: Command) -> Self {
        let mut child = spawn(command);
        let mut stderr = BufReader::new(child.stderr.take().expect("a pipe"));
        let mut text = String::new();
        let [listen, admin_listen] = loop {
            let before = text.len();
            let read = stderr.read_line(&mut text).expect("readable logs");
            assert!(read > 0, "it ended before it listened: {text}");
            let event: serde_json::Value = serde_json::from_str(&text[before..]).unwrap_or_default();
            if event["event"] == "listening" {
                break ["listen", "admin_listen"].map(|name| event[name].as_str().expect("an address").to_owned());
            }
        };
        let log = std::thread::spawn(move || {
            stderr.read_to_string(&mut text).expect("readable logs");
            text
        });
        Self { child, listen, admin_listen, log: Some(log) }
    }

    /// `kill -9`, and its log.
    pub fn kill(mut self) -> String {
        self.child.kill().expect("a process to kill");
        self.end().1
    }

    /// Asks it to stop.
    pub fn terminate(&self) {
        self.signal("TERM");
    }

    /// Asks it to read keys and prices again.
    pub fn hang_up(&self) {
        self.signal("HUP");
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("sh").args(["-c", "kill -$1 \"$0\"", &self.id().to_string(), name]).status();
        assert!(sent.expect("a shell").success());
    }

    /// The process's id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits for its end: how it ended, and its log.
    pub fn end(&mut self) -> (ExitStatus, String) {
        let status = self.child.wait().expect("an exit status");
        let log = self.log.take().map(|log| log.join().expect("a log")).unwrap_or_default();
        (status, log)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a command to its end.
pub fn run(arguments: &[&str]) -> Output {
    Command::new(FARTHING).args(arguments).stdin(Stdio::null()).output().expect("the binary runs")
}

/// One row of `attempts_v1`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Attempt {
    pub id: String,
    pub request: String,
    pub provider: String,
    pub model: String,
    pub fate: String,
    pub source: String,
    pub provider_status: Option<i64>,
    pub low: i64,
    pub cost: Option<i64>,
    pub high: Option<i64>,
    pub bound: Option<i64>,
    pub overshoot: Option<i64>,
}

impl Attempt {
    /// The provider's word on it is known, or it failed and nobody said that it cost anything.
    pub fn is_settled(&self) -> bool {
        (self.source == "reported" || self.fate == "failed") && self.cost.is_some()
    }

    /// Whether `amount` is possible, as far as the row says.
    pub fn holds(&self, amount: i64) -> bool {
        self.low <= amount && self.high.is_none_or(|high| amount <= high)
    }
}

/// Every attempt of a ledger.
pub fn attempts(ledger: &Path) -> Vec<Attempt> {
    let views = open_views(ledger).expect("a ledger");
    let mut statement = views
        .prepare(
            "SELECT attempt_id, request_id, provider, model, fate, source, provider_status, cost_low_nano,
                cost_nano, cost_high_nano, bound_nano, overshoot_nano FROM attempts_v1 ORDER BY attempt_id",
        )
        .expect("the view's columns");
    let rows = statement.query_map([], |row| {
        Ok(Attempt {
            id: row.get(0)?,
            request: row.get(1)?,
            provider: row.get(2)?,
            model: row.get(3)?,
            fate: row.get(4)?,
            source: row.get(5)?,
            provider_status: row.get(6)?,
            low: row.get(7)?,
            cost: row.get(8)?,
            high: row.get(9)?,
            bound: row.get(10)?,
            overshoot: row.get(11)?,
        })
    });
    rows.expect("a query").collect::<Result<_, _>>().expect("rows")
}

/// How many rows of a ledger a condition finds, such as `attempts_v1 WHERE fate = 'open'`.
pub fn count(ledger: &Path, what: &str) -> i64 {
    let views = open_views(ledger).expect("a ledger");
    views.query_row(&format!("SELECT count(*) FROM {what}"), [], |row| row.get(0)).expect("a number")
}

/// Requests whose three amounts are not the sums over their attempts.
pub fn requests_that_do_not_add_up(ledger: &Path) -> i64 {
    count(
        ledger,
        "requests_v1 r WHERE (r.cost_low_nano, r.cost_nano, r.cost_high_nano) IS NOT (
            SELECT coalesce(sum(a.cost_low_nano), 0),
                CASE WHEN count(*) = count(a.cost_nano) THEN coalesce(sum(a.cost_nano), 0) END,
                CASE WHEN count(*) = count(a.cost_high_nano) THEN coalesce(sum(a.cost_high_nano), 0) END
            FROM attempts_v1 a WHERE a.request_id = r.request_id)",
    ) + count(ledger, "attempts_v1 WHERE request_id NOT IN (SELECT request_id FROM requests_v1)")
}

/// A row of numbers that looks random and is the same in every run (SplitMix64).
pub struct Chance(pub u64);

impl Chance {
    pub fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }

    pub fn pick<T: Copy>(&mut self, items: &[T]) -> T {
        items[self.below(items.len() as u64) as usize]
    }
}

/// The number that starts a test's [`Chance`]: `FARTHING_CHANCE`, else the same in every run.
pub fn chance_number() -> u64 {
    std::env::var("FARTHING_CHANCE").ok().and_then(|number| number.parse().ok()).unwrap_or(1)
}
