use proptest::prelude::*;

use super::*;

fn accepts(text: &str) -> bool {
    let mut scanner = Scanner::new(text);
    scanner.skip().and_then(|_| scanner.end()).is_ok()
}

#[track_caller]
fn check(text: &str, valid: bool) {
    assert_eq!(accepts(text), valid, "{text}");
}

#[test]
fn the_grammar_is_kept_to_the_letter() {
    for text in ["{}", "[ ]", r#"{"a":[1,-0.5e+3,true,null,"x\u00e9\n"]}"#, " 0 ", "\"\"", "[[],{}]", r#""\ud800""#] {
        check(text, true);
    }
    for text in [
        "",
        "{",
        "[1,]",
        "{\"a\" 1}",
        "{a:1}",
        "01",
        "1.",
        "-",
        "tru",
        "\"\n\"",
        "\"\\x\"",
        "\"\\u12\"",
        "1 2",
        "[1}",
        "{\"a\":1,}",
        "nul",
        "+1",
        "\u{feff}{}",
    ] {
        check(text, false);
    }
}

#[track_caller]
fn check_whole(text: &str, expected: WholeNumber) {
    assert_eq!(Scanner::new(text).whole_number(), Ok(expected), "{text}");
}

#[test]
fn a_whole_number_is_one_however_it_is_spelt() {
    for text in ["100", "1e2", "100.0", "1000e-1"] {
        check_whole(text, WholeNumber::Is(100));
    }
    for text in ["-1", "1.5", "1e400", "\"100\"", "[100]", "true", "99999999999999999999"] {
        check_whole(text, WholeNumber::Odd);
    }
    check_whole("null", WholeNumber::Absent);
    check_whole("18446744073709551615", WholeNumber::Is(u64::MAX));
}

#[test]
fn ten_thousand_levels_are_refused_without_a_deep_stack() {
    check(&format!("{}{}", "[".repeat(10_000), "]".repeat(10_000)), false);
    check(&format!("{}1{}", "[".repeat(JSON_DEPTH_MAX), "]".repeat(JSON_DEPTH_MAX)), true);
}

#[test]
fn a_number_of_four_hundred_digits_passes() {
    check(&"9".repeat(400), true);
}

#[test]
fn members_come_out_with_their_positions() {
    let text = r#" {"a": "x", "b\u0063": [1, 2]} "#;
    let mut scanner = Scanner::new(text);
    let mut seen = Vec::new();
    scanner
        .object::<JsonError>(|s, key| {
            let range = s.skip()?;
            seen.push((key.decode().into_owned(), s.text(range).to_owned()));
            Ok(())
        })
        .unwrap();
    assert_eq!(seen, [("a".into(), "\"x\"".into()), ("bc".into(), "[1, 2]".into())]);
    assert!(scanner.end().is_ok());
}

#[test]
fn escapes_resolve_as_the_specification_says() {
    for (raw, text) in
        [(r"a\n\/\u00e9", "a\n/é"), (r"\ud83d\ude00", "😀"), (r"\ud83dx", "\u{fffd}x"), (r"\\u0041", r"\u0041")]
    {
        assert_eq!(unescape(raw), text, "{raw}");
    }
}

fn any_json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<f64>().prop_map(|f| serde_json::Number::from_f64(f).map_or(serde_json::Value::Null, Into::into)),
        any::<String>().prop_map(Into::into),
    ];
    leaf.prop_recursive(5, 60, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Into::into),
            prop::collection::vec((any::<String>(), inner), 0..6)
                .prop_map(|members| serde_json::Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn whatever_serde_json_writes_is_accepted_whole(value in any_json()) {
        for text in [value.to_string(), serde_json::to_string_pretty(&value).unwrap()] {
            let mut scanner = Scanner::new(&text);
            prop_assert_eq!(scanner.skip(), Ok(0..text.len()));
        }
    }

    #[test]
    fn damaged_json_is_judged_as_serde_json_judges_it(value in any_json(), at in any::<prop::sample::Index>(), byte in 0u8..128) {
        let mut bytes = value.to_string().into_bytes();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Ok(text) = std::str::from_utf8(&bytes) {
            prop_assert_eq!(accepts(text), serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok(), "{}", text);
        }
    }

    #[test]
    fn strings_decode_as_serde_json_decodes_them(text in any::<String>()) {
        let written = serde_json::to_string(&text).unwrap();
        let mut scanner = Scanner::new(&written);
        prop_assert_eq!(scanner.string().unwrap().decode(), text);
    }
}
