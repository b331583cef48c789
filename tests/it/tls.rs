//! TLS at the door: what is agreed on, who is let in, and certificates that change while the process runs.

use std::fs;
use std::process::Command;
use std::sync::Arc;

use farthing::simulator::Reply;
use http::{Request, Version};
use http_body_util::Full;
use hyper::body::Bytes;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::process::FARTHING;
use crate::support::{ASK, Authority, Certificate, Got, PATIENCE, Setup, World, luna, whole};

const FILES: &str = "tls: { cert: gateway.pem, key: gateway.key }";
const FILES_AND_CA: &str = "tls: { cert: gateway.pem, key: gateway.key, client_ca: agents.pem }";

/// A gateway with this certificate; agents must show one of `agents` if there is one.
async fn world(certificate: &Certificate, agents: Option<&Authority>) -> World {
    let setup = Setup::of(luna([Reply::text("ok")])).server(if agents.is_some() { FILES_AND_CA } else { FILES });
    let setup = setup.file("gateway.pem", &certificate.cert).file("gateway.key", &certificate.key);
    setup.file("agents.pem", &agents.map(Authority::pem).unwrap_or_default()).start().await
}

type Https = Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// A client that offers HTTP/2 and HTTP/1.1.
fn https(config: ClientConfig) -> Https {
    let connector = HttpsConnectorBuilder::new().with_tls_config(config).https_only().enable_all_versions().build();
    Client::builder(TokioExecutor::new()).build(connector)
}

fn offering_nothing(config: &Arc<ClientConfig>) -> ClientConfig {
    let mut config = ClientConfig::clone(config);
    config.alpn_protocols.clear();
    config
}

/// Asks over a connection of its own; `None` if there is no agreement or no answer.
async fn ask(world: &World, config: &Arc<ClientConfig>) -> Option<Got> {
    let uri = format!("https://localhost:{}/v1/chat/completions", world.gateway.listen.port());
    let request = Request::post(uri).body(Full::from(ASK)).expect("a valid request");
    let client = https(offering_nothing(config));
    let response = timeout(PATIENCE, client.request(request)).await.expect("an end in time").ok()?;
    Some(whole(response).await)
}

#[tokio::test]
async fn http_2_and_http_1_are_agreed_on_by_name() {
    let authority = Authority::new();
    let world = world(&authority.signs("localhost"), None).await;
    let connector = TlsConnector::from(authority.client(None, &["http/1.1"]));
    let tcp = TcpStream::connect(world.gateway.listen).await.expect("a listening door");
    let name = ServerName::try_from("localhost").expect("a name");
    let mut stream = connector.connect(name, tcp).await.expect("an agreement");
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
    stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await.expect("room");
    let mut answer = String::new();
    drop(timeout(PATIENCE, stream.read_to_string(&mut answer)).await.expect("an end in time"));
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");

    let client = https(offering_nothing(&authority.client(None, &[])));
    let uri = format!("https://localhost:{}/v1/chat/completions", world.gateway.listen.port());
    let request = Request::post(uri).body(Full::from(ASK)).expect("a valid request");
    let response = client.request(request).await.expect("an answer");
    assert_eq!((response.status().as_u16(), response.version()), (200, Version::HTTP_2));
    assert_eq!(world.fates(), ["completed"]);
}

#[tokio::test]
async fn who_does_not_speak_tls_is_turned_away_and_keeps_nobody_waiting() {
    let authority = Authority::new();
    let world = world(&authority.signs("localhost"), None).await;
    let silent = TcpStream::connect(world.gateway.listen).await.expect("a listening door");
    let mut plain = TcpStream::connect(world.gateway.listen).await.expect("a listening door");
    plain.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n").await.expect("room");
    let mut answer = Vec::new();
    drop(timeout(PATIENCE, plain.read_to_end(&mut answer)).await.expect("an end in time"));
    assert!(answer.starts_with(b"HTTP/1.1 400 "), "{answer:?}");
    assert_eq!(ask(&world, &authority.client(None, &[])).await.expect("an answer").status, 200);
    assert!(ask(&world, &Authority::new().client(None, &[])).await.is_none(), "not the authority that it trusts");
    drop(silent);
}

#[tokio::test]
async fn agents_show_a_certificate_where_that_is_asked_for_and_operators_never() {
    let (ours, agents, strangers) = (Authority::new(), Authority::new(), Authority::new());
    let world = world(&ours.signs("localhost"), Some(&agents)).await;
    let shows = |certificate: Option<&Certificate>| ours.client(certificate, &[]);
    assert_eq!(ask(&world, &shows(Some(&agents.signs("agent")))).await.expect("an answer").status, 200);
    assert!(ask(&world, &shows(None)).await.is_none());
    assert!(ask(&world, &shows(Some(&strangers.signs("agent")))).await.is_none());
    let client = https(offering_nothing(&shows(None)));
    let uri = format!("https://localhost:{}/metrics", world.gateway.admin_listen.port());
    let response = client.get(uri.parse().expect("an address")).await.expect("an answer");
    assert_eq!(response.status(), 200);
    assert_eq!(world.provider.arrivals(), 1);
}

#[tokio::test]
async fn a_new_certificate_is_served_without_a_restart_and_a_bad_one_never() {
    let (old, new) = (Authority::new(), Authority::new());
    let world = world(&old.signs("localhost"), None).await;
    let (trusts_old, trusts_new) = (old.client(None, &[]), new.client(None, &[]));
    assert!(ask(&world, &trusts_old).await.is_some());
    for (number, broken) in ["", "no PEM at all", &*new.signs("localhost").cert].into_iter().enumerate() {
        fs::write(world.folder.path().join("gateway.pem"), broken).expect("a writable folder");
        let failed = world.logged("reload_failed", number + 1).await;
        assert_eq!(failed["file"], "tls");
        assert!(failed["problems"].to_string().contains("gateway."), "{failed}");
        assert!(ask(&world, &trusts_old).await.is_some(), "{broken}");
    }
    new.signs("localhost").write(world.folder.path());
    world.logged("certificates_reloaded", 1).await;
    assert!(ask(&world, &trusts_old).await.is_none());
    assert_eq!(ask(&world, &trusts_new).await.expect("an answer").status, 200);
    let client = https(offering_nothing(&trusts_new));
    let uri = format!("https://localhost:{}/metrics", world.gateway.admin_listen.port());
    let page = whole(client.get(uri.parse().expect("an address")).await.expect("an answer")).await;
    assert!(page.text().contains("farthing_reload_failures_total{file=\"tls\"} 3"), "{}", page.text());
}

/// What `farthing check` says of these files, which stand in the place of good ones.
#[track_caller]
fn check(replaced: &[(&str, Option<&str>)], expected: &[&str]) {
    let folder = tempfile::tempdir().expect("a folder");
    let authority = Authority::new();
    authority.signs("localhost").write(folder.path());
    fs::write(folder.path().join("agents.pem"), authority.pem()).expect("a file");
    for (name, text) in replaced {
        match text {
            Some(text) => fs::write(folder.path().join(name), text).expect("a file"),
            None => fs::remove_file(folder.path().join(name)).expect("a file"),
        }
    }
    let config = folder.path().join("farthing.yaml");
    let providers = "providers: { sim: { protocol: openai, base_url: \"http://localhost/v1\", models: [\"*\"] } }";
    fs::write(&config, format!("server: {{ {FILES_AND_CA} }}\n{providers}\n")).expect("a file");
    let output = Command::new(FARTHING).args(["check", "--config"]).arg(&config).output().expect("the binary runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.success(), expected.is_empty(), "{said}");
    for expected in expected {
        assert!(said.contains(expected), "wanted {expected:?} in {said}");
    }
}

#[test]
fn checking_names_the_file_and_what_is_wrong_with_it() {
    let other = Authority::new().signs("localhost");
    check(&[], &[]);
    check(&[("gateway.pem", None)], &["gateway.pem: cannot read it: there is no such file"]);
    check(&[("gateway.pem", Some("not PEM"))], &["gateway.pem: it holds no certificate"]);
    check(
        &[("gateway.pem", Some("-----BEGIN CERTIFICATE-----\n%%\n-----END CERTIFICATE-----\n"))],
        &["gateway.pem: it is not PEM"],
    );
    check(&[("gateway.key", Some(&other.cert))], &["gateway.key: it holds no private key"]);
    check(
        &[("gateway.key", Some(&other.key))],
        &["gateway.key: this key is not that of the certificate in", "gateway.pem"],
    );
    check(&[("agents.pem", Some(""))], &["agents.pem: it holds no certificate"]);
    let both = ["gateway.pem: cannot read it", "gateway.key: cannot read it"];
    check(&[("gateway.pem", None), ("gateway.key", None)], &both);
}

#[tokio::test]
async fn plain_http_where_tls_is_served_is_told_so() {
    let authority = Authority::new();
    let world = world(&authority.signs("localhost"), None).await;
    let mut stream = TcpStream::connect(world.gateway.listen).await.expect("a listening door");
    stream
        .write_all(b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: 2\r\n\r\n{}")
        .await
        .expect("room");
    let mut answer = String::new();
    timeout(PATIENCE, stream.read_to_string(&mut answer)).await.expect("an end in time").expect("a whole answer");
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("this port speaks TLS"), "{answer}");
    world.logged("plain_http", 1).await;
}
