//! Web pages of other origins: kept out unless they are named, and told what they may do if they are.

use farthing::simulator::Reply;
use http::Method;
use hyper::body::Bytes;

use crate::support::{ASK, ASK_STREAM, Got, Setup, World, luna, whole};

const PAGE: &str = "https://app.example";
const CORS: &str = "cors: { origins: [\"https://app.example\"], max_age: 1h }";
const KEYS: &str = "keys: [ { sha256: 555f31a01b458094a14c01ac76090ba079490824880cc2e2593c18983f223de1, team: data } ]";

async fn preflight(world: &World, path: &str, origin: &str) -> Got {
    let headers = [
        ("origin", origin),
        ("access-control-request-method", "POST"),
        ("access-control-request-headers", "authorization,content-type,x-stainless-os"),
    ];
    whole(world.send(Method::OPTIONS, path, &headers, Bytes::new()).await).await
}

#[tokio::test]
async fn a_named_page_may_ask_with_its_key_and_read_what_we_tell() {
    let world = Setup::of(luna([Reply::text("ok")])).server(CORS).more(KEYS).start().await;
    let got = preflight(&world, "/v1/chat/completions", PAGE).await;
    assert_eq!((got.status, got.text()), (204, ""));
    for (name, expected) in [
        ("access-control-allow-origin", PAGE),
        ("access-control-allow-methods", "POST"),
        ("access-control-allow-headers", "authorization,content-type,x-stainless-os"),
        ("access-control-max-age", "3600"),
        ("access-control-allow-credentials", ""),
    ] {
        assert_eq!(got.header(name), expected, "{name}");
    }
    let vary: Vec<_> = got.headers.get_all("vary").iter().map(|value| value.to_str().expect("text")).collect();
    assert!(vary.join(", ").contains("origin"), "{vary:?}");
    assert_eq!(preflight(&world, "/v1/models", PAGE).await.header("access-control-allow-methods"), "GET, HEAD");

    // Refusals may be read too, or the page could not say what is wrong.
    for (key, status) in [("fk-of-a-test", 200), ("bar", 401)] {
        for body in [ASK, ASK_STREAM] {
            let got = world.chat_as(body, &[("origin", PAGE), ("x-api-key", key)]).await;
            assert_eq!((got.status, got.header("access-control-allow-origin")), (status, PAGE));
            let exposed = got.header("access-control-expose-headers");
            assert!(exposed.contains("x-request-id") && exposed.contains("x-farthing-cost-usd"), "{exposed}");
            assert_eq!(got.header("vary"), "origin");
        }
    }
}

#[tokio::test]
async fn other_pages_are_told_nothing() {
    let world = Setup::of(luna([Reply::text("ok")])).server(CORS).start().await;
    for origin in ["https://evil.example", "https://app.example.evil.example", "http://app.example", "null"] {
        let got = preflight(&world, "/v1/chat/completions", origin).await;
        assert_eq!((got.status, got.header("access-control-allow-origin")), (403, ""), "{origin}");
        let got = world.chat_as(ASK, &[("origin", origin)]).await;
        assert_eq!((got.status, got.header("access-control-allow-origin")), (403, ""), "{origin}");
        assert_eq!(got.header("vary"), "origin", "a cache must not show it to {PAGE}");
    }
    assert_eq!(world.chat_as(ASK, &[("origin", PAGE)]).await.status, 200);
    assert_eq!(world.chat_as(ASK, &[("origin", PAGE), ("host", "evil.example")]).await.status, 403);
    assert_eq!(preflight(&world, "/nowhere", PAGE).await.status, 404);
}

#[tokio::test]
async fn without_a_word_in_the_configuration_no_page_is_let_in() {
    let world = World::new(luna([Reply::text("ok")]), "").await;
    let got = preflight(&world, "/v1/chat/completions", PAGE).await;
    assert_eq!((got.status, got.header("access-control-allow-origin"), got.header("vary")), (403, "", ""));
    assert_eq!(world.chat_as(ASK, &[("origin", PAGE)]).await.status, 403);
}

#[tokio::test]
async fn head_is_served_wherever_get_is() {
    let world = Setup::of(luna([Reply::text("ok")])).more(KEYS).start().await;
    let ask = |method: Method, path: &'static str, key: &'static str| {
        let response =
            world.send(method, path, if key.is_empty() { &[] } else { &[("x-api-key", "fk-of-a-test")] }, Bytes::new());
        async { whole(response.await).await }
    };
    for path in ["/healthz", "/readyz", "/v1/models", "/v1/models/gpt-5.6-luna", "/v1/models/nobody-knows", "/nowhere"]
    {
        let (get, head) = (ask(Method::GET, path, "fk-of-a-test").await, ask(Method::HEAD, path, "fk-of-a-test").await);
        assert_eq!((head.status, head.text()), (get.status, ""), "{path}");
        assert_eq!(head.header("content-type"), get.header("content-type"), "{path}");
        assert_eq!(head.header("content-length"), get.header("content-length"), "{path}");
    }
    let got = ask(Method::HEAD, "/v1/chat/completions", "fk-of-a-test").await;
    assert_eq!((got.status, got.header("allow")), (405, "POST"));
    assert_eq!(ask(Method::HEAD, "/v1/models", "").await.status, 401);
    let probe = ask(Method::HEAD, "/", "").await;
    assert_eq!((probe.status, probe.header("content-length"), probe.text()), (200, "0", ""));
}
