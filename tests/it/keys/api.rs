//! The admin API: who may ask, what it says of requests that are wrong or repeated, and its lists.

use super::*;

#[tokio::test]
async fn without_an_admin_key_there_is_no_admin_api_and_with_one_it_is_wanted() {
    let open = World::new(luna([Reply::text("ok")]), "").await;
    assert_eq!(open.api(Method::GET, "keys", &[], "").await.status, 404);
    let world = ok_world("").await;
    for (headers, status) in [
        (&[("authorization", "Bearer wrong")][..], 401),
        (&[("authorization", "")], 401),
        (&[("origin", "https://evil.example")], 403),
        (&[("origin", "null")], 403),
        (&[], 200),
    ] {
        assert_eq!(world.api(Method::GET, "keys", headers, "").await.status, status, "{headers:?}");
    }
    assert_eq!(world.api(Method::GET, "nothing", &[], "").await.status, 404);
    assert_eq!(world.api(Method::PUT, "keys", &[], "").await.header("allow"), "GET, POST");
    assert_eq!(world.api(Method::GET, "keys?limit=1&limit=2", &[], "").await.status, 400);
    let large = world.api(Method::POST, "keys", &[], vec![b' '; 65 << 10]).await;
    assert_eq!((large.status, &*large.code()), (413, "body_too_large"));
    for body in [
        "",
        "{",
        r#"{"team":"t","nmae":"x"}"#,
        r#"{"team":"t","team":"u"}"#,
        r#"{"name":"x"}"#,
        r#"{"team":"t","budget":{"usd":"1","every":"year"}}"#,
        r#"["q","t"]"#,
        r#"{"team":"t","may":[["t"]]}"#,
        r#"{"team":"t","limits":[1]}"#,
    ] {
        let got = world.api(Method::POST, "keys", &[], body).await;
        assert_eq!((got.status, &*got.code()), (400, "invalid_body"), "{body}: {}", got.text());
    }
    // Nothing was made: everybody on this machine is still let in.
    assert_eq!(world.chat(ASK).await.status, 200);
}

#[tokio::test]
async fn a_repeated_request_has_the_same_answer_and_makes_no_second_key() {
    let world = ok_world("").await;
    let once = [("idempotency-key", "7f6b")];
    let wanted = json!({ "team": "data" }).to_string();
    let [first, again] = [(); 2].map(|()| world.api(Method::POST, "keys", &once, wanted.clone()));
    let (first, again) = tokio::join!(first, again);
    assert_eq!((first.status, again.status, &first.body), (201, 201, &again.body));
    let other = world.api(Method::POST, "keys", &once, r#"{"team":"other"}"#).await;
    assert_eq!((other.status, &*other.code()), (422, "idempotency_conflict"));
    let keys = world.api(Method::GET, "keys", &[], "").await.json();
    assert_eq!(keys["keys"].as_array().map(Vec::len), Some(1));
    // The answer is gone with the process that gave it; that it was done is not.
    let (name, secret) = (keys["keys"][0]["name"].as_str().expect("a name").to_owned(), secret(&first));
    let config = world.config();
    world.gateway.stop().await.expect("it stops");
    let served = Served::start(Path::new(&config));
    assert_eq!(status_of(&served.listen, &secret), 200);
    let headers =
        format!("authorization: Bearer {ADMIN_KEY}\r\nidempotency-key: 7f6b\r\ncontent-length: {}", wanted.len());
    let got = exchange(&served.admin_listen, "POST /admin/api/keys", &headers, &wanted);
    assert!(got.starts_with("HTTP/1.1 409 ") && got.contains(&format!("made the secret of key `{name}`")), "{got}");
}

#[tokio::test]
async fn the_admin_api_lists_keys_teams_and_the_audit() {
    let world = ok_world(
        "teams: { data: { budget: { usd: 5, every: day }, projects: { \"*\": { limits: { concurrency: 2 } } }, \
         users: { limits: { concurrency: 3 }, bob: { limits: { concurrency: 4 } } } } }",
    )
    .await;
    for name in ["a", "b", "c"] {
        world.make(json!({ "name": name, "team": "data" })).await;
    }
    let page = world.api(Method::GET, "keys?limit=2", &[], "").await.json();
    assert_eq!((page["keys"].as_array().map(Vec::len), page["next"].as_str().is_some()), (Some(2), true));
    let rest = world.api(Method::GET, &format!("keys?after={}", page["next"].as_str().unwrap()), &[], "").await.json();
    assert_eq!((rest["keys"].as_array().map(Vec::len), &rest["next"]), (Some(1), &Value::Null));
    assert_eq!(world.api(Method::GET, "keys/b", &[], "").await.json()["key"]["name"], "b");
    assert_eq!(world.api(Method::GET, "keys/d", &[], "").await.status, 404);
    let teams = world.api(Method::GET, "teams", &[], "").await.json();
    assert_eq!(teams["teams"][0]["budget"]["usd"], "5");
    assert_eq!(teams["teams"][0]["projects"]["*"]["limits"]["concurrency"], 2);
    assert_eq!(teams["teams"][0]["users"]["limits"]["concurrency"], 3);
    assert_eq!(teams["teams"][0]["named_users"]["bob"]["limits"]["concurrency"], 4);
    let audit = world.api(Method::GET, "audit?key=b", &[], "").await.json();
    assert_eq!(audit["audit"].as_array().map(Vec::len), Some(1));
    let row = &audit["audit"][0];
    assert_eq!((&row["id"], &row["action"], &row["after"]["name"]), (&json!(2), &json!("create"), &json!("b")));
    assert!(row["who"].as_str().unwrap().starts_with("admin:"));
    let unknown = world.api(Method::POST, "keys", &[], r#"{"team":"date"}"#).await;
    assert!(unknown.text().contains("did you mean `data`?"), "{}", unknown.text());
}
