//! Models of a tier that are as good as one another: conversations that begin go to the less busy one, and stay.

use farthing::simulator::{Provider, Reply};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::support::{Setup, World, luna, script};

const TIERS: &str = "lightweight: [[sim/gpt-5.6-luna, spare/gpt-5.6-luna]]";

fn conversation(model: &str, messages: &[Value]) -> String {
    json!({"model": model, "messages": messages}).to_string()
}

fn user(text: &str) -> Value {
    json!({"role": "user", "content": text})
}

async fn two(first: Provider, second: Provider, tiers: &str) -> World {
    Setup::of(first).and("spare", second).tiers(tiers).dispatch("retries: 0").start().await
}

fn arrivals(world: &World) -> [u64; 2] {
    [world.provider.arrivals(), world.others[0].arrivals()]
}

#[tokio::test]
async fn conversations_that_begin_go_to_the_one_where_fewer_go_on() {
    let slow = || luna([Reply::text("ok").stalls_after(0)]);
    let world = two(slow(), slow(), TIERS).await;
    let mut asking = JoinSet::new();
    for number in 0..8_u64 {
        let (client, listen) = (world.client.clone(), world.gateway.listen);
        let body = conversation("lightweight", &[user(&format!("question {number}"))]);
        asking.spawn(async move {
            let request = http::Request::post(format!("http://{listen}/v1/chat/completions")).body(body.into());
            client.request(request.expect("a request")).await.expect("an answer").status().as_u16()
        });
        world.until("the call", || arrivals(&world).iter().sum::<u64>() > number).await;
        let [one, other] = arrivals(&world);
        assert!(one.abs_diff(other) <= 1, "{one} and {other}");
    }
    assert_eq!(arrivals(&world), [4, 4]);
    world.provider.release();
    world.others[0].release();
    assert_eq!(asking.join_all().await, [200; 8]);
}

#[tokio::test]
async fn a_conversation_stays_where_it_began_by_tier_and_by_name() {
    for model in ["lightweight", "gpt-5.6-luna"] {
        let world = two(luna([Reply::text("ok")]), luna([Reply::text("ok")]), TIERS).await;
        for number in 0..20 {
            let mut messages = vec![user(&format!("conversation {number}"))];
            let mut ways = Vec::new();
            for _ in 0..3 {
                let before = arrivals(&world);
                assert_eq!(world.chat(conversation(model, &messages)).await.status, 200);
                ways.push(arrivals(&world)[0] > before[0]);
                messages.extend([json!({"role": "assistant", "content": "ok"}), user("go on")]);
            }
            if model == "lightweight" {
                assert!(ways.iter().all(|way| *way == ways[0]), "{ways:?}");
            }
        }
        assert!(arrivals(&world).iter().all(|arrivals| *arrivals >= 3), "{:?}", arrivals(&world));
    }
}

#[tokio::test]
async fn the_others_of_a_group_come_next_and_what_stands_behind_it_last() {
    let fails = || luna([Reply::status(503)]);
    let world = Setup::of(fails())
        .and("spare", fails())
        .and("last", luna([Reply::text("from the last")]))
        .tiers("lightweight: [[sim/gpt-5.6-luna, spare/gpt-5.6-luna], last/gpt-5.6-luna]")
        .dispatch("retries: 0, circuit: { failures: 2, cool_down: 1h }")
        .start()
        .await;
    for number in 0..4 {
        let got = world.chat(conversation("lightweight", &[user(&format!("question {number}"))])).await;
        assert_eq!((got.status, got.header("x-farthing-model")), (200, "last/gpt-5.6-luna"), "{}", got.text());
    }
    assert_eq!(arrivals(&world), [2, 2], "then both rest");
}

#[tokio::test]
async fn what_was_chosen_among_equals_stands_in_the_row_and_is_explained_by_it() {
    let world = two(luna([Reply::text("ok")]), luna([Reply::text("ok")]), TIERS).await;
    for number in 0..40 {
        world.chat(conversation("lightweight", &[user(&format!("question {number}"))])).await;
    }
    let told = "select count(*) from requests_v1 r join attempts_v1 a using (request_id)
                where (a.provider = 'spare') is not (coalesce(r.state, '') like '%\"less_busy\":\"spare/gpt-5.6-luna\"%')";
    assert_eq!(world.rows(told), [[0_i64.into()]]);
    let of_spare = "select count(*) > 0 from attempts_v1 where provider = 'spare'";
    assert_eq!(world.rows(of_spare), [[1_i64.into()]]);
}

#[tokio::test]
async fn a_row_that_speaks_as_the_client_does_comes_before_its_equals() {
    const OPUS: &str = "claude-opus-5-5";
    let claude = Provider::anthropic().model(script(OPUS, [Reply::text("ok")]));
    let world = Setup::of(luna([Reply::text("ok")]))
        .and_speaking("anthropic", "spare", claude)
        .tiers(&format!("lightweight: [[spare/{OPUS}, sim/gpt-5.6-luna]]"))
        .start()
        .await;
    for number in 0..10 {
        let got = world.chat(conversation("lightweight", &[user(&format!("question {number}"))])).await;
        assert_eq!(got.header("x-farthing-model"), "sim/gpt-5.6-luna", "nothing has to be translated");
    }
}
