//! Token counts against the reference: what `tiktoken` makes of a text is what we count.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use farthing::tokens::{Encoding, Memo, count, count_request};
use proptest::prelude::*;
use serde_json::json;

const BOTH: [Encoding; 2] = [Encoding::O200k, Encoding::Cl100k];

fn reference(encoding: Encoding, text: &str) -> u64 {
    let bpe = match encoding {
        Encoding::Cl100k => tiktoken_rs::cl100k_base_singleton(),
        Encoding::O200k => tiktoken_rs::o200k_base_singleton(),
    };
    bpe.encode_ordinary(text).len() as u64
}

#[track_caller]
fn check(text: &str) {
    for encoding in BOTH {
        let start: String = text.chars().take(80).collect();
        assert_eq!(count(encoding, text), reference(encoding, text), "{} of {start:?}", encoding.name());
    }
}

/// Texts that tokenizers have stumbled over.
fn hostile() -> Vec<String> {
    let mut texts: Vec<String> = [
        "",
        " ",
        "\n",
        "<|endoftext|>",
        "a<|im_start|>system<|im_end|>b <|fim_prefix|>",
        "don't DON'T we'LL y'all's \u{2019}s 'S'T'RE",
        "\u{17f}'\u{17f} K\u{212a}'s",
        "\u{1F468}\u{200D}\u{1F469}\u{200D}\u{1F467} \u{1F1E9}\u{1F1EA} \u{1F980}\u{FE0F}",
        "\u{4F60}\u{597D}\u{FF0C}\u{4E16}\u{754C}\u{3002} \u{3053}\u{3093}\u{306B}\u{3061}\u{306F} \u{C548}\u{B155}",
        "\u{627}\u{644}\u{633}\u{644}\u{627}\u{645} \u{939}\u{93F}\u{928}\u{94D}\u{926}\u{940} \u{E2A}\u{E27}\u{E31}",
        "e\u{301}\u{301}\u{301} \u{FB01} \u{1D400} \u{0} \u{FFFD} \u{10FFFF}",
        "\u{85}\u{2028}\u{2029}\u{A0}\u{3000}\u{200B}",
        "1234567890 12.5e-10 0x1F 1,000,000 \u{661}\u{662}\u{663}",
        "    fn main() {\r\n\t\tprintln!(\"{}\", x);\r\n    }\r\n\r\n\r\n",
        "\r\n \r\n  \n\n \t \n",
        "https://example.com/a/b?c=d&e=%20#f /path//to///file",
    ]
    .map(str::to_owned)
    .to_vec();
    for unit in ["a", " ", "\n", "ab", "\u{1F980}", "\u{4F60}", "0", "=", " \n", "the ", "\t", "aA", "'s"] {
        texts.extend([2, 3, 7, 100, 1000].map(|times| unit.repeat(times)));
    }
    texts
}

#[test]
fn hostile_texts_have_as_many_tokens_as_the_reference_says() {
    hostile().iter().for_each(|text| check(text));
}

#[test]
fn prose_code_and_data_have_as_many_tokens_as_the_reference_says() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for file in ["ARCHITECTURE.md", "Cargo.toml", "src/gateway.rs", "src/prompt/json.rs", "src/cost/prices/xai.yaml"] {
        let text = fs::read_to_string(root.join(file)).expect("a file of the repository");
        check(&text);
        check(&json!(text).to_string());
    }
}

fn any_text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        any::<String>(),
        "[ \t\r\n]{0,12}",
        "[a-zA-Z']{0,20}",
        "[0-9.,]{0,12}",
        "\\p{L}{0,8}",
        "\\p{M}{0,4}",
        "\\p{So}{0,4}",
        proptest::sample::select(vec!["<|endoftext|>", "'ll", "'S", "\u{17f}", "\u{212a}", "//", "\r\n"])
            .prop_map(str::to_owned),
        ("\\PC{1,3}", 1..30usize).prop_map(|(unit, times)| unit.repeat(times)),
    ];
    proptest::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn any_text_has_as_many_tokens_as_the_reference_says(text in any_text()) {
        for encoding in BOTH {
            prop_assert_eq!(count(encoding, &text), reference(encoding, &text), "{}", encoding.name());
        }
    }
}

/// Prints times and sizes: `cargo test --config profile.dev.opt-level=2 --test it -- --ignored --nocapture what_counting`.
#[test]
#[ignore = "a measurement"]
fn what_counting_takes() {
    for encoding in BOTH {
        let (before, resident) = (Instant::now(), resident_kib());
        count(encoding, "x");
        println!("{} table: {:.1?}, {} KiB", encoding.name(), before.elapsed(), resident_kib() - resident);
    }
    for encoding in BOTH {
        let (before, resident) = (Instant::now(), resident_kib());
        reference(encoding, "x");
        println!("reference's {} table: {:.1?}, {} KiB", encoding.name(), before.elapsed(), resident_kib() - resident);
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |file: &str| fs::read_to_string(root.join(file)).expect("a file of the repository");
    for (what, text) in [
        ("prose", read("ARCHITECTURE.md")),
        ("code", read("src/prompt/json.rs")),
        ("yaml", read("src/cost/prices/azure.yaml")),
        ("aaaa", "a".repeat(16 << 10)),
        ("spaces", " ".repeat(16 << 10)),
        ("abab", "ab".repeat(8 << 10)),
        ("crabs", "\u{1F980}".repeat(4 << 10)),
    ] {
        let (ours, theirs) = (fastest(|| count(Encoding::O200k, &text)), fastest(|| reference(Encoding::O200k, &text)));
        println!("{what:10} {:8} bytes {ours:9.1?} reference {theirs:9.1?}", text.len());
    }
    for (what, unit) in [("a", "a"), ("blanks", " "), ("marks", "\u{301}"), ("mixed", "\u{301}A \n")] {
        for bytes in [1 << 18, 1 << 20] {
            let (text, before) = (unit.repeat(bytes / unit.len()), Instant::now());
            let tokens = count(Encoding::O200k, &text);
            println!("{what:10} {bytes:8} bytes {tokens:7} tokens {:9.1?}", before.elapsed());
        }
    }
    let turn = |n: usize| json!({"role": "user", "content": format!("turn {n}: {}", read("src/gateway.rs"))});
    let body = json!({"messages": (0..20).map(turn).collect::<Vec<_>>()}).to_string();
    let mut memo = Memo::default();
    let first = fastest(|| count_request(Encoding::O200k, body.as_bytes(), &mut Memo::default()).expect("a count"));
    count_request(Encoding::O200k, body.as_bytes(), &mut memo).expect("a count");
    let again = fastest(|| count_request(Encoding::O200k, body.as_bytes(), &mut memo).expect("a count"));
    println!("request of {} bytes: {first:.1?}, remembered {again:.1?}", body.len());
}

fn fastest(count: impl FnMut() -> u64) -> Duration {
    let mut count = count;
    let time = |_| {
        let before = Instant::now();
        std::hint::black_box(count());
        before.elapsed()
    };
    (0..7).map(time).min().unwrap_or_default()
}

fn resident_kib() -> i64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.split_whitespace().next().and_then(|kib| kib.parse().ok()).unwrap_or_default()
}
