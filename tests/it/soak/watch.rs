//! The gateway's process, looked at once a second, and the rules by which it is judged.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::time::{Duration, Instant};

use http::Request;
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

use crate::process::Served;

const INTERVAL: Duration = Duration::from_secs(1);
/// Ticks of the clock in which the kernel counts processor time, a second.
const TICKS: f64 = 100.0;
/// `metrics.label_values` of the configuration.
pub const LABEL_VALUES: u64 = 4;
/// Labels whose values clients choose, or may multiply; all others have closed vocabularies.
const OPEN_LABELS: [&str; 8] =
    ["team", "project", "task", "prompt", "provider", "model", "gen_ai_provider_name", "gen_ai_request_model"];
/// Most words of a closed vocabulary.
const WORDS_MAX: u64 = 64;

/// The process at one moment.
#[derive(Clone, Debug, Default)]
pub struct Sample {
    /// Resident memory.
    rss_kib: u64,
    /// Open files and sockets.
    fds: u64,
    threads: u64,
    in_flight: f64,
    body_bytes: f64,
    lag_seconds: f64,
    gaps: f64,
    /// The series on the metrics page, by their family's name.
    series: BTreeMap<String, u64>,
    /// The values that each label has on it.
    labels: BTreeMap<String, BTreeSet<String>>,
}

impl Sample {
    /// Nothing is in flight, and the tables show everything.
    pub fn is_calm(&self) -> bool {
        self.in_flight == 0.0 && self.body_bytes == 0.0 && self.lag_seconds == 0.0
    }
}

/// Samples until `end`.
pub async fn samples_until(end: Instant, served: &Served) -> Vec<Sample> {
    let mut samples = Vec::new();
    while Instant::now() < end {
        tokio::time::sleep(INTERVAL).await;
        samples.push(sample(served).await);
    }
    samples
}

/// The process as it is now.
pub async fn sample(served: &Served) -> Sample {
    let client: Client<HttpConnector, Full<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
    let request = Request::get(format!("http://{}/metrics", served.admin_listen));
    let request = request.body(Full::default()).expect("a valid request");
    let page = client.request(request).await.expect("the operators' door answers");
    let page = page.into_body().collect().await.expect("a whole page").to_bytes();
    let text = std::str::from_utf8(&page).expect("text");
    let gauge = |name: &str| {
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no `{name}` in {text}"))
    };
    let folder = format!("/proc/{}", served.id());
    let status = fs::read_to_string(format!("{folder}/status")).expect("a running process");
    let number = |name: &str| {
        let value = status.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next());
        value.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no `{name}` in {status}"))
    };
    Sample {
        rss_kib: number("VmRSS:"),
        threads: number("Threads:"),
        fds: fs::read_dir(format!("{folder}/fd")).expect("a running process").count() as u64,
        in_flight: gauge("farthing_in_flight"),
        body_bytes: gauge("farthing_body_bytes"),
        lag_seconds: gauge("farthing_ledger_lag_seconds"),
        gaps: gauge("farthing_ledger_gaps"),
        series: series(text),
        labels: labels(text),
    }
}

fn series(page: &str) -> BTreeMap<String, u64> {
    let mut series = BTreeMap::new();
    for line in page.lines().filter(|line| !line.starts_with('#')) {
        let family = line.split(['{', ' ']).next().unwrap_or_default();
        *series.entry(family.to_owned()).or_default() += 1;
    }
    series
}

/// The labels of each family as `family label`, each with its values.
fn labels(page: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut labels = BTreeMap::<String, BTreeSet<String>>::new();
    for line in page.lines().filter(|line| !line.starts_with('#')) {
        let Some((family, rest)) = line.split_once('{') else { continue };
        // No value that a client of these tests sends has a quote in it.
        let mut quoted = rest.split('"');
        while let (Some(name), Some(value)) = (quoted.next(), quoted.next()) {
            let name = name.trim_matches([',', '=']);
            labels.entry(format!("{family} {name}")).or_default().insert(value.to_owned());
        }
    }
    labels
}

/// Most series that a family can ever have, with these labels: the product of what each label may take, and where
/// team and project stand together, the room for their combinations in place of that.
fn room(family: &str, labels: &BTreeMap<String, BTreeSet<String>>) -> u64 {
    let prefix = format!("{family} ");
    let own: BTreeMap<&str, u64> = labels
        .iter()
        .filter_map(|(name, values)| Some((name.strip_prefix(&prefix)?, values.len() as u64)))
        // Beside what takes room there are `other` and `none`.
        .map(|(name, seen)| (name, if OPEN_LABELS.contains(&name) { LABEL_VALUES + 2 } else { seen.min(WORDS_MAX) }))
        .collect();
    let product = |combined: bool| {
        let among = |name: &str| ["team", "project", "tier", "provider", "model"].contains(&name);
        own.iter().filter(|(name, _)| among(name) == combined).map(|(_, values)| values).product::<u64>()
    };
    if !own.contains_key("project") {
        return own.values().product();
    }
    let of_others = product(true) / (own["team"] * own["project"]);
    (20 * LABEL_VALUES + of_others) * product(false)
}

/// What a process has computed so far.
pub fn cpu_seconds(process: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).expect("a running process");
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks = after_name.split_whitespace().skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok());
    ticks.sum::<f64>() / TICKS
}

/// One rule, what it was applied to, and whether it holds.
pub struct Verdict {
    what: String,
    early: u64,
    late: u64,
    most: u64,
    /// Whether `late` is at most `most`.
    pub holds: bool,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, early, late, most, holds } = self;
        let word = if *holds { "holds" } else { "BROKEN" };
        write!(f, "{word}: {what}: early {early}, late {late}, allowed {most}")
    }
}

impl Verdict {
    /// Medians of the last third against those of an early one, which begins after a tenth of the time: by then
    /// pools, caches and labels are full. Some slack, and then a share, since neighbours on the machine make noise.
    pub fn all(samples: &[Sample], calm: &Sample) -> Vec<Self> {
        let count = samples.len();
        let early = &samples[count / 10..count / 10 + count / 3];
        let late = &samples[count - count / 3..];
        let rule = |what: &str, value: fn(&Sample) -> u64, slack: u64, percent: u64| {
            let (early, late) = (median(early, value), median(late, value));
            Self::of(what, early, late, early + early * percent / 100 + slack)
        };
        let sockets = median(early, |sample| sample.fds);
        vec![
            rule("resident memory, KiB", |sample| sample.rss_kib, 4096, 10),
            rule("open files and sockets", |sample| sample.fds, 8, 10),
            rule("threads", |sample| sample.threads, 1, 0),
            Self::of("files and sockets at rest", sockets, calm.fds, sockets + 8),
            Self::of("records lost", 0, calm.gaps as u64, 0),
        ]
        .into_iter()
        .chain(Self::of_series(early, calm))
        .collect()
    }

    /// A rare combination may come late, and only as long as there is room for it.
    fn of_series(early: &[Sample], calm: &Sample) -> impl Iterator<Item = Self> {
        let before = early.last().cloned().unwrap_or_default().series;
        calm.series.iter().map(move |(family, late)| {
            let early = before.get(family).copied().unwrap_or_default();
            Self::of(format!("series of {family}"), early, *late, room(family, &calm.labels))
        })
    }

    fn of(what: impl Into<String>, early: u64, late: u64, most: u64) -> Self {
        Self { what: what.into(), early, late, most, holds: late <= most }
    }
}

/// The median of each tenth of the time.
pub fn memory_by_tenths(samples: &[Sample]) -> Vec<u64> {
    samples.chunks(samples.len().div_ceil(10).max(1)).map(|tenth| median(tenth, |sample| sample.rss_kib)).collect()
}

fn median(samples: &[Sample], value: fn(&Sample) -> u64) -> u64 {
    let mut values: Vec<u64> = samples.iter().map(value).collect();
    values.sort_unstable();
    values.get(values.len() / 2).copied().unwrap_or_default()
}
