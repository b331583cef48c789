//! The example file parses, and each default that it states is the default.

use super::*;

const EXAMPLE: &str = include_str!("../../../farthing.example.yaml");

/// The example with the keys that it shows in `#:` lines, and with a hash where it asks for one.
fn with_further_keys() -> String {
    EXAMPLE.replace("#: ", "").replace("64 lower-case hex digits", HASH)
}

/// The same without the lines whose comment is a `default`.
fn without_defaults(text: &str) -> String {
    let states_default = |line: &&str| line.split_once("# default").is_some_and(|(value, _)| value.contains(':'));
    text.lines().filter(|line| !states_default(line)).map(|line| format!("{line}\n")).collect()
}

#[test]
fn the_example_file_parses() {
    let config = parsed(EXAMPLE).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(config.providers.len(), 2);
    assert!(config.keys.is_empty(), "nobody copies a key that others have as well");
    assert_eq!(config.tiers.lightweight[1].model.as_str(), "qwen3");
}

#[test]
fn every_default_in_the_example_is_the_default() {
    let lines = |text: &str| text.lines().count();
    let whole = with_further_keys();
    assert!(lines(&whole) - lines(&without_defaults(&whole)) > 25, "the example states its defaults");
    let with = parsed(&whole).unwrap_or_else(|problems| panic!("{problems}"));
    let without = parsed(&without_defaults(&whole)).unwrap_or_else(|problems| panic!("{problems}"));
    // The key's name and mode are stated with another value than their default.
    assert_eq!(without.keys[0].id.as_str(), &HASH[..12]);
    assert_eq!(without.keys[0].mode, None);
    let printed = |config: &Config| {
        let mut config = config.clone();
        config.keys.clear();
        config.policies_at = None;
        format!("{config:#?}")
    };
    similar(&printed(&with), &printed(&without));
}

/// The keys that the example shows in `#:` lines parse too.
#[test]
fn the_further_keys_of_the_example_parse() {
    let config = parsed(&with_further_keys()).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(config.server.admin_key.map(|key| key.reveal().to_owned()).as_deref(), Some("sk-hidden"));
    assert_eq!(config.keys[0].id.as_str(), "orders-ci");
    assert_eq!(config.keys[0].may.teams, [crate::ids::TeamId::from("search")]);
    assert_eq!(config.prices.as_deref(), Some(Path::new("/etc/farthing/prices.yaml")));
}

#[track_caller]
fn similar(one: &str, other: &str) {
    for (one, other) in one.lines().zip(other.lines()) {
        assert_eq!(one, other);
    }
    assert_eq!(one.lines().count(), other.lines().count());
}
