//! What `farthing reconcile` prints, and what it changes in the ledger.

use farthing::app;
use farthing::config;
use farthing::simulator::{ModelScript, PriceList, Provider, Reply};
use farthing::telemetry::log::Log;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::process::{attempts, run};

/// A ledger with one attempt of each kind, all of provider row `sim`, and the provider's export.
struct Books {
    folder: TempDir,
    /// Ids of the attempts in the order in which they were made.
    ids: Vec<String>,
}

impl Books {
    async fn new() -> Self {
        let luna = ModelScript::named("gpt-5.6-luna")
            .then(Reply::tokens(10))
            .then(Reply::tokens(10).without_usage())
            .then(Reply::tokens(10).resets_after(3))
            .then(Reply::status(400));
        let secretive = ModelScript::named("secretive").priced(PriceList::luna()).hides_reasoning(100).replies("ok");
        let provider = Provider::openai().model(luna).model(secretive).start().await.expect("a port");
        let folder = tempfile::tempdir().expect("a temporary folder");
        let text = format!(
            "server: {{ listen: 127.0.0.1:0, admin_listen: 127.0.0.1:0 }}\nprices: prices.yaml\n\
             dispatch: {{ retries: 0 }}\n\
             providers:\n  sim: {{ protocol: openai, vendor: openai, base_url: {}, models: [\"*\"] }}\n",
            provider.base_url()
        );
        let price = "- { model: openai/secretive, from: 2026-01-01, usd_per_million: { input: 0.2, output: 1.2 } }\n";
        let file = folder.path().join("farthing.yaml");
        std::fs::write(&file, text).expect("a file");
        std::fs::write(folder.path().join("prices.yaml"), price).expect("a file");
        let config = config::load(&file, &|_| None).expect("a valid configuration");
        let gateway = app::start(config, Some(file), Log::to(Box::new(std::io::sink()))).await.expect("a start");
        let http = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
        for model in ["gpt-5.6-luna", "gpt-5.6-luna", "gpt-5.6-luna", "gpt-5.6-luna", "secretive"] {
            let body = json!({"model": model, "messages": [{"role": "user", "content": "hi"}]});
            let request = Request::post(format!("http://{}/v1/chat/completions", gateway.listen));
            let request = request.body(Full::new(Bytes::from(body.to_string()))).expect("a valid request");
            http.request(request).await.expect("an answer").into_body().collect().await.expect("a whole one");
        }
        gateway.stop().await.expect("the ledger closes");
        provider.settled().await.expect("the invoice is final");
        let foreign = "{\"client_request_id\":\"chat-window-7\",\"cost_usd\":\"0.5\"}\n";
        std::fs::write(folder.path().join("november.jsonl"), provider.export_jsonl() + foreign).expect("a file");
        let ids = attempts(&folder.path().join("farthing.db")).into_iter().map(|row| row.id).collect();
        Self { folder, ids }
    }

    /// Imports the export; gives what is printed, with the folder and the ids named.
    fn reconcile(&self, format: &str) -> String {
        let in_folder = |name: &str| self.folder.path().join(name).display().to_string();
        let (file, config) = (in_folder("november.jsonl"), in_folder("farthing.yaml"));
        let done = run(&["reconcile", "--provider", "sim", &file, "--config", &config, "--format", format]);
        assert_eq!(String::from_utf8_lossy(&done.stderr), "");
        assert!(done.status.success());
        let mut text = String::from_utf8(done.stdout).expect("text");
        for (index, id) in self.ids.iter().enumerate() {
            text = text.replace(id, &format!("<attempt {}>", index + 1));
        }
        text.replace(&in_folder(""), "<folder>/")
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_reads_what_was_settled_and_what_was_not() {
    let books = Books::new().await;
    insta::assert_snapshot!(books.reconcile("table"), @r#"
    <folder>/november.jsonl: 5 rows of `sim` for 0.5001636 USD
    matched                            4  0.0001636 USD
      unchanged                        1  0.0000136 USD
      corrected                        2  0.0000272 USD
        outside the interval           0  0 USD
      differences                      1  0.0001228 USD
          <attempt 5>: reported 0.0000028 USD, billed 0.0001228 USD
    unmatched                          1  0.5 USD
          chat-window-7
    still in doubt                     0
    "#);
    insta::assert_snapshot!(books.reconcile("table"), @r#"
    <folder>/november.jsonl: 5 rows of `sim` for 0.5001636 USD
    matched                            4  0.0001636 USD
      unchanged                        3  0.0000408 USD
      corrected                        0  0 USD
        outside the interval           0  0 USD
      differences                      1  0.0001228 USD
          <attempt 5>: reported 0.0000028 USD, billed 0.0001228 USD
    unmatched                          1  0.5 USD
          chat-window-7
    still in doubt                     0
    "#);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_reads_the_same_in_nano_dollars() {
    let books = Books::new().await;
    let report: Value = serde_json::from_str(&books.reconcile("json")).expect("one JSON object");
    insta::assert_snapshot!(format!("{report:#}"), @r#"
    {
      "corrected": 2,
      "corrected_nano_usd": 27200,
      "differences": [
        {
          "attempt_id": "<attempt 5>",
          "export_nano_usd": 122800,
          "high_nano_usd": 2800,
          "ledger_nano_usd": 2800,
          "low_nano_usd": 2800
        }
      ],
      "file": "<folder>/november.jsonl",
      "in_doubt": 0,
      "matched": 4,
      "matched_nano_usd": 163600,
      "outside_interval": [],
      "provider": "sim",
      "rows": 5,
      "rows_nano_usd": 500163600,
      "unchanged": 1,
      "unchanged_nano_usd": 13600,
      "unmatched": 1,
      "unmatched_ids": [
        "chat-window-7"
      ],
      "unmatched_nano_usd": 500000000
    }
    "#);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn corrected_rows_say_which_export_corrected_them() {
    let books = Books::new().await;
    books.reconcile("table");
    let views = farthing::ledger::open_views(&books.folder.path().join("farthing.db")).expect("a ledger");
    let mut statement = views.prepare("SELECT attempt_id, fate, source, export FROM attempts_v1").expect("its columns");
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)));
    let rows: Vec<(String, String, String, Option<String>)> =
        rows.expect("a query").collect::<Result<_, _>>().expect("rows");
    let told: Vec<_> =
        rows.iter().map(|(_, fate, source, export)| (fate.as_str(), source.as_str(), export.as_deref())).collect();
    let november = Some("november.jsonl");
    assert_eq!(
        told,
        [
            ("completed", "reported", None),
            ("completed", "reported", november),
            ("interrupted", "reported", november),
            ("failed", "reported", None),
            ("completed", "reported", None),
        ]
    );
}
