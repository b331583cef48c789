//! Files that were damaged in any way are refused or accepted, and never panic nor show a secret.

use proptest::prelude::*;

use super::*;

const EXAMPLE: &str = include_str!("../../../farthing.example.yaml");

/// The example with some characters replaced by others that mean something in YAML.
fn damaged() -> impl Strategy<Value = String> {
    let damage = (0..EXAMPLE.len(), 0..4usize, "[-:{}\\[\\],&*!|>'\"%@`?# \t\n\u{0}a0é]{0,3}");
    prop::collection::vec(damage, 1..4).prop_map(|damages| {
        let mut text: Vec<char> = EXAMPLE.chars().collect();
        for (at, length, instead) in damages {
            let start = at.min(text.len());
            let end = (start + length).min(text.len());
            text.splice(start..end, instead.chars());
        }
        text.into_iter().collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_damaged_file_is_read_or_refused_with_a_place_inside_it(text in damaged()) {
        let lines = text.lines().count() as u32;
        for problem in parse("farthing.yaml", &text, Path::new(""), &env).err().into_iter().flatten() {
            prop_assert!(problem.line <= lines + 1, "{problem}");
            prop_assert!(!problem.message.contains("sk-hidden"), "{problem}");
        }
    }
}
