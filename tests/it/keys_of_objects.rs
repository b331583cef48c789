//! By which key of a row an object was made: whatever names it goes out by that key, wherever it stands in the configuration.

use std::fs;

use farthing::simulator::{Provider, Reply};
use farthing::telemetry::log::Log;
use farthing::{app, config};
use http::{Method, Request};
use http_body_util::Full;
use hyper::body::Bytes;
use serde_json::{Value, json};

use crate::support::{Got, Setup, World, luna, stop, whole};

const FIRST: &str = "{ key: file:a, base_url: 'URL_OF_sim' }";
const SECOND: &str = "{ key: file:b, base_url: 'URL_OF_spare' }";

/// Two keys of one row, each of a project of its own: what one has made, the other does not see.
fn setup(first: Provider, second: Provider) -> Setup {
    Setup::of(first).and("spare", second).tiers("").dispatch("retries: 0").file("a", "sk-a").file("b", "sk-b").rows(
        &format!(
            "  sim: {{ protocol: openai, vendor: openai, models: ['*'], keys: [\n    {FIRST},\n    {SECOND},\n  ] }}\n"
        ),
    )
}

fn answering() -> Provider {
    luna([Reply::text("ok")])
}

/// Starts it. The simulated providers number what they make, each from 1 on, and ids of real ones are never the same: the second
/// begins behind all that the first will make.
async fn started(setup: Setup) -> World {
    let world = setup.start().await;
    let uri = format!("{}/conversations", world.others[0].base_url());
    for _ in 0..1000 {
        let request = Request::post(&uri).body(Full::new(Bytes::from_static(b"{}"))).expect("a valid request");
        let response = world.client.request(request).await.expect("the provider answers");
        assert_eq!(whole(response).await.status, 200);
    }
    world
}

async fn respond(world: &World, more: Value) -> Got {
    let mut body = json!({"model": "gpt-5.6-luna", "input": "hi"});
    if let (Some(body), Value::Object(more)) = (body.as_object_mut(), more) {
        body.extend(more);
    }
    whole(world.send(Method::POST, "/v1/responses", &[], body.to_string().into()).await).await
}

/// Asks in a conversation of its own; gives the response's id, and which of the two made it.
async fn made(world: &World, number: usize) -> (String, usize) {
    let before = arrivals(world);
    let got = respond(world, json!({"input": format!("question {number}")})).await;
    assert_eq!(got.status, 200, "{}", got.text());
    (got.json()["id"].as_str().expect("an id").to_owned(), usize::from(arrivals(world)[1] > before[1]))
}

/// One that the second key made.
async fn made_by_the_second(world: &World) -> String {
    for number in 0..200 {
        if let (id, 1) = made(world, number).await {
            return id;
        }
    }
    panic!("no conversation took the second key");
}

fn arrivals(world: &World) -> [u64; 2] {
    [world.provider.arrivals(), world.others[0].arrivals()]
}

/// The same world, once its configuration has been changed.
async fn restarted(world: World, change: impl FnOnce(String) -> String) -> World {
    let World { gateway, provider, others, client, folder, log } = world;
    stop(gateway).await;
    let file = folder.path().join("farthing.yaml");
    let text = change(fs::read_to_string(&file).expect("a file"));
    fs::write(&file, &text).expect("a file");
    let config = config::parse("farthing.yaml", &text, folder.path(), &|_| None).expect("a good file");
    let gateway = app::start(config, Some(file), Log::to(Box::new(std::io::sink()))).await.expect("it starts");
    World { gateway, provider, others, client, folder, log }
}

#[tokio::test]
async fn what_names_a_response_goes_out_by_the_key_that_made_it() {
    let world = started(setup(answering(), answering())).await;
    let mut made_by = [0, 0];
    for number in 0..20 {
        let (id, by) = made(&world, number).await;
        made_by[by] += 1;
        let before = arrivals(&world);
        let got = respond(&world, json!({"input": "go on", "previous_response_id": id})).await;
        assert_eq!(got.status, 200, "{}", got.text());
        let path = format!("/v1/responses/{id}");
        for (method, path) in
            [(Method::GET, path.clone()), (Method::GET, format!("{path}/input_items")), (Method::DELETE, path)]
        {
            let got = whole(world.send(method.clone(), &path, &[], "".into()).await).await;
            assert_eq!(got.status, 200, "{method} {path}: {}", got.text());
        }
        let after = arrivals(&world);
        assert_eq!((after[by] - before[by], after[1 - by]), (4, before[1 - by]));
    }
    assert!(made_by.iter().all(|made| *made > 2), "both keys are taken: {made_by:?}");
    let ways = world.rows("select distinct access from objects where access is not null");
    assert_eq!(ways.len(), 2, "{ways:?}");
    assert!(!format!("{ways:?}").contains("sk-"));
}

#[tokio::test]
async fn a_key_is_found_again_where_keys_stand_in_another_order() {
    let world = started(setup(answering(), answering())).await;
    let id = made_by_the_second(&world).await;
    let world = restarted(world, |text| {
        let lines: Vec<&str> = text.lines().collect();
        let first = lines.iter().position(|line| line.contains("file:a")).expect("the first key");
        let mut lines = lines.clone();
        lines.swap(first, first + 1);
        lines.join("\n")
    })
    .await;
    let before = arrivals(&world);
    let got = respond(&world, json!({"input": "go on", "previous_response_id": id})).await;
    assert_eq!(got.status, 200, "{}", got.text());
    let got = world.get(&format!("/v1/responses/{id}"), &[]).await;
    assert_eq!((got.status, arrivals(&world)), (200, [before[0], before[1] + 2]), "{}", got.text());
}

#[tokio::test]
async fn where_the_key_is_gone_another_is_asked_and_its_provider_says_what_it_has() {
    let world = started(setup(answering(), answering())).await;
    let id = made_by_the_second(&world).await;
    let without = |text: String| text.lines().filter(|line| !line.contains("file:b")).collect::<Vec<_>>().join("\n");
    let world = restarted(world, without).await;
    let before = arrivals(&world);
    let got = world.get(&format!("/v1/responses/{id}"), &[]).await;
    assert_eq!((got.status, arrivals(&world)), (404, [before[0] + 1, before[1]]), "{}", got.text());
    assert!(got.text().contains("not found"), "the provider's own words: {}", got.text());
    let got = respond(&world, json!({"previous_response_id": id})).await;
    assert_eq!((got.status, arrivals(&world)), (400, [before[0] + 2, before[1]]), "{}", got.text());
}

#[tokio::test]
async fn a_key_that_fails_is_not_left_for_one_that_has_not_got_what_is_named() {
    for (status, expected) in [(401, 502), (429, 429), (503, 503)] {
        let failing = luna([Reply::text("ok"), Reply::status(status)]);
        let world = started(setup(answering(), failing)).await;
        let id = made_by_the_second(&world).await;
        let before = arrivals(&world);
        let got = respond(&world, json!({"input": "go on", "previous_response_id": id})).await;
        assert_eq!((got.status, arrivals(&world)), (expected, [before[0], before[1] + 1]), "{status}: {}", got.text());
        let got = world.get(&format!("/v1/responses/{id}"), &[]).await;
        assert_eq!((got.status, arrivals(&world)), (200, [before[0], before[1] + 2]), "it rests: {}", got.text());
    }
}

#[tokio::test]
async fn what_names_a_file_goes_out_by_the_key_that_took_it() {
    let world = started(setup(answering(), answering())).await;
    let before = arrivals(&world);
    let form = "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"f\"\r\n\r\nhi\r\n--b--\r\n";
    let kind = ("content-type", "multipart/form-data; boundary=b");
    let got = whole(world.send(Method::POST, "/v1/files", &[kind], form.into()).await).await;
    let id = got.json()["id"].clone();
    for number in 0..10 {
        let content =
            json!([{"type": "input_text", "text": format!("{number}")}, {"type": "input_file", "file_id": id}]);
        let got = respond(&world, json!({"input": [{"role": "user", "content": content}]})).await;
        assert_eq!(got.status, 200, "{}", got.text());
    }
    assert_eq!(arrivals(&world), [before[0] + 11, before[1]]);
}
