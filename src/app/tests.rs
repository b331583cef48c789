//! What a client sees of a ledger that must survive a power cut, over a disk that can be held.

use std::sync::{Condvar, Mutex};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;

use super::*;
use crate::config;
use crate::simulator::{ModelScript, Provider, Reply, Running as Simulator};

const ASK: &str = r#"{"model":"gpt-5.6-luna","messages":[{"role":"user","content":"hi"}]}"#;
const ASK_STREAM: &str = r#"{"model":"gpt-5.6-luna","stream":true,"messages":[{"role":"user","content":"hi"}]}"#;

/// What `future` gives; a test that waits in vain says for what, and ends.
async fn soon<F: Future>(awaited: &str, future: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(20), future)
        .await
        .unwrap_or_else(|_| panic!("waited in vain for {awaited}"))
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Disk {
    Takes,
    Hangs,
    Refuses,
}

/// How the disk is, and how many syncs hang.
#[derive(Clone)]
struct Held(Arc<(Mutex<(Disk, u64)>, Condvar)>);

impl Held {
    fn set(&self, disk: Disk) {
        self.0.0.lock().expect("nobody panics").0 = disk;
        self.0.1.notify_all();
    }

    /// Waits until a sync hangs.
    async fn hangs(&self) {
        let waiting = async {
            while self.0.0.lock().expect("nobody panics").1 == 0 {
                tokio::task::yield_now().await;
            }
        };
        soon("a sync that hangs", waiting).await;
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.0.0.lock().expect("nobody panics");
        state.1 += 1;
        let mut state = self.0.1.wait_while(state, |state| state.0 == Disk::Hangs).expect("nobody panics");
        state.1 -= 1;
        if state.0 == Disk::Refuses { Err(io::Error::other("the disk is on fire")) } else { Ok(()) }
    }
}

struct House {
    running: Running,
    provider: Simulator,
    disk: Held,
    folder: tempfile::TempDir,
}

impl Drop for House {
    /// The ledger's threads are waited for, also by a test that failed while one of them hung.
    fn drop(&mut self) {
        self.disk.set(Disk::Takes);
    }
}

impl House {
    async fn new(reply: Reply, ledger: &str) -> Self {
        Self::logging(reply, ledger, Log::to(Box::new(io::sink()))).await
    }

    async fn logging(reply: Reply, ledger: &str, log: Log) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let provider = Provider::openai().model(ModelScript::named("gpt-5.6-luna").then(reply));
        let provider = soon("the provider", provider.start()).await.expect("a port");
        let text = format!(
            "server: {{ listen: 127.0.0.1:0, admin_listen: 127.0.0.1:0 }}\nledger: {{ durability: power{ledger} }}\n\
             providers:\n  sim: {{ protocol: openai, vendor: openai, base_url: {}, models: [\"*\"] }}\n",
            provider.base_url()
        );
        let config = config::parse("farthing.yaml", &text, folder.path(), &|_| None);
        let running = start(config.expect("a configuration"), None, log);
        let running = soon("the start", running).await.expect("it starts");
        let disk = Held(Arc::new((Mutex::new((Disk::Takes, 0)), Condvar::new())));
        let of_ledger = disk.clone();
        running.accounts.ledger.pretend_sync(move || of_ledger.sync());
        Self { running, provider, disk, folder }
    }

    fn post(&self, body: &'static str) -> Asked {
        let request = Request::post(format!("http://{}/v1/chat/completions", self.running.listen));
        let request = request.body(Full::new(Bytes::from_static(body.as_bytes()))).expect("a request");
        let client = Client::builder(TokioExecutor::new()).build_http();
        Asked(tokio::spawn(async move { client.request(request).await.expect("an answer") }))
    }

    fn attempts(&self) -> Vec<(String, Option<i64>)> {
        self.running.accounts.ledger.sync_views(Duration::from_secs(10)).expect("the views catch up");
        let views = self.running.accounts.ledger.views().expect("views");
        let mut found = views.prepare("SELECT fate, cost_nano FROM attempts_v1").expect("a query");
        let found = found.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).expect("rows");
        found.collect::<Result<_, _>>().expect("rows")
    }
}

/// A request on its way.
struct Asked(JoinHandle<Response<Incoming>>);

impl Asked {
    fn is_answered(&self) -> bool {
        self.0.is_finished()
    }

    async fn answer(self) -> Response<Incoming> {
        soon("an answer", self.0).await.expect("it ends")
    }
}

/// Gives whole batches of log lines on.
struct Lines(tokio::sync::mpsc::UnboundedSender<String>);

impl io::Write for Lines {
    fn write(&mut self, batch: &[u8]) -> io::Result<usize> {
        // The test has ended.
        let _ = self.0.send(String::from_utf8_lossy(batch).into_owned());
        Ok(batch.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_tells_why_the_views_stand_still_and_that_they_go_on() {
    let (lines, mut log) = tokio::sync::mpsc::unbounded_channel();
    let house = House::logging(Reply::tokens(3), "", Log::to(Box::new(Lines(lines)))).await;
    let mut logged = async |event: &str| {
        let waited = async {
            loop {
                let batch = log.recv().await.expect("the log goes on");
                if let Some(line) = batch.lines().find(|line| line.contains(event)) {
                    return line.to_owned();
                }
            }
        };
        soon(event, waited).await
    };
    // A folder where the next segment would be, and a reason to begin one.
    let blocked = house.folder.path().join("farthing.db.journal-000002");
    std::fs::create_dir(&blocked).expect("a folder");
    house.disk.set(Disk::Refuses);
    assert_eq!(house.post(ASK).answer().await.status(), 503);
    assert!(logged("ledger_behind").await.contains("journal-000002`: Is a directory"));
    std::fs::remove_dir(&blocked).expect("it goes");
    house.disk.set(Disk::Takes);
    logged("ledger_caught_up").await;
    assert_eq!(house.post(ASK).answer().await.status(), 200);
}

/// The next piece of a reply, as text.
async fn piece(response: &mut Response<Incoming>) -> Option<String> {
    let data =
        soon("a piece of the reply", response.frame()).await?.expect("an unbroken body").into_data().expect("data");
    Some(String::from_utf8(data.to_vec()).expect("text"))
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_leaves_before_its_intent_is_on_the_disk() {
    let house = House::new(Reply::tokens(3), "").await;
    house.disk.set(Disk::Hangs);
    let asked = house.post(ASK);
    house.disk.hangs().await;
    assert!(!asked.is_answered());
    assert_eq!(house.provider.arrivals(), 0);
    house.disk.set(Disk::Takes);
    assert_eq!(asked.answer().await.status(), 200);
    assert_eq!(house.provider.arrivals(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_whose_intent_the_disk_refuses_is_withdrawn() {
    let house = House::new(Reply::tokens(3), "").await;
    house.disk.set(Disk::Refuses);
    let refused = house.post(ASK).answer().await;
    assert_eq!((refused.status().as_u16(), house.provider.arrivals()), (503, 0));
    house.disk.set(Disk::Takes);
    // Where the refusal met the attempt decides whether it has a row; that row cost nothing.
    assert!(house.attempts().iter().all(|row| *row == ("failed".to_owned(), Some(0))), "{:?}", house.attempts());
}

#[tokio::test(flavor = "multi_thread")]
async fn in_mode_allow_an_attempt_leaves_all_the_same() {
    let house = House::new(Reply::tokens(3), ", when_it_fails: allow").await;
    house.disk.set(Disk::Refuses);
    assert_eq!(house.post(ASK).answer().await.status(), 200);
    house.disk.set(Disk::Takes);
    let attempts = house.attempts();
    assert!(matches!(&attempts[..], [(fate, Some(_))] if fate == "completed"), "{attempts:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_answer_waits_until_its_outcome_is_on_the_disk() {
    let house = House::new(Reply::tokens(3).stalls_after(0), "").await;
    let asked = house.post(ASK);
    house.provider.arrival(1).await.expect("its intent is on the disk");
    house.disk.set(Disk::Hangs);
    house.provider.release();
    house.disk.hangs().await;
    assert!(!asked.is_answered());
    house.disk.set(Disk::Takes);
    assert_eq!(asked.answer().await.status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_stream_only_the_end_waits_for_the_disk() {
    let reply = || Reply::tokens(3).stalls_after(1);
    for (reply, with_done) in [(reply(), true), (reply().without_done(), false)] {
        let house = House::new(reply, "").await;
        let mut response = house.post(ASK_STREAM).answer().await;
        let mut text = piece(&mut response).await.expect("the first event");
        house.disk.set(Disk::Hangs);
        house.provider.release();
        while !text.contains("\"finish_reason\":\"stop\"") {
            text += &piece(&mut response).await.expect("events go on while the disk hangs");
        }
        house.disk.hangs().await;
        let next = tokio::time::timeout(Duration::from_millis(50), piece(&mut response)).await;
        assert!(next.is_err(), "the end waits: {next:?}");
        assert!(!text.contains("[DONE]") && !text.contains("x-farthing-cost-usd"), "{text}");
        house.disk.set(Disk::Takes);
        while let Some(more) = piece(&mut response).await {
            text += &more;
        }
        assert_eq!(text.ends_with("data: [DONE]\n\n"), with_done, "{text}");
        assert_eq!(house.attempts()[0].0, "completed");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_paid_for_is_given_even_if_the_disk_refuses_its_outcome() {
    let house = House::new(Reply::tokens(3).stalls_after(1), "").await;
    let mut response = house.post(ASK_STREAM).answer().await;
    let mut text = piece(&mut response).await.expect("the first event");
    house.disk.set(Disk::Refuses);
    house.provider.release();
    while let Some(more) = piece(&mut response).await {
        text += &more;
    }
    assert!(text.ends_with("data: [DONE]\n\n"), "{text}");
    house.disk.set(Disk::Takes);
    assert_eq!(house.attempts()[0].0, "completed", "the kernel had it, and so have the tables");
}
