//! Secrets and prompt text, each a word of its own, sent down every path; then a search of all that comes out.

mod places;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use farthing::simulator::{ModelScript, Provider, Reply, Running as Simulator};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use crate::process::{FARTHING, Served, count};
use places::{Places, ask};

/// What clients say, and nobody writes down.
const PROMPT: &str = "CanaryPromptText7c1f";
const SYSTEM: &str = "CanarySystemText8d2e";
const ARGUMENT: &str = "CanaryToolArgument9e3d";
const RESULT: &str = "CanaryToolResultAf4c";
const IMAGE: &str = "Q2FuYXJ5SW1hZ2VC05b";
const TOOL: &str = "CanaryToolDescriptionC16a";
const METADATA: &str = "CanaryMetadataD279";
const MALFORMED: &str = "CanaryMalformedE388";
const CREDENTIALS_OF_CALLER: [&str; 4] =
    ["CanaryOrganisationF497", "CanaryCookie05a6", "CanaryQuery16b5", "fk-canary-of-nobody-27c4"];
/// What a model says: for the client alone.
const ANSWER: &str = "CanaryAnswer38d3";
/// A provider's own words in an error: for the client alone.
const WORDS: &str = "CanaryProviderWords49e2";
/// Names: for the ledger alone.
const USER: &str = "canary-user-5af1";
/// The key that opens the gateway, and the one that opens the provider.
const KEY: &str = "fk-canary-of-agents-6b0f";
const PROVIDER_KEY: &str = "sk-canary-of-provider-7c1e";
const ADMIN_KEY: &str = "CanaryAdminKey8d2d";
const HEADER: &str = "CanaryProviderHeader9e3c";

/// Everything that may stand neither in logs nor in metrics nor in headers.
fn unspeakable() -> Vec<&'static str> {
    let mut words = vec![PROMPT, SYSTEM, ARGUMENT, RESULT, IMAGE, TOOL, METADATA, MALFORMED, ANSWER, WORDS, USER];
    words.extend(CREDENTIALS_OF_CALLER);
    words.extend([KEY, PROVIDER_KEY, ADMIN_KEY, HEADER]);
    words
}

/// A conversation that has a canary in every place for text.
fn conversation(model: &str, stream: bool) -> Value {
    json!({
        "model": model, "stream": stream, "user": USER, "metadata": {"note": METADATA, "user": USER},
        "tools": [{"type": "function", "function": {"name": "look", "description": TOOL, "parameters": {}}}],
        "messages": [
            {"role": "system", "content": SYSTEM},
            {"role": "user", "content": [
                {"type": "text", "text": PROMPT},
                {"type": "image_url", "image_url": {"url": format!("data:image/png;base64,{IMAGE}")}},
            ]},
            {"role": "assistant", "tool_calls": [
                {"id": "call_1", "type": "function", "function": {"name": "look", "arguments": ARGUMENT}},
            ]},
            {"role": "tool", "tool_call_id": "call_1", "content": RESULT},
            {"role": "user", "content": PROMPT},
        ],
    })
}

/// Bodies that are wrong in the midst of a secret, at each place where a message might quote it.
fn malformed() -> Vec<String> {
    let m = MALFORMED;
    let whole = conversation("ok", false).to_string();
    let mut bodies: Vec<String> = [
        m.to_owned(),
        format!(r#"{{"{m}"#),
        format!(r#"{{"{m}": 1, "{m}": 2, "model": "ok", "messages": []}}"#),
        format!(r#"{{"model": "ok", "messages": "{m}"}}"#),
        format!(r#"{{"model": ["{m}"], "messages": []}}"#),
        format!(r#"{{"model": "ok", "messages": [{{"role": "{m}"}}]}}"#),
        format!(r#"{{"model": "ok", "messages": [{{"role": "user", "content": "{m}\x"}}]}}"#),
        format!(r#"{{"model": "ok", "messages": [{{"role": "user", "content": {{"{m}": 1}}}}]}}"#),
        format!(r#"{{"model": "ok", "messages": [{m}]}}"#),
        format!(r#"{{"model": "ok", "stream": "{m}", "messages": []}}"#),
        format!(r#"{{"model": "ok", "max_tokens": "{m}", "messages": []}}"#),
        format!(r#"{{"model": "ok", "metadata": "{m}", "messages": []}}"#),
        format!(r#"{{"model": "ok", "metadata": {{"team": {{"{m}": 1}}}}, "messages": []}}"#),
        format!(r#"{{"model": "ok", "messages": []}} {m}"#),
        format!("{}{m}{}", "[".repeat(600), "]".repeat(600)),
    ]
    .into();
    bodies.extend([whole.len() / 3, whole.len() / 2, whole.len() - 1].map(|end| whole[..end].to_owned()));
    bodies
}

/// Providers in their worst moods; every error that they send quotes what it was sent.
fn provider() -> Provider {
    let error =
        |message: &str, code: Value| json!({"error": {"message": message, "type": "odd", "param": null, "code": code}});
    let echo = format!("{WORDS}: bad key {PROVIDER_KEY}");
    let quoted = error(WORDS, Value::Null);
    let answer = || Reply::text(&format!("{ANSWER} {ANSWER} and {ANSWER}"));
    let event = format!("data: {}\n\n", error(&echo, Value::Null));
    let garbage = format!("{{\"choices\": [{ANSWER}");
    let models = [
        ("ok", answer()),
        ("tools", Reply::calls("look", json!({"at": ANSWER}))),
        ("400", Reply::status(400).with_body(&quoted)),
        ("400-key", Reply::status(400).with_body(&error(&echo, json!("invalid_value")))),
        ("400-header", Reply::status(400).with_body(&error(&format!("bad: {HEADER}"), json!("invalid_value")))),
        ("401", Reply::status(401).with_body(&error(&echo, json!("invalid_api_key")))),
        ("403", Reply::status(403).with_body(&error(&echo, Value::Null))),
        ("429", Reply::status(429).with_body(&quoted).with_header("retry-after", "60")),
        ("500", Reply::status(500).with_body(&error(&echo, Value::Null))),
        ("page", Reply::status(502).with_html(&format!("<p>{echo}</p>"))),
        ("header", Reply::status(500).with_header("x-request-id", PROVIDER_KEY).with_header("x-odd", PROVIDER_KEY)),
        ("garbage", Reply::raw("application/json", [garbage.clone()])),
        ("garbled", Reply::raw_events([format!("data: {garbage}\n\n")])),
        ("event", Reply::raw_events([event.clone()])),
        (
            "late-event",
            Reply::raw_events([
                format!("data: {}\n\n", json!({"choices": [{"index": 0, "delta": {"content": ANSWER}}]})),
                event,
            ]),
        ),
        ("fails", answer().fails_after(3)),
        ("resets", answer().resets_after(3)),
        ("ends", answer().ends_mid_event(3)),
        ("silent", answer().stalls_after(0)),
        ("falls-silent", answer().stalls_after(3)),
        ("waits", answer().stalls_after(3)),
    ];
    let models = models.into_iter().map(|(name, reply)| ModelScript::named(name).then(reply));
    models.fold(Provider::openai().requires_key(PROVIDER_KEY), Provider::model)
}

/// A gateway process in front of [`provider`], in a folder of its own.
struct World {
    provider: Simulator,
    folder: TempDir,
    text: String,
}

impl World {
    async fn new() -> Self {
        let provider = provider().start().await.expect("a free port");
        let folder = tempfile::tempdir().expect("a temporary folder");
        let hash: String = Sha256::digest(KEY).iter().map(|byte| format!("{byte:02x}")).collect();
        for (name, secret) in [("provider-key", PROVIDER_KEY), ("admin-key", ADMIN_KEY), ("header", HEADER)] {
            fs::write(folder.path().join(name), format!("{secret}\n")).expect("a file");
        }
        let url = provider.base_url();
        let text = format!(
            "server: {{ listen: 127.0.0.1:0, admin_listen: 127.0.0.1:0, admin_key: file:admin-key }}\n\
             prices: prices.yaml\nlimits: {{ body_bytes: 64KiB }}\n\
             dispatch: {{ retries: 1, circuit: off, first_byte_timeout: 150ms, idle_timeout: 150ms, total_timeout: 400ms }}\n\
             providers:\n  \
               gone: {{ protocol: openai, base_url: http://127.0.0.1:9/v1, key: file:provider-key, models: [gone] }}\n  \
               slow: {{ protocol: openai, base_url: {url}, key: file:provider-key, models: [waits], \
                 dispatch: {{ first_byte_timeout: 30s, idle_timeout: 30s, total_timeout: 30s }} }}\n  \
               sim: {{ protocol: openai, base_url: {url}, key: file:provider-key, models: [\"*\"], \
                 headers: {{ x-canary: file:header }} }}\n\
             keys:\n  - {{ sha256: {hash}, name: agents, team: data, may: {{ models: [\"[a-z0-9]*\"] }} }}\n"
        );
        fs::write(folder.path().join("prices.yaml"), "[]\n").expect("a file");
        let world = Self { provider, folder, text };
        world.write(&world.text);
        world
    }

    fn config(&self) -> PathBuf {
        self.folder.path().join("farthing.yaml")
    }

    fn write(&self, text: &str) {
        fs::write(self.config(), text).expect("a file");
    }
}

/// A method, a path, headers, a body, and the status that they get.
type Refused<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)], String, u16);

/// Every path that a request can take, one after the other.
async fn send_everything(listen: &str, places: &mut Places) {
    let bearer = format!("Bearer {KEY}");
    let secrets = [
        ("authorization", bearer.as_str()),
        ("openai-organization", CREDENTIALS_OF_CALLER[0]),
        ("cookie", CREDENTIALS_OF_CALLER[1]),
        ("x-farthing-prompt", PROMPT),
    ];
    // Each names itself anew: a repeat would have the first one's answer.
    let mut asked = 0;
    let mut once = || {
        asked += 1;
        format!("{METADATA}-{asked}")
    };
    let models = [
        "ok",
        "tools",
        "400",
        "400-key",
        "400-header",
        "401",
        "403",
        "429",
        "500",
        "page",
        "header",
        "garbage",
        "garbled",
        "event",
        "late-event",
        "fails",
        "resets",
        "ends",
        "silent",
        "falls-silent",
        "gone",
        "slow/waits-not",
        "gone/nothing",
    ];
    for model in models {
        for stream in [false, true] {
            let (body, once) = (conversation(model, stream).to_string(), once());
            let said = [&secrets[..], &[("idempotency-key", once.as_str())]].concat();
            places.answer(model, ask(listen, "POST", "/v1/chat/completions", &said, &body).await);
        }
    }
    for body in malformed() {
        let once = once();
        let said = [&secrets[..], &[("idempotency-key", once.as_str())]].concat();
        let got = ask(listen, "POST", "/v1/chat/completions", &said, &body).await;
        // What is wrong where nobody reads is the provider's to judge.
        assert!(got.status == 400 || got.body.contains(ANSWER), "{body} is malformed: {}", got.body);
        places.answer("malformed", got);
    }
    let whole = conversation("ok", false).to_string();
    let query = format!("/v1/chat/completions?key={}", CREDENTIALS_OF_CALLER[2]);
    let nobody = format!("Bearer {}", CREDENTIALS_OF_CALLER[3]);
    let path = format!("/v1/{MALFORMED}");
    let refused: [Refused<'_>; 10] = [
        ("POST", &query, &secrets, whole.clone(), 200),
        ("POST", "/v1/chat/completions", &[], whole.clone(), 401),
        ("POST", &query, &[("authorization", &nobody)], whole.clone(), 401),
        ("POST", "/v1/chat/completions", &[("x-api-key", CREDENTIALS_OF_CALLER[3])], whole.clone(), 401),
        ("POST", "/v1/chat/completions", &[("x-api-key", KEY), ("content-encoding", MALFORMED)], whole.clone(), 415),
        ("POST", "/v1/chat/completions", &secrets, conversation("[granted]", false).to_string(), 404),
        ("POST", "/v1/chat/completions", &secrets, whole.replace(PROMPT, &PROMPT.repeat(5_000)), 413),
        ("GET", "/v1/chat/completions", &secrets, String::new(), 405),
        ("GET", &path, &secrets, String::new(), 404),
        ("GET", "/v1/models", &secrets, String::new(), 200),
    ];
    for (method, path, headers, body, status) in refused {
        let got = ask(listen, method, path, headers, &body).await;
        assert_eq!(got.status, status, "{method} {path}: {}", got.body);
        places.answer(path, got);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_must_not_come_out_does_not_whatever_path_it_takes() {
    let world = World::new().await;
    let mut places = Places::default();
    let mut served = Served::start(&world.config());
    send_everything(&served.listen, &mut places).await;
    // Files that break in the midst of a secret, one after the other: they are read again on the hang-up signal.
    for (number, broken) in broken_files(&world.text).into_iter().enumerate() {
        world.write(&broken);
        served.hang_up();
        until_failed(&served, &mut places, "config", number + 1).await;
    }
    world.write(&world.text);
    for (number, broken) in [MALFORMED.to_owned(), format!("- {{ model: {MALFORMED}")].into_iter().enumerate() {
        fs::write(world.folder.path().join("prices.yaml"), broken).expect("a file");
        served.hang_up();
        until_failed(&served, &mut places, "prices", number + 1).await;
    }
    fs::write(world.folder.path().join("prices.yaml"), "[]\n").expect("a file");
    // A client that hangs up in the middle, and a process that is killed there.
    let asked = ask_and_leave(&served.listen).await;
    drop(asked);
    world.provider.hung_up(1).await.expect("the call is cancelled");
    let _asked = ask_and_leave(&served.listen).await;
    places.metrics(ask(&served.admin_listen, "GET", "/metrics", &[], "").await);
    places.ledger(world.folder.path());
    places.log(&served.kill());

    served = Served::start(&world.config());
    places.metrics(ask(&served.admin_listen, "GET", "/metrics", &[], "").await);
    served.terminate();
    let (status, log) = served.end();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(log.contains("ledger_recovered"), "{log}");
    places.log(&log);
    world.provider.release();
    world.provider.settled().await.expect("the invoice is final");
    let ledger = world.folder.path().join("farthing.db");
    assert!(count(&ledger, "attempts_v1") > 40, "most of it went all the way");
    assert!(count(&ledger, &format!("requests_v1 where user = '{USER}'")) > 40, "names are for the ledger");

    reconcile(&world, &mut places);
    places.ledger(world.folder.path());
    places.check();
}

/// Starts a stream, reads its beginning, and gives what keeps it open.
async fn ask_and_leave(listen: &str) -> hyper::body::Incoming {
    places::begin(listen, &[("x-api-key", KEY)], &conversation("waits", true).to_string()).await
}

async fn until_failed(served: &Served, places: &mut Places, file: &str, times: usize) {
    let wanted = format!("farthing_reload_failures_total{{file=\"{file}\"}} {times}");
    loop {
        let page = ask(&served.admin_listen, "GET", "/metrics", &[], "").await;
        let failed = page.body.contains(&wanted);
        if failed {
            places.metrics(page);
            return;
        }
    }
}

/// Configurations that somebody who is new to this might write, each with a secret in the wrong place.
fn broken_files(good: &str) -> Vec<String> {
    let keys = good.find("keys:").expect("it has keys");
    [
        format!("keys:\n  - {{ sha256: {KEY}, team: data }}\n"),
        format!("keys:\n  {KEY}: {{ team: data }}\n"),
        format!("keys:\n  - {KEY}\n"),
        format!("keys: {KEY}\n"),
        format!("keys:\n  - {{ sha256: \"{KEY}\n"),
        format!("keys:\n  - {{ sha256: [ {KEY} ], team: data }}\n"),
        format!("{KEY}\n"),
    ]
    .map(|text| format!("{}{text}", &good[..keys]))
    .into()
}

/// An export with secrets where nobody reads, and exports that are broken in the midst of one.
fn reconcile(world: &World, places: &mut Places) {
    let export = world.folder.path().join("export.jsonl");
    let columns = format!("\"note\":\"{MALFORMED}\",\"client_request_id\"");
    let told = world.provider.export_jsonl().replace("\"client_request_id\"", &columns);
    let csv = format!("client_request_id,cost_usd,note\nid,much,{MALFORMED}\n");
    let exports = [(told, true), (format!("{{\"client_request_id\": {MALFORMED}"), false), (csv, false)];
    for (text, good) in exports {
        fs::write(&export, text).expect("a file");
        for format in ["table", "json"] {
            let config = world.config();
            let arguments = ["reconcile", "--provider", "sim", "--format", format, "--config"].map(Path::new);
            let output = farthing(&[&arguments[..], &[&config, &export]].concat(), &[], world.folder.path());
            assert_eq!(output.status.success(), good, "{output:?}");
            places.output("reconcile", &output);
        }
    }
}

fn farthing(arguments: &[&Path], variables: &[(&str, &str)], folder: &Path) -> Output {
    let mut command = Command::new(FARTHING);
    command.args(arguments).envs(variables.iter().copied()).current_dir(folder).stdin(Stdio::null());
    command.output().expect("the binary runs")
}

#[test]
fn a_configuration_with_a_secret_in_the_wrong_place_is_refused_without_quoting_it() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let hash = "0".repeat(64);
    let row = |keys: &str| format!("providers:\n  sim: {{ protocol: openai, models: [\"*\"], {keys} }}\n");
    let url = "base_url: http://127.0.0.1:9/v1";
    let mut texts = vec![
        row(&format!("{url}, key: {PROVIDER_KEY}")),
        row(&format!("{url}, key: [{PROVIDER_KEY}]")),
        row(&format!("{url}, key: {{ {PROVIDER_KEY}: 1 }}")),
        row(&format!("{url}, key: \"env:{PROVIDER_KEY} \"")),
        row(&format!("{url}, key: env:CANARY_BROKEN")),
        row(&format!("{url}, key: file:broken")),
        row(&format!("{url}, headers: {{ authorization: \"Bearer {PROVIDER_KEY}\" }}")),
        row(&format!("{url}, headers: {{ x-odd: {{ {PROVIDER_KEY}: 1 }} }}")),
        row(&format!("{url}, headers: \"x-odd: {PROVIDER_KEY}\"")),
        row(&format!("base_url: \"http://user:{PROVIDER_KEY}@127.0.0.1/v1\"")),
        row(&format!("base_url: \"http://127.0.0.1/v1?key={PROVIDER_KEY}\"")),
        row(&format!("{url}, key: \"{PROVIDER_KEY}")),
        format!("{}server: {{ admin_key: {ADMIN_KEY} }}\n", row(url)),
        format!("{}ledger: {{ mirror: \"postgres://me:{ADMIN_KEY}@db/x\" }}\n", row(url)),
        format!("{}webhooks: [ {{ url: \"https://hooks/{ADMIN_KEY}\" }} ]\n", row(url)),
        format!("{}shared: \"redis://:{ADMIN_KEY}@redis\"\n", row(url)),
    ];
    texts.extend(broken_files(&format!("{}keys: [{{ sha256: {hash}, team: data }}]\n", row(url))));
    fs::write(folder.path().join("broken"), format!("{PROVIDER_KEY}\nsecond line\n")).expect("a file");
    let broken = format!("{PROVIDER_KEY}\u{7f}");
    let variables = [("CANARY_BROKEN", broken.as_str()), ("OPENAI_API_KEY", broken.as_str())];
    let mut places = Places::default();
    for text in texts {
        fs::write(folder.path().join("farthing.yaml"), &text).expect("a file");
        for command in ["check", "serve"] {
            let output = farthing(&[Path::new(command)], &variables, folder.path());
            assert!(!output.status.success(), "`{command}` takes\n{text}");
            assert!(!output.stderr.is_empty(), "`{command}` says nothing of\n{text}");
            places.output(&text, &output);
        }
    }
    // Without a file, from the environment alone.
    fs::remove_file(folder.path().join("farthing.yaml")).expect("it was there");
    for command in ["check", "serve"] {
        let output = farthing(&[Path::new(command)], &variables, folder.path());
        assert!(!output.status.success());
        places.output("the environment", &output);
    }
    places.check();
}

#[test]
fn the_demo_says_nothing_of_what_it_replays_or_finds_in_the_environment() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let Value::Object(mut session) = conversation("auto", false) else { unreachable!("an object") };
    session.retain(|name, _| name == "messages");
    session.insert("id".to_owned(), json!("canary"));
    let messages = session["messages"].as_array_mut().expect("a list");
    messages.push(json!({"role": "assistant", "content": ANSWER}));
    let replay = folder.path().join("sessions.jsonl");
    fs::write(&replay, format!("{}\n", Value::Object(session))).expect("a file");
    let broken = folder.path().join("broken.jsonl");
    fs::write(&broken, format!("{{\"messages\": [{MALFORMED}\n")).expect("a file");
    let variables = [("OPENAI_API_KEY", PROVIDER_KEY), ("FARTHING_ADMIN_KEY", ADMIN_KEY)];
    let mut places = Places::default();
    for (file, good) in [(&replay, true), (&broken, false)] {
        for format in ["table", "json"] {
            let arguments = ["demo", "--once", "--format", format, "--replay"].map(Path::new);
            let output = farthing(&[&arguments[..], &[file]].concat(), &variables, folder.path());
            assert_eq!(output.status.success(), good, "{output:?}");
            places.output("the demo", &output);
        }
    }
    places.check();
}
