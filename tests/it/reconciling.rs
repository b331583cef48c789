//! What `farthing reconcile` prints, and what it changes in the ledger.

use farthing::app;
use farthing::config;
use farthing::simulator::{ExportShape, ModelScript, PriceList, Provider, Reply};
use farthing::telemetry::log::Log;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::process::{attempts, run};
use crate::support::{Setup, ask, luna};

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
            .then(Reply::status(400))
            .then(Reply::tokens(20));
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
        for model in ["gpt-5.6-luna", "gpt-5.6-luna", "gpt-5.6-luna", "gpt-5.6-luna", "gpt-5.6-luna", "secretive"] {
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

    /// Changes the export: of each line that names an attempt, by its number from 1.
    fn edit_export(&self, edit: impl Fn(usize, &str) -> Option<String>) {
        let file = self.folder.path().join("november.jsonl");
        let text = std::fs::read_to_string(&file).expect("a file");
        let lines = text.lines().filter_map(|line| {
            let named = self.ids.iter().position(|id| line.contains(id.as_str()));
            named.map_or(Some(line.to_owned()), |index| edit(index + 1, line))
        });
        std::fs::write(&file, lines.collect::<Vec<_>>().join("\n")).expect("a file");
    }

    /// Imports the export; gives what is printed, with the folder, the ids and the times named.
    fn reconcile(&self, options: &[&str]) -> String {
        let in_folder = |name: &str| self.folder.path().join(name).display().to_string();
        let (file, config) = (in_folder("november.jsonl"), in_folder("farthing.yaml"));
        let done = run(&[&["reconcile", "--provider", "sim", &file, "--config", &config], options].concat());
        assert_eq!(String::from_utf8_lossy(&done.stderr), "");
        assert!(done.status.success());
        let mut text = String::from_utf8(done.stdout).expect("text");
        for (index, id) in self.ids.iter().enumerate() {
            text = text.replace(id, &format!("<attempt {}>", index + 1));
        }
        let (from, until) = self.times();
        for (ms, name, number) in [(from, "<first>", "1"), (until, "<last>", "2")] {
            let instant = jiff::Timestamp::from_millisecond(ms).expect("a time").to_string();
            text = text.replacen(&instant, name, 1).replacen(&ms.to_string(), number, 1);
        }
        text.replace(&in_folder(""), "<folder>/")
    }

    /// When the first and the last attempt left.
    fn times(&self) -> (i64, i64) {
        let views = farthing::ledger::open_views(&self.folder.path().join("farthing.db")).expect("a ledger");
        let times = "SELECT min(at_ms), max(at_ms) FROM attempts_v1";
        views.query_row(times, [], |row| Ok((row.get(0)?, row.get(1)?))).expect("two times")
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_id_of_an_export_steers_the_terminal() {
    let books = Books::new().await;
    let lines = "client_request_id,cost_usd\n\"chat\u{1b}[2J\u{9b}\",0.5\n";
    std::fs::write(books.folder.path().join("november.jsonl"), lines).expect("a file");
    for format in ["table", "csv"] {
        let told = books.reconcile(&["--format", format]);
        assert!(told.contains("chat") && !told.contains(['\u{1b}', '\u{9b}']), "{format}: {told:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_reads_what_was_settled_and_what_was_not() {
    let books = Books::new().await;
    insta::assert_snapshot!(books.reconcile(&[]), @r#"
    <folder>/november.jsonl: 6 rows of `sim` for 0.5001892 USD
    in both                                    5  0.0001892 USD
      unchanged                                2  0.0000392 USD
      corrected                                2  0.0000272 USD
        outside the interval                   0  0 USD
      differences                              1  0.0001228 USD
          <attempt 6>: reported 0.0000028 USD, the export says 0.0001228 USD; output 1, the export says 101; output 1 of which reasoning 0, the export says 100
    in the export, not in the ledger           1  0.5 USD
          chat-window-7
    in the ledger, not in the export           0  0 USD
    still in doubt                             0

    between <first> and <last>
      the export            0.5001892 USD
      the ledger before     0.0000586 USD
      the ledger now        0.0000692 USD
      residual              0.50012 USD        the export less the ledger
        differences         0.00012 USD        the provider bills other than it had reported
        not in the ledger   0.5 USD            other software, or another ledger, used the account
    "#);
    insta::assert_snapshot!(books.reconcile(&[]), @r#"
    <folder>/november.jsonl: 6 rows of `sim` for 0.5001892 USD
    in both                                    5  0.0001892 USD
      unchanged                                4  0.0000664 USD
      corrected                                0  0 USD
        outside the interval                   0  0 USD
      differences                              1  0.0001228 USD
          <attempt 6>: reported 0.0000028 USD, the export says 0.0001228 USD; output 1, the export says 101; output 1 of which reasoning 0, the export says 100
    in the export, not in the ledger           1  0.5 USD
          chat-window-7
    in the ledger, not in the export           0  0 USD
    still in doubt                             0

    between <first> and <last>
      the export            0.5001892 USD
      the ledger now        0.0000692 USD
      residual              0.50012 USD        the export less the ledger
        differences         0.00012 USD        the provider bills other than it had reported
        not in the ledger   0.5 USD            other software, or another ledger, used the account
    "#);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_reads_what_the_export_lacks() {
    let books = Books::new().await;
    books.edit_export(|attempt, line| [1, 6].contains(&attempt).then(|| line.to_owned()));
    insta::assert_snapshot!(books.reconcile(&[]), @r#"
    <folder>/november.jsonl: 3 rows of `sim` for 0.5001364 USD
    in both                                    2  0.0001364 USD
      unchanged                                1  0.0000136 USD
      corrected                                0  0 USD
        outside the interval                   0  0 USD
      differences                              1  0.0001228 USD
          <attempt 6>: reported 0.0000028 USD, the export says 0.0001228 USD; output 1, the export says 101; output 1 of which reasoning 0, the export says 100
    in the export, not in the ledger           1  0.5 USD
          chat-window-7
    in the ledger, not in the export           3  0.0000422 USD
          <attempt 2>: estimated at 0.0000166 USD, 0 to 0.307234 USD
          <attempt 3>: in doubt, 0 to 0.307234 USD
          <attempt 5>: reported 0.0000256 USD
    still in doubt                             2  0 to 0.614468 USD

    between <first> and <last>
      the export            0.5001364 USD
      the ledger now        0.0000586 USD
      residual              0.5000778 USD      the export less the ledger
        differences         0.00012 USD        the provider bills other than it had reported
        not in the ledger   0.5 USD            other software, or another ledger, used the account
        not in the export   -0.0000422 USD     not billed yet, or the export is not complete
      in doubt              0 to 0.614468 USD  not in the export; 0 if it is complete (--complete)
    "#);
    insta::assert_snapshot!(books.reconcile(&["--complete"]), @r#"
    <folder>/november.jsonl: 3 rows of `sim` for 0.5001364 USD
    in both                                    2  0.0001364 USD
      unchanged                                1  0.0000136 USD
      corrected                                0  0 USD
        outside the interval                   0  0 USD
      differences                              2  0.0001228 USD
          <attempt 6>: reported 0.0000028 USD, the export says 0.0001228 USD; output 1, the export says 101; output 1 of which reasoning 0, the export says 100
          <attempt 5>: reported 0.0000256 USD, the export does not name it
    in the export, not in the ledger           1  0.5 USD
          chat-window-7
    in the ledger, not in the export           0  0 USD
    settled at 0: not in the export            2
          <attempt 2>: estimated at 0.0000166 USD, 0 to 0.307234 USD
          <attempt 3>: in doubt, 0 to 0.307234 USD
    still in doubt                             0

    between <first> and <last>
      the export            0.5001364 USD
      the ledger before     0.0000586 USD
      the ledger now        0.000042 USD
      residual              0.5000944 USD      the export less the ledger
        differences         0.0000944 USD      the provider bills other than it had reported
        not in the ledger   0.5 USD            other software, or another ledger, used the account
    "#);
    insta::assert_snapshot!(books.reconcile(&["--complete"]), @r#"
    <folder>/november.jsonl: 3 rows of `sim` for 0.5001364 USD
    in both                                    2  0.0001364 USD
      unchanged                                1  0.0000136 USD
      corrected                                0  0 USD
        outside the interval                   0  0 USD
      differences                              2  0.0001228 USD
          <attempt 6>: reported 0.0000028 USD, the export says 0.0001228 USD; output 1, the export says 101; output 1 of which reasoning 0, the export says 100
          <attempt 5>: reported 0.0000256 USD, the export does not name it
    in the export, not in the ledger           1  0.5 USD
          chat-window-7
    in the ledger, not in the export           0  0 USD
    still in doubt                             0

    between <first> and <last>
      the export            0.5001364 USD
      the ledger now        0.000042 USD
      residual              0.5000944 USD      the export less the ledger
        differences         0.0000944 USD      the provider bills other than it had reported
        not in the ledger   0.5 USD            other software, or another ledger, used the account
    "#);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_that_differ_are_told_also_when_the_amounts_agree() {
    let books = Books::new().await;
    books.edit_export(|attempt, line| match attempt {
        1 => Some(line.replace("\"cached_input_tokens\":0", "\"cached_input_tokens\":5")),
        5 => Some(line.replace("\"output_tokens\":20", "\"output_tokens\":21")),
        6 => Some(line.to_owned()),
        _ => None,
    });
    insta::assert_snapshot!(books.reconcile(&[]), @r#"
    <folder>/november.jsonl: 4 rows of `sim` for 0.500162 USD
    in both                                    3  0.000162 USD
      unchanged                                0  0 USD
      corrected                                0  0 USD
        outside the interval                   0  0 USD
      differences                              3  0.000162 USD
          <attempt 1>: reported 0.0000136 USD, as the export says; input 8 of which cached 0, the export says 5
          <attempt 5>: reported 0.0000256 USD, as the export says; output 20, the export says 21
          <attempt 6>: reported 0.0000028 USD, the export says 0.0001228 USD; output 1, the export says 101; output 1 of which reasoning 0, the export says 100
    in the export, not in the ledger           1  0.5 USD
          chat-window-7
    in the ledger, not in the export           2  0.0000166 USD
          <attempt 2>: estimated at 0.0000166 USD, 0 to 0.307234 USD
          <attempt 3>: in doubt, 0 to 0.307234 USD
    still in doubt                             2  0 to 0.614468 USD

    between <first> and <last>
      the export            0.500162 USD
      the ledger now        0.0000586 USD
      residual              0.5001034 USD      the export less the ledger
        differences         0.00012 USD        the provider bills other than it had reported
        not in the ledger   0.5 USD            other software, or another ledger, used the account
        not in the export   -0.0000166 USD     not billed yet, or the export is not complete
      in doubt              0 to 0.614468 USD  not in the export; 0 if it is complete (--complete)
    "#);
    let report: Value = serde_json::from_str(&books.reconcile(&["--format", "json"])).expect("one JSON object");
    assert_eq!(report["differences"][0]["tokens"], json!({"cached_input_tokens": {"ledger": 0, "export": 5}}));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_export_that_names_no_attempt_settles_nothing() {
    let books = Books::new().await;
    books.edit_export(|_, _| None);
    insta::assert_snapshot!(books.reconcile(&["--complete"]), @r#"
    <folder>/november.jsonl: 1 row of `sim` for 0.5 USD
    in both                                    0  0 USD
      unchanged                                0  0 USD
      corrected                                0  0 USD
        outside the interval                   0  0 USD
      differences                              0  0 USD
    in the export, not in the ledger           1  0.5 USD
          chat-window-7
    in the ledger, not in the export           0  0 USD
    still in doubt                             2  0 to 0.614468 USD

    the export names no attempt of `sim`: there is no time to compare
    "#);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_reads_the_same_in_nano_dollars() {
    let books = Books::new().await;
    books.edit_export(|attempt, line| (attempt != 3).then(|| line.to_owned()));
    let report: Value = serde_json::from_str(&books.reconcile(&["--format", "json"])).expect("one JSON object");
    insta::assert_snapshot!(format!("{report:#}"), @r#"
    {
      "corrected": 1,
      "corrected_nano_usd": 13600,
      "credits": 0,
      "credits_nano_usd": 0,
      "decimals": 9,
      "differences": [
        {
          "attempt_id": "<attempt 6>",
          "export_nano_usd": 122800,
          "high_nano_usd": 2800,
          "ledger_nano_usd": 2800,
          "low_nano_usd": 2800,
          "tokens": {
            "output_tokens": {
              "export": 101,
              "ledger": 1
            },
            "reasoning_tokens": {
              "export": 100,
              "ledger": 0
            }
          }
        }
      ],
      "far_beyond": [],
      "file": "<folder>/november.jsonl",
      "forgotten": 0,
      "forgotten_nano_usd": 0,
      "in_doubt": 1,
      "in_doubt_high_nano_usd": 307234000,
      "in_doubt_low_nano_usd": 0,
      "lines": 5,
      "matched": 4,
      "matched_nano_usd": 175600,
      "not_in_export": [
        {
          "attempt_id": "<attempt 3>",
          "high_nano_usd": 307234000,
          "in_doubt": true,
          "ledger_nano_usd": null,
          "low_nano_usd": 0
        }
      ],
      "outside_interval": [],
      "provider": "sim",
      "rows": 5,
      "rows_nano_usd": 500175600,
      "settled_at_zero": [],
      "span": {
        "credits_nano_usd": 0,
        "differences_nano_usd": 120000,
        "export_nano_usd": 500175600,
        "far_beyond_nano_usd": 0,
        "from_ms": 1,
        "in_doubt_high_nano_usd": 307234000,
        "in_doubt_low_nano_usd": 0,
        "ledger_before_nano_usd": 58600,
        "ledger_nano_usd": 55600,
        "not_in_export_nano_usd": 0,
        "not_in_ledger_nano_usd": 500000000,
        "residual_nano_usd": 500120000,
        "rounding_nano_usd": 0,
        "unexplained_nano_usd": 0,
        "until_ms": 2
      },
      "unchanged": 2,
      "unchanged_nano_usd": 39200,
      "unmatched": 1,
      "unmatched_ids": [
        "chat-window-7"
      ],
      "unmatched_nano_usd": 500000000,
      "within": false
    }
    "#);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_no_call_could_cost_is_not_taken_and_no_total_that_ran_over_is_printed() {
    let books = Books::new().await;
    let huge = "\"cost_usd\":\"9223372036\"";
    books.edit_export(|attempt, line| {
        let cost = line.split(',').find(|field| field.contains("cost_")).expect("a cost");
        Some(if attempt == 3 || attempt == 2 {
            line.replace(cost.trim_end_matches('}'), huge)
        } else {
            line.to_owned()
        })
    });
    let told = books.reconcile(&[]);
    assert!(told.contains("  far beyond (--beyond takes it)           2  (too much to add up)"), "{told}");
    assert!(!told.contains(" 9223372036.8"), "{told}");
    assert!(told.contains("residual              (too much to add up)"), "{told}");
    let told: Value = serde_json::from_str(&books.reconcile(&["--format", "json"])).expect("one JSON object");
    assert_eq!((&told["corrected"], &told["rows_nano_usd"], &told["within"]), (&json!(0), &Value::Null, &json!(false)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_import_and_a_re_rating_leave_a_trace_with_the_hash_of_their_file() {
    let books = Books::new().await;
    books.reconcile(&[]);
    let in_folder = |name: &str| books.folder.path().join(name).display().to_string();
    let (prices, config) = (in_folder("prices.yaml"), in_folder("farthing.yaml"));
    let rerate = ["ledger", "rerate", "--since", "2026-01-01", "--prices", &prices, "--config", &config];
    assert!(run(&rerate).status.success());
    let done = run(&["ledger", "audit", "--format", "json", "--config", &config]);
    let acts: Value = serde_json::from_slice(&done.stdout).expect("one JSON list");
    let sha256 = |name: &str| farthing::ledger::audit::sha256(&std::fs::read(in_folder(name)).expect("a file"));
    for (place, action, file) in [(0, "reconcile", "november.jsonl"), (1, "ledger rerate", "prices.yaml")] {
        let act = &acts[place];
        assert_eq!((&act["action"], &act["subject"]), (&json!(action), &json!(file)));
        assert_eq!(act["sha256"], json!(sha256(file)));
        assert!(act["who"].as_str().is_some_and(|who| who.starts_with("cli:")), "{act}");
    }
    assert_eq!(acts[0]["facts"]["corrected"], json!(2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn corrected_rows_say_which_export_corrected_them() {
    let books = Books::new().await;
    books.reconcile(&[]);
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
            ("failed", "estimated", None),
            ("completed", "reported", None),
            ("completed", "reported", None),
        ]
    );
}

#[tokio::test]
async fn a_row_holds_all_that_its_price_was_made_of() {
    let setup = Setup::of(luna([Reply::tokens(100), Reply::tokens(100)])).row("discount: 15%");
    let world = setup.start().await;
    for tier in ["default", "flex"] {
        world.chat(ask(json!({"service_tier": tier}))).await;
    }
    world.attempts();
    let views = farthing::ledger::open_views(&world.folder.path().join("farthing.db")).expect("a ledger");
    let columns = "SELECT service_tier, discount_ppm, input_tokens, output_tokens, cost_nano FROM attempts_v1 ORDER BY attempt_id";
    let mut statement = views.prepare(columns).expect("its columns");
    let rows = statement.query_map([], |row| {
        let [input, output, cost]: [i64; 3] = [row.get(2)?, row.get(3)?, row.get(4)?];
        Ok((row.get(0)?, row.get(1)?, input, output, cost))
    });
    let rows: Vec<(String, i64, i64, i64, i64)> = rows.expect("a query").collect::<Result<_, _>>().expect("rows");
    // In nano-dollars a token, from the list: 200 and 1,200; flex costs half of that.
    let list = |input: i64, output: i64, discount: i64| (200 * input + 1_200 * output) * (1_000_000 - discount);
    let [standard, flex] = &rows[..] else { panic!("two rows, not {rows:?}") };
    assert_eq!((standard.0.as_str(), standard.4 * 1_000_000), ("standard", list(standard.2, standard.3, standard.1)));
    assert_eq!((flex.0.as_str(), flex.4 * 2_000_000), ("flex", list(flex.2, flex.3, flex.1)));
    assert_eq!((standard.1, flex.1), (150_000, 150_000));
}

#[tokio::test]
async fn sums_of_every_shape_leave_no_residual_while_the_gateway_runs() {
    let world = Setup::of(luna([Reply::tokens(100), Reply::tokens(7), Reply::tokens(33)])).start().await;
    for _ in 0..3 {
        world.chat(ask(json!({}))).await;
    }
    world.provider.settled().await.expect("the invoice is final");
    assert_eq!(world.attempts().len(), 3);
    let folder = world.folder.path();
    let views = farthing::ledger::open_views(&folder.join("farthing.db")).expect("a ledger");
    let day: String = views
        .query_row("SELECT date(min(at_ms) / 1000, 'unixepoch') FROM attempts_v1", [], |row| row.get(0))
        .expect("a day");
    let books = "ledger: { path: farthing.db }\n\
                 providers:\n  sim: { protocol: openai, base_url: http://127.0.0.1:1/v1, models: [\"*\"] }\n";
    std::fs::write(folder.join("books.yaml"), books).expect("a file");
    let invoice = world.provider.invoice();
    let total = invoice.total().0;
    for (shape, word) in [
        (ExportShape::OpenaiCosts, "openai-costs"),
        (ExportShape::OpenaiUsage, "openai-usage"),
        (ExportShape::OpenaiCsv, "openai-csv"),
        (ExportShape::AnthropicCost, "anthropic-cost"),
        (ExportShape::AnthropicUsage, "anthropic-usage"),
        (ExportShape::Csv, "csv"),
    ] {
        let [file, config] = ["sums", "books.yaml"].map(|name| folder.join(name).display().to_string());
        std::fs::write(&file, invoice.export(shape, day.parse().expect("a day"))).expect("a file");
        let mut arguments =
            vec!["reconcile", "--provider", "sim", &file, "--config", &config, "--format", "json", "--check"];
        if shape == ExportShape::Csv {
            arguments.extend(["--columns", "day=Date,model=Model,usd=Cost"]);
        }
        let done = run(&arguments);
        assert!(done.status.success(), "{word}: {}", String::from_utf8_lossy(&done.stderr));
        let told: Value = serde_json::from_slice(&done.stdout).expect("one JSON object");
        assert_eq!((&told["as"], &told["within"]), (&json!(word), &json!(true)));
        let lines = told["lines"].as_array().expect("lines");
        assert!(!lines.is_empty() && lines.iter().all(|line| line["residual"] == 0), "{word}: {told:#}");
        let of_costs = told["totals"].as_array().expect("totals").iter().find(|sum| sum["what"] == "cost_nano_usd");
        assert!(of_costs.is_none_or(|sum| sum["theirs"] == total), "{word}: {told:#}");
    }
    let done = run(&[
        "reconcile",
        "--provider",
        "sim",
        "--complete",
        &folder.join("sums").display().to_string(),
        "--config",
        &folder.join("books.yaml").display().to_string(),
        "--columns",
        "day=Date,usd=Cost",
    ]);
    assert_eq!(done.status.code(), Some(2), "sums settle nothing");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_reads_where_sums_differ_and_why() {
    let books = Books::new().await;
    let views = farthing::ledger::open_views(&books.folder.path().join("farthing.db")).expect("a ledger");
    let days = "SELECT date(min(at_ms) / 1000, 'unixepoch') FROM attempts_v1";
    let day: String = views.query_row(days, [], |row| row.get(0)).expect("a day");
    let lines = [("gpt-5.6-luna-2026-08-01", "0.000069"), ("secretive", "0.0000028"), ("sora-9", "1.5")];
    let rows = lines.map(|(model, usd)| format!("{day};{model};{usd}\n")).concat();
    std::fs::write(books.folder.path().join("november.jsonl"), format!("Day;Model;Amount\n{rows}")).expect("a file");
    let told = books.reconcile(&["--columns", "day=Day,model=Model,usd=Amount"]).replace(&day, "<the day>");
    for said in [
        "csv of `sim`, 3 lines, <the day> to <the day>, days of UTC",
        "amounts have 7 decimals: each may be 0.00000005 USD off",
        "0.0000392 .. 0.0000558 .. 0.6145072",
        "1 row of unknown cost; 1 row estimated",
        "! no attempt of that name on these days",
        "1 of 3 lines are beyond rounding and what the ledger does not know (!)",
    ] {
        assert!(told.contains(said), "{said}: {told}");
    }
    let before: Vec<String> =
        attempts(&books.folder.path().join("farthing.db")).iter().map(|row| format!("{row:?}")).collect();
    let in_folder = |name: &str| books.folder.path().join(name).display().to_string();
    let columns = "day=Day,model=Model,usd=Amount";
    let checked = run(&[
        "reconcile",
        "--provider",
        "sim",
        &in_folder("november.jsonl"),
        "--config",
        &in_folder("farthing.yaml"),
        "--columns",
        columns,
        "--check",
        "--format",
        "csv",
    ]);
    assert_eq!(checked.status.code(), Some(3));
    let csv = String::from_utf8(checked.stdout).expect("text");
    let luna = csv.lines().find(|line| line.contains("luna")).expect("a line");
    assert!(luna.contains(",true,") && luna.ends_with("uncertain_rows estimated_rows"), "{luna}");
    let after: Vec<String> =
        attempts(&books.folder.path().join("farthing.db")).iter().map(|row| format!("{row:?}")).collect();
    assert_eq!(before, after, "sums change nothing");
}
