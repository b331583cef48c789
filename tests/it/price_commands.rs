//! `farthing prices`, as the real binary has it.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::Arc;
use std::thread;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::process::run;
use crate::support::{Authority, Certificate};

const LIST: &str = r#"{
    "sample_spec": {"litellm_provider": "one of the providers"},
    "gpt-5.6-luna": {"litellm_provider": "openai", "mode": "chat", "input_cost_per_token": 2.5e-07,
        "output_cost_per_token": 1.2e-06, "cache_read_input_token_cost": 2e-08},
    "gpt-0": {"litellm_provider": "openai", "mode": "chat", "input_cost_per_token": 0, "output_cost_per_token": 0},
    "mistral/m": {"litellm_provider": "mistral", "mode": "chat", "input_cost_per_token": 1e-06, "output_cost_per_token": 2e-06}
}"#;

/// A folder with a configuration of one OpenAI row, a price file of `prices` and a list.
struct Office(TempDir);

impl Office {
    fn new(prices: &str) -> Self {
        let office = Self(tempfile::tempdir().expect("a temporary folder"));
        let config = "providers: { main: { protocol: openai, vendor: openai, base_url: https://a.example/v1, \
                      key: env:FARTHING_TEST_NOT_SET, models: [\"*\"] } }\nprices: prices.yaml\n";
        for (name, text) in [("farthing.yaml", config), ("prices.yaml", prices), ("list.json", LIST)] {
            std::fs::write(office.path(name), text).expect("a file");
        }
        office
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).expect("a file")
    }

    /// Runs a verb; names of files in the folder stand for themselves.
    fn prices(&self, arguments: &[&str]) -> Output {
        let paths: Vec<String> = arguments
            .iter()
            .map(|argument| match self.path(argument).is_file() {
                true => self.path(argument).display().to_string(),
                false => (*argument).to_owned(),
            })
            .collect();
        let config = self.path("farthing.yaml").display().to_string();
        let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
        run(&[&["prices"], &paths[..], &["--config", &config]].concat())
    }

    #[track_caller]
    fn says(&self, arguments: &[&str]) -> String {
        let done = self.prices(arguments);
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8(done.stdout).expect("text")
    }

    #[track_caller]
    fn refuses(&self, arguments: &[&str]) -> String {
        let done = self.prices(arguments);
        assert_eq!((done.status.code(), &*done.stdout), (Some(1), &[][..]));
        String::from_utf8(done.stderr).expect("text")
    }

    #[track_caller]
    fn json(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.says(&[arguments, &["--format", "json"]].concat())).expect("JSON")
    }
}

#[test]
fn prices_are_shown_as_of_a_day() {
    let rows = "- { model: openai/gpt-5.6-luna, from: 2026-12-01, usd_per_million: { input: 0.3, output: 2 } }\n";
    let office = Office::new(rows);
    let input = |day: &str| office.json(&["show", "openai/gpt-5.6-luna", "--at", day])[0]["figures"]["input"].clone();
    assert_eq!((input("2026-11-30"), input("2026-12-01")), (json!("0.2"), json!("0.3")));
    let told = office.says(&["show", "gpt-5.6-luna", "--at", "2026-12-01"]);
    assert!(told.contains("azure/gpt-5.6-luna") && told.contains("2026-12-01"), "{told}");
    let whole = office.says(&["show", "openai/gpt-5.6-luna", "--at", "2026-11-30"]);
    assert!(whole.starts_with("openai/gpt-5.6-luna from the beginning, price version openai/gpt-5.6-luna@builtin-"));
    assert!(office.refuses(&["show", "openai/gpt-5.6-lun"]).contains("did you mean `openai/gpt-5.6-luna`?"));
}

#[test]
fn a_price_file_is_checked_and_doubted() {
    let office = Office::new("- { model: openai/gpt-5.6-luna, usd_per_million: { input: 0.0002, output: 0.0012 } }\n");
    let told = office.says(&["check"]);
    assert!(told.contains("prices.yaml: ok, 1 row\nwarning: `openai/gpt-5.6-luna`: `input` is 0.0002"), "{told}");
    std::fs::write(office.path("bad.yaml"), "- { model: openai/m, usd_per_million: { input: 1e-6 } }").expect("a file");
    assert!(office.refuses(&["check", "bad.yaml"]).contains(": `input` is `1e-6`; exponents are not read"));
}

#[test]
fn an_update_writes_only_what_changes_with_its_day_and_nothing_twice() {
    let office = Office::new("# Ours.\n- { model: openai/ours, price: free }");
    let update = ["update", "list.json", "--from", "2026-12-01"];
    let dry = office.says(&[&update[..], &["--dry-run"]].concat());
    assert!(dry.contains("  input                                     0.2 -> 0.25  +25%\n"), "{dry}");
    assert!(dry.contains("left out: 1 model, no price that is known; zero is none\n"), "{dry}");
    assert!(dry.ends_with("1 change, 0 models as before; nothing was written\n"), "{dry}");
    assert_eq!(office.text("prices.yaml"), "# Ours.\n- { model: openai/ours, price: free }");
    let done = office.json(&update);
    assert_eq!(done["changes"][0]["model"], json!("openai/gpt-5.6-luna"));
    assert_eq!(done["left_out"][0]["model"], json!("openai/gpt-0"));
    let text = office.text("prices.yaml");
    assert_eq!(
        text,
        "# Ours.\n- { model: openai/ours, price: free }\n- model: openai/gpt-5.6-luna\n  from: 2026-12-01\n  \
         usd_per_million: { input: 0.25, cached_input: 0.02, cache_write_5m: 0.25, output: 1.2, reasoning: 1.2 }\n"
    );
    let again = office.json(&update);
    assert_eq!((&again["changes"], &again["same"], &again["written"]), (&json!([]), &json!(1), &Value::Null));
    assert_eq!(office.text("prices.yaml"), text);
    // The same day cannot have two prices.
    let other = office.text("list.json").replace("2.5e-07", "2.6e-07");
    std::fs::write(office.path("list.json"), other).expect("a file");
    assert!(office.refuses(&update).contains("a second row for `openai/gpt-5.6-luna` from `2026-12-01`"));
    assert_eq!(office.text("prices.yaml"), text);
}

#[test]
fn an_update_takes_the_models_that_are_asked_for_into_the_file_that_is_named() {
    let office = Office::new("");
    let new = office.path("new.yaml").display().to_string();
    let update = ["update", "list.json", "--only", "mistral/*", "--into", &new, "--from", "2026-12-01"];
    let told = office.says(&update);
    assert!(told.contains("nothing is priced by it until the configuration says `prices: /"), "{told}");
    let own = office.path("prices.yaml").display().to_string();
    assert!(!office.says(&["update", "list.json", "--into", &own]).contains("nothing is priced"));
    std::fs::write(&own, "").expect("a file");
    assert!(
        office.text("new.yaml").starts_with("- model: mistral/m\n  from: 2026-12-01\n"),
        "{}",
        office.text("new.yaml")
    );
    // And that file is a source itself.
    let taken = office.json(&["update", "new.yaml", "--only", "m"]);
    assert_eq!(taken["changes"][0]["replaces"], Value::Null);
    assert_eq!(office.text("prices.yaml"), office.text("new.yaml"));
    assert!(office.refuses(&["update", "http://a.example/prices.yaml"]).contains("over https only"));
    let config = office.text("farthing.yaml").replace("prices: prices.yaml\n", "");
    std::fs::write(office.path("farthing.yaml"), config).expect("a file");
    assert!(office.refuses(&["update", "list.json"]).contains("wanted `prices: prices.yaml` in it, `--into FILE`"));
}

/// The list is made of facts that are not part of the repository: see `price_facts`.
#[test]
fn an_import_of_the_public_lists_changes_nothing_of_the_built_in_book() {
    let Some(folder) = std::env::var_os("FARTHING_EVAL_DATA") else {
        println!("skipped: FARTHING_EVAL_DATA names no folder with `prices.jsonl`");
        return;
    };
    let facts = std::fs::read_to_string(PathBuf::from(folder).join("prices.jsonl")).expect("readable facts");
    let mut list = serde_json::Map::new();
    for line in facts.lines() {
        let fact: serde_json::Map<String, Value> = serde_json::from_str(line).expect("a row of facts");
        let name =
            format!("{}/{}", fact["provider"].as_str().expect("a name"), fact["model"].as_str().expect("a name"));
        let fields = fact.into_iter().map(|(field, value)| match &*field {
            "provider" => ("litellm_provider".to_owned(), value),
            _ => (field.trim_end_matches("_usd").to_owned(), value),
        });
        list.insert(name, fields.collect());
    }
    let office = Office::new("");
    std::fs::write(office.path("list.json"), Value::Object(list).to_string()).expect("a file");
    let found = office.json(&["update", "list.json", "--only", "*", "--dry-run"]);
    let changed: Vec<&str> =
        found["changes"].as_array().expect("a list").iter().filter_map(|change| change["model"].as_str()).collect();
    // A thousand times its siblings' price: left out of the book by hand.
    assert_eq!(changed, ["cohere/embed-multilingual-light-v3.0"]);
    assert!(found["same"].as_u64() > Some(1000), "{}", found["same"]);
}

/// Answers every request on its own connection with the list, or where it has moved to; gives its port.
fn serve_list(certificate: &Certificate) -> u16 {
    let config = rustls::ServerConfig::builder_with_provider(rustls::crypto::ring::default_provider().into())
        .with_safe_default_protocol_versions()
        .expect("ring supports the default versions of TLS")
        .with_no_client_auth()
        .with_single_cert(certificate.chain(), certificate.private_key())
        .expect("a pair");
    let (config, listener) = (Arc::new(config), TcpListener::bind("127.0.0.1:0").expect("a free port"));
    let port = listener.local_addr().expect("a port").port();
    thread::spawn(move || {
        for tcp in listener.incoming().flatten() {
            let connection = rustls::ServerConnection::new(Arc::clone(&config)).expect("a connection");
            let mut stream = rustls::StreamOwned::new(connection, tcp);
            let mut head = Vec::new();
            // A client that does not trust the certificate ends the connection here.
            while !head.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                match stream.read(&mut byte) {
                    Ok(1) => head.push(byte[0]),
                    _ => break,
                }
            }
            let moved = |to: &str| {
                format!("HTTP/1.1 302 Found\r\nlocation: {to}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
            };
            let answer = match std::str::from_utf8(&head).unwrap_or_default().split(' ').nth(1) {
                Some("/moved") => moved(&format!("https://localhost:{port}/list.json")),
                Some("/downhill") => moved("http://localhost/list.json"),
                Some("/list.json") => {
                    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{LIST}", LIST.len())
                }
                _ => "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".to_owned(),
            };
            let _ = stream.write_all(answer.as_bytes());
            stream.conn.send_close_notify();
            let _ = stream.flush();
        }
    });
    port
}

#[test]
fn a_list_is_fetched_over_tls_from_whom_the_system_trusts_and_from_nobody_else() {
    let office = Office::new("[]\n");
    let (trusted, stranger) = (Authority::new(), Authority::new());
    std::fs::write(office.path("roots.pem"), trusted.pem()).expect("a file");
    let update = |port: u16, host: &str, path: &str| {
        let address = format!("https://{host}:{port}/{path}");
        let config = office.path("farthing.yaml");
        let arguments =
            ["prices", "update", &address, "--dry-run", "--from", "2026-12-01", "--format", "json", "--config"];
        let mut command = Command::new(env!("CARGO_BIN_EXE_farthing"));
        // Where rustls looks for the system's roots: https://docs.rs/rustls-native-certs
        command.args(arguments).arg(config).env("SSL_CERT_FILE", office.path("roots.pem")).env_remove("SSL_CERT_DIR");
        command.output().expect("the binary runs")
    };
    let port = serve_list(&trusted.signs("localhost"));
    for path in ["list.json", "moved"] {
        let done = update(port, "localhost", path);
        assert!(done.status.success(), "{path}: {}", String::from_utf8_lossy(&done.stderr));
        assert!(String::from_utf8_lossy(&done.stdout).contains("openai/gpt-5.6-luna"), "{path}");
    }
    let refused = |port: u16, host: &str, path: &str, why: &str| {
        let done = update(port, host, path);
        let told = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.code() == Some(1) && told.contains(why), "{host} {path}: {told}");
    };
    refused(port, "localhost", "gone.json", "status 404");
    refused(port, "localhost", "downhill", "over https only");
    refused(port, "127.0.0.1", "list.json", "TLS");
    refused(serve_list(&stranger.signs("localhost")), "localhost", "list.json", "TLS");
}
