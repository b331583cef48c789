//! Odd but valid bodies: whatever a client's serialiser writes, the provider reads the very same.

use std::sync::{LazyLock, Mutex};

use farthing::simulator::{Provider, Reply};
use proptest::prelude::*;
use proptest::sample::select;
use tokio::runtime::{Builder, Runtime};

use crate::support::{World, script, whole};

/// One runtime and one gateway for all cases.
static SHARED: LazyLock<(Runtime, Mutex<World>)> = LazyLock::new(|| {
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    let replies = [Reply::raw("application/json", [r#"{"choices":[]}"#])];
    let world = runtime.block_on(World::new(Provider::openai().model(script("*", replies)), ""));
    (runtime, Mutex::new(world))
});

/// Text between tokens.
fn space() -> impl Strategy<Value = &'static str> {
    select(vec!["", "", "", " ", "\n", "\t ", "\r\n  "])
}

/// A number in one of its spellings.
fn number() -> impl Strategy<Value = String> {
    let spelt = select(vec!["1.0", "1e0", "-0", "0.10", "1E+2", "-1.5e-7", "12345678901234567890123", "1e400"]);
    prop_oneof![spelt.prop_map(str::to_owned), any::<i32>().prop_map(|n| n.to_string())]
}

/// A string in quotes, escaped here and there.
fn string() -> impl Strategy<Value = String> {
    let piece = select(vec![
        "a",
        " ",
        "é",
        "\u{1F980}",
        "\u{2028}",
        "\u{2029}",
        "\u{7f}",
        "\\u0000",
        "\\u00e9",
        "\\ud83e\\udd80",
        "\\ud800",
        "\\n",
        "\\/",
        "/",
        "\\\"",
        "\\\\",
        "{",
        "]",
        ",",
        ":",
        "model",
        "\\b\\f",
    ]);
    prop::collection::vec(piece, 0..8).prop_map(|pieces| format!("\"{}\"", pieces.concat()))
}

/// Any JSON value, nested.
fn value() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        number(),
        string(),
        select(vec!["true", "false", "null", "{}", "[]", "[ ]"]).prop_map(str::to_owned)
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        let list = (prop::collection::vec(inner.clone(), 0..4), space());
        let object = (prop::collection::vec((string(), inner), 0..4), space());
        prop_oneof![
            list.prop_map(|(items, space)| format!("[{space}{}{space}]", items.join(&format!("{space},")))),
            object.prop_map(|(members, space)| {
                let members: Vec<_> = members.iter().map(|(key, value)| format!("{key}{space}:{value}")).collect();
                format!("{{{}{space}}}", members.join(&format!(",{space}")))
            }),
        ]
    })
}

/// Members that this gateway has no use for, nested extras and doubles among them.
fn extras() -> impl Strategy<Value = Vec<String>> {
    let name = prop_oneof![
        select(vec!["temperature", "x", "provider", "extra_body", "reasoning", "Temperature", "cursor", ""])
            .prop_map(|name| format!("\"{name}\"")),
        string().prop_map(|name| name.replace("model", "m")),
    ];
    prop::collection::vec(
        (name, space(), value()).prop_map(|(name, gap, value)| format!("{name}{gap}:{gap}{value}")),
        0..6,
    )
}

/// A member that asks for a model, and what it must have become at the provider.
fn model() -> impl Strategy<Value = (String, String)> {
    let spelt = select(vec![
        ("\"gpt-5.6-luna\"", "\"gpt-5.6-luna\""),
        ("\"gpt\\u002d5.6-luna\"", "\"gpt\\u002d5.6-luna\""),
        ("\"lightweight\"", "\"gpt-5.6-luna\""),
        ("\"\\u006cightweight\"", "\"gpt-5.6-luna\""),
        ("\"sim/un\\\"usual\"", "\"un\\\"usual\""),
        ("\"not/a row/é\"", "\"not/a row/é\""),
    ]);
    let key = select(vec!["\"model\"", "\"m\\u006fdel\""]);
    (key, space(), spelt)
        .prop_map(|(key, gap, (said, sent))| (format!("{key}:{gap}{said}"), format!("{key}:{gap}{sent}")))
}

/// `stream` and `stream_options`, as said and as sent, and whether usage must be asked for beside the model.
fn streaming() -> impl Strategy<Value = (Vec<&'static str>, Vec<&'static str>, bool)> {
    let yes = "\"stream\" : true";
    select(vec![
        (vec![], vec![], false),
        (vec!["\"stream\":false", "\"stream_options\":{}"], vec!["\"stream\":false", "\"stream_options\":{}"], false),
        (vec![yes], vec![yes], true),
        (
            vec![yes, "\"stream_options\": {\"include_usage\" :true, \"x\":1.0}"],
            vec![yes, "\"stream_options\": {\"include_usage\" :true, \"x\":1.0}"],
            false,
        ),
        (
            vec![yes, "\"stream_options\": { \"x\":1e0, \"include_usage\": false }"],
            vec![yes, "\"stream_options\": { \"x\":1e0, \"include_usage\": true }"],
            false,
        ),
    ])
}

/// A body as a client writes it, and as it must arrive.
fn body() -> impl Strategy<Value = (String, String)> {
    (model(), streaming(), extras(), value(), space(), any::<u64>()).prop_map(
        |((model_said, model_sent), (stream_said, stream_sent, ask_usage), extras, content, space, order)| {
            let messages = format!("\"messages\":{space}[{{\"role\":\"user\",\"content\":{content},\"x\":[-0]}}]");
            let usage = if ask_usage { ",\"stream_options\":{\"include_usage\":true}" } else { "" };
            let mut members = vec![(model_said, format!("{model_sent}{usage}")), (messages.clone(), messages)];
            members.extend(stream_said.iter().zip(&stream_sent).map(|(said, sent)| ((*said).into(), (*sent).into())));
            members.extend(extras.into_iter().map(|extra| (extra.clone(), extra)));
            let count = members.len();
            members.rotate_left(order as usize % count);
            if order & 1 << 40 == 0 {
                members.reverse();
            }
            let join = |members: Vec<String>| {
                format!("{space}{{{space}{}{space}}}{space}", members.join(&format!("{space},{space}")))
            };
            let (said, sent): (Vec<_>, Vec<_>) = members.into_iter().unzip();
            (join(said), join(sent))
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn any_valid_body_arrives_with_its_own_spelling((said, sent) in body()) {
        let (runtime, world) = &*SHARED;
        let world = world.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let before = world.provider.arrivals();
        let got = runtime.block_on(async { whole(world.post(said.clone(), &[]).await).await });
        prop_assert_eq!(world.provider.arrivals(), before + 1, "{} for {}", String::from_utf8_lossy(&got.body), said);
        let arrived = world.provider.requests().pop().expect("a request");
        prop_assert_eq!(String::from_utf8_lossy(&arrived.body), sent);
    }
}
