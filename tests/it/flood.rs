//! Names that clients make up without end: the metrics stay small, and the ledger still has every one of them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::ops::Range;
use std::sync::Arc;

use farthing::simulator::{ModelScript, Provider};
use rusqlite::types::Value as Cell;
use tokio::task::JoinSet;

use crate::support::{ASK, Setup, World};

/// `metrics.label_values` of these tests.
const VALUES_MAX: usize = 20;
/// Requests, each with names that no other has, but for teams, projects and models, which are combined anew each time.
const REQUESTS: usize = 1_500;
const TEAMS: usize = 35;
const PROJECTS: usize = 36;
const MODELS: usize = 37;
/// Requests in the air together.
const TOGETHER: usize = 16;

async fn world() -> World {
    let mut prices = String::new();
    for number in 0..MODELS {
        writeln!(prices, "- {{ model: openai/m-{number}, usd_per_million: {{ input: 1, output: 2 }} }}")
            .expect("a string takes it");
    }
    let setup = Setup::of(Provider::openai().model(ModelScript::named("*").replies("ok"))).file("prices.yaml", &prices);
    setup.more(&format!("prices: prices.yaml\nmetrics: {{ label_values: {VALUES_MAX} }}")).start().await
}

/// One request in `number`'s own names.
async fn ask(world: &World, number: usize) {
    let model = if number % 10 == 9 { format!("invented-{number}") } else { format!("m-{}", number % MODELS) };
    let names = [
        ("x-farthing-team", format!("team-{}", number % TEAMS)),
        ("x-farthing-project", format!("project-{}", number % PROJECTS)),
        ("x-farthing-pipeline", format!("pipeline-{number}")),
        ("x-farthing-user", format!("user-{number}")),
        ("x-farthing-run", format!("run-{number}")),
        ("x-farthing-prompt", format!("prompt-{number}")),
        ("x-farthing-task", format!("task-{number}")),
    ];
    let headers: Vec<(&str, &str)> = names.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let got = world.chat_as(ASK.replace("gpt-5.6-luna", &model), &headers).await;
    assert_eq!(got.status, 200, "{}", got.text());
}

async fn flood(world: &Arc<World>, numbers: Range<usize>) {
    let mut lanes = JoinSet::new();
    for lane in 0..TOGETHER {
        let (world, numbers) = (Arc::clone(world), numbers.clone().skip(lane).step_by(TOGETHER));
        lanes.spawn(async move {
            for number in numbers {
                ask(&world, number).await;
            }
        });
    }
    lanes.join_all().await;
}

/// A metrics page, its series taken apart.
struct Page {
    text: String,
    /// The values of each label.
    values: BTreeMap<String, BTreeSet<String>>,
    /// The distinct sets of labels of `farthing_cost_usd_total`.
    combinations: usize,
}

async fn page(world: &World) -> Page {
    let text = world.admin("/metrics", &[]).await.text().to_owned();
    let mut values: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let Some((labels, _)) = line.split_once('{').and_then(|(_, rest)| rest.rsplit_once('}')) else { continue };
        for (name, value) in labels.split("\",").filter_map(|pair| pair.split_once("=\"")) {
            values.entry(name.to_owned()).or_default().insert(value.trim_end_matches('"').to_owned());
        }
    }
    let combinations = text.lines().filter(|line| line.starts_with("farthing_cost_usd_total{")).count();
    Page { text, values, combinations }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_names_fills_the_ledger_and_not_the_metrics() {
    let world = Arc::new(world().await);
    flood(&world, 0..REQUESTS / 2).await;
    let halfway = page(&world).await;
    flood(&world, REQUESTS / 2..REQUESTS).await;
    let page = page(&world).await;

    for (label, values) in page.values.iter().filter(|(label, _)| *label != "le") {
        // Its own values, and `other` and `none`.
        assert!(values.len() <= VALUES_MAX + 2, "`{label}` has {} values: {values:?}", values.len());
    }
    for label in ["user", "run", "pipeline"] {
        assert!(!page.values.contains_key(label), "`{label}` is no label");
        assert!(!page.text.contains(&format!("{label}-1")), "no {label} is named");
    }
    // Room for ten times as many combinations, for as many again without their project, and for one of each model.
    let most = 20 * VALUES_MAX + VALUES_MAX + 1;
    assert!(page.combinations <= most, "{} combinations, wanted at most {most}", page.combinations);
    assert!(
        page.text.len() <= halfway.text.len() * 11 / 10,
        "the page had {} bytes halfway, and {} at the end",
        halfway.text.len(),
        page.text.len()
    );
    // Whatever the labels, nothing is left out of the sums.
    assert_eq!(world.metric("farthing_requests_total", "").await, REQUESTS as f64);
    assert_eq!(world.metric("farthing_attempts_total", "").await, REQUESTS as f64);
    let booked = world.rows("select sum(cost_nano) from attempts_v1").remove(0).remove(0);
    let counted = (world.metric("farthing_cost_usd_total", "").await * 1e9).round() as i64;
    assert_eq!(booked, Cell::Integer(counted));

    let names = "count(*), count(distinct pipeline), count(distinct user), count(distinct run), count(distinct prompt), \
                 count(distinct task), count(distinct team || '/' || project)";
    let all = i64::try_from(REQUESTS).expect("a small number");
    let pairs = i64::try_from(TEAMS * PROJECTS).expect("a small number").min(all);
    let counts = world.rows(&format!("select {names} from requests_v1")).remove(0);
    assert_eq!(counts, [all, all, all, all, all, all, pairs].map(Cell::Integer));
}
