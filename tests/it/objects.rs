//! What providers keep for teams: whoever made it may name it, where it is kept, and for everybody else it is not there.

use farthing::simulator::{BillsAfterCut, ModelScript, Provider, Reply};
use http::Method;
use rusqlite::types::Value as Cell;
use serde_json::{Value, json};

use crate::support::{Events, Got, Setup, World, luna, whole};

const LUNA: &str = "gpt-5.6-luna";
const DATA: (&str, &str) = ("x-farthing-team", "data");
const OPS: (&str, &str) = ("x-farthing-team", "ops");

fn setup(replies: impl IntoIterator<Item = Reply>) -> Setup {
    Setup::of(luna(replies)).tiers(&format!("lightweight: [sim/{LUNA}]"))
}

fn asking(more: Value) -> String {
    let mut body = json!({"model": LUNA, "input": "hi"});
    if let (Some(body), Value::Object(more)) = (body.as_object_mut(), more) {
        body.extend(more);
    }
    body.to_string()
}

async fn respond(world: &World, team: (&str, &str), more: Value) -> Got {
    whole(world.send(Method::POST, "/v1/responses", &[team], asking(more).into()).await).await
}

async fn id_of(world: &World, team: (&str, &str), more: Value) -> String {
    let got = respond(world, team, more).await;
    assert_eq!(got.status, 200, "{}", got.text());
    got.json()["id"].as_str().expect("an id").to_owned()
}

/// The id of the response that begins with an event.
fn id_in(created: &str) -> String {
    let data = created.lines().find_map(|line| line.strip_prefix("data: ")).expect("data");
    let event: Value = serde_json::from_str(data).expect("JSON");
    event["response"]["id"].as_str().expect("an id").to_owned()
}

fn objects(world: &World) -> Vec<Vec<Cell>> {
    world.rows("select kind, provider, team from objects order by id")
}

#[tokio::test]
async fn a_response_that_is_kept_goes_on_for_the_team_that_made_it() {
    let world = setup([Reply::text("one"), Reply::text("two"), Reply::text("three")]).start().await;
    let first = id_of(&world, DATA, json!({})).await;
    let second = id_of(&world, DATA, json!({"previous_response_id": first})).await;
    assert_ne!(first, second);
    for foreign in [(OPS, first.as_str()), (DATA, "resp_unknown"), (DATA, "")] {
        let got = respond(&world, foreign.0, json!({"previous_response_id": foreign.1})).await;
        let error = &got.json()["error"];
        assert_eq!((got.status, &*got.code(), &error["param"]), (404, "not_found", &json!("previous_response_id")));
    }
    assert_eq!(world.provider.arrivals(), 2);
    let of_data = ["response", "sim", "data"].map(|word| Cell::Text(word.to_owned())).to_vec();
    assert_eq!(objects(&world), vec![of_data; 2]);
    world.the_ledger_holds_the_invoice();
}

#[tokio::test]
async fn the_id_of_a_stream_is_known_before_it_ends() {
    let world = setup([Reply::text("one two three").stalls_after(4), Reply::text("ok")]).start().await;
    let body = asking(json!({"stream": true}));
    let response = world.send(Method::POST, "/v1/responses", &[DATA], body.into()).await;
    let mut events = Events::of(response);
    let id = id_in(&events.take(1).await[0]);
    assert_eq!(objects(&world).len(), 1, "{id}");
    world.provider.release();
    events.rest().await;
    assert_eq!(respond(&world, DATA, json!({"previous_response_id": id})).await.status, 200);
}

#[tokio::test]
async fn what_is_not_kept_is_nobodys() {
    let world = setup([Reply::text("ok")]).start().await;
    let id = id_of(&world, DATA, json!({"store": false})).await;
    assert!(objects(&world).is_empty());
    let got = respond(&world, DATA, json!({"previous_response_id": id})).await;
    assert_eq!(got.status, 404, "{}", got.text());
}

#[tokio::test]
async fn a_conversation_goes_on_where_it_is_kept_and_nowhere_else() {
    let other = luna([Reply::text("elsewhere")]);
    let world = setup([Reply::text("one"), Reply::status(503), Reply::text("two")])
        .and("other", other)
        .tiers(&format!("lightweight: [other/{LUNA}, sim/{LUNA}]"))
        .dispatch("retries: 0")
        .start()
        .await;
    let first = id_of(&world, DATA, json!({"model": format!("sim/{LUNA}")})).await;
    let got = respond(&world, DATA, json!({"model": "lightweight", "previous_response_id": first})).await;
    assert_eq!((got.status, world.others[0].arrivals()), (503, 0), "nobody else is asked: {}", got.text());
    let got = respond(&world, DATA, json!({"model": "lightweight", "previous_response_id": first})).await;
    assert_eq!((got.status, world.others[0].arrivals()), (200, 0), "{}", got.text());
    let got = respond(&world, DATA, json!({"model": format!("other/{LUNA}"), "previous_response_id": first})).await;
    assert_eq!((got.status, &*got.code()), (400, "invalid_body"), "{}", got.text());
    assert_eq!(world.others[0].arrivals(), 0);
}

#[tokio::test]
async fn what_goes_on_has_no_bound_and_needs_its_grant_under_a_budget() {
    let budget = "teams: { data: { budget: { usd: 1, every: day } } }";
    let world = setup([Reply::text("ok")]).more(budget).start().await;
    let first = id_of(&world, DATA, json!({"max_output_tokens": 50})).await;
    for more in [json!({"previous_response_id": first}), json!({"background": true})] {
        let mut more = more;
        more["max_output_tokens"] = 50.into();
        let got = respond(&world, DATA, more).await;
        assert_eq!((got.status, &*got.code()), (400, "unbounded_cost"), "{}", got.text());
    }
    assert_eq!(world.provider.arrivals(), 1);
}

#[tokio::test]
async fn what_is_made_in_the_background_costs_nobody_knows_what() {
    let world = setup([Reply::text("ok")]).start().await;
    let got = respond(&world, DATA, json!({"background": true})).await;
    assert_eq!((got.status, &got.json()["status"]), (200, &json!("queued")), "{}", got.text());
    let row = &world.attempts()[0];
    assert_eq!((&*row.fate, row.cost, row.low), ("completed", None, 0), "{row:?}");
    world.the_ledger_holds_the_invoice();
}

/// The one attempt's cost, and where its figures come from.
fn booked(world: &World) -> Vec<Vec<Cell>> {
    world.rows("select cost_nano, output_tokens, source, export from attempts_v1")
}

#[tokio::test]
async fn what_is_made_in_the_background_is_booked_once_somebody_is_told_what_it_used() {
    let keys = format!(
        "keys:\n  - {{ sha256: {}, name: k, team: data, may: {{ unbounded: true }}, budget: {{ usd: 1, every: day }} }}\n\
         teams: {{ data: {{ budget: {{ usd: 1, every: day }} }} }}",
        farthing::ledger::audit::sha256(b"granted")
    );
    let world = setup([Reply::text("one two three")]).more(&keys).start().await;
    let key = ("authorization", "Bearer granted");
    let id = id_of(&world, key, json!({"background": true})).await;
    let left = async || world.metric("farthing_budget_remaining_usd", "team=\"data\"").await;
    assert_eq!((booked(&world)[0][0].clone(), left().await), (Cell::Null, 1.0));
    let path = format!("/v1/responses/{id}");
    let ask = async || whole(world.send(Method::GET, &path, &[key], "".into()).await).await.json();
    // The provider is done once it has been asked for the first time.
    let mut told = ask().await;
    for _ in 0..3 {
        told = ask().await;
    }
    assert_eq!((&told["status"], told["usage"]["output_tokens"].is_u64()), (&json!("completed"), true), "{told}");
    let billed = world.provider.invoice().lines[0].cost.0;
    let text = |word: &str| Cell::Text(word.to_owned());
    let tokens = Cell::Integer(told["usage"]["output_tokens"].as_i64().expect("a figure"));
    assert_eq!(booked(&world), [[Cell::Integer(billed), tokens, text("reported"), text("the object itself")]]);
    assert_eq!(world.rows("select sum(cost_nano) from requests_v1"), [[Cell::Integer(billed)]]);
    let spent = (1.0 - left().await) * 1e9;
    assert!((spent - billed as f64).abs() < 1.0, "once, of the budget: {spent} of {billed}");
    let kinds = world.rows("select distinct substr(kind, 1, 9) from objects");
    assert_eq!(kinds, [[text("response:")]]);
    let labels = "model=\"gpt-5.6-luna\",project=\"none\",provider=\"sim\",team=\"data\",tier=\"lightweight\"";
    let counted = world.metric("farthing_cost_usd_total", labels).await * 1e9;
    assert!((counted - billed as f64).abs() < 1.0, "once: {counted} of {billed}");
    let counted = world.metric("farthing_tokens_total", "kind=\"output\"").await;
    assert_eq!(Cell::Integer(counted as i64), booked(&world)[0][1]);
    let told = world.logged("booked_late", 1).await;
    assert_eq!((&told["team"], &told["key"], &told["provider"]), (&json!("data"), &json!("k"), &json!("sim")));
    world.the_ledger_holds_the_invoice();
}

#[tokio::test]
async fn what_goes_on_in_the_background_is_booked_before_its_stream_tells_that_it_is_done() {
    for query in ["stream=true", "stream=true&starting_after=1"] {
        let script = ModelScript::named(LUNA).bills_after_cut(BillsAfterCut::All);
        let provider = Provider::openai().model(script.then(Reply::text("one two three").stalls_after(3)));
        let world = Setup::of(provider).tiers(&format!("lightweight: [sim/{LUNA}]")).start().await;
        let body = asking(json!({"background": true, "stream": true}));
        let mut begun = Events::of(world.send(Method::POST, "/v1/responses", &[DATA], body.into()).await);
        let path = format!("/v1/responses/{}?{query}", id_in(&begun.take(1).await[0]));
        drop(begun);
        world.until("the row of the client that left", || world.fates() == ["cut"]).await;
        world.provider.settled().await.expect("its invoice is final");
        assert_eq!(booked(&world)[0][0], Cell::Null);
        for _ in 0..2 {
            let mut events = Events::of(world.send(Method::GET, &path, &[DATA], "".into()).await);
            let told = events.rest().await.join("");
            assert!(told.ends_with("\n\n") && told.contains("event: response.completed\n"), "{told}");
            assert_eq!(told.contains("response.created"), !query.contains("starting_after"), "as it came: {told}");
            let billed = world.provider.invoice().lines[0].cost.0;
            assert_eq!(booked(&world)[0][0], Cell::Integer(billed), "{query}");
            let counted = world.metric("farthing_cost_usd_total", "team=\"data\"").await * 1e9;
            assert!((counted - billed as f64).abs() < 1.0, "once: {counted} of {billed}");
        }
        assert_eq!(world.rows("select status from requests_v1 where surface = 'passthrough'").len(), 2);
        world.the_ledger_holds_the_invoice();
    }
}

#[tokio::test]
async fn files_that_are_named_must_be_the_team_s_own() {
    let world = setup([Reply::text("ok")]).start().await;
    let part = json!({"type": "input_file", "file_id": "file-1"});
    let got = respond(&world, DATA, json!({"input": [{"role": "user", "content": [part]}]})).await;
    assert_eq!((got.status, &got.json()["error"]["param"]), (404, &json!("input")), "{}", got.text());
    let part = json!({"type": "file", "file": {"file_id": "file-1"}});
    let body = json!({"model": LUNA, "messages": [{"role": "user", "content": [part]}]}).to_string();
    let got = world.chat_as(body, &[DATA]).await;
    assert_eq!((got.status, &got.json()["error"]["param"]), (404, &json!("messages")), "{}", got.text());
    assert_eq!(world.provider.arrivals(), 0);
}

#[tokio::test]
async fn files_that_are_put_into_a_conversation_must_be_the_team_s_own() {
    let world = setup([Reply::text("ok")]).start().await;
    let send = async |path: &str, body: Value| {
        whole(world.send(Method::POST, path, &[DATA], body.to_string().into()).await).await
    };
    let conversation = send("/v1/conversations", json!({})).await.json()["id"].clone();
    let path = format!("/v1/conversations/{}/items", conversation.as_str().expect("an id"));
    let content = json!([{"type": "input_file", "file_id": "file-1"}]);
    let got = send(&path, json!({"items": [{"type": "message", "role": "user", "content": content}]})).await;
    assert_eq!((got.status, &got.json()["error"]["param"]), (404, &json!("file_id")), "{}", got.text());
    assert_eq!(world.provider.arrivals(), 1, "nobody else's file is asked for");
}
