use serde_json::{Value, json};

use super::*;

mod citations;
mod from_responses;
mod prefixes;
mod replies;
mod responses_replies;
mod responses_streams;
mod streams;
mod to_chat;
mod to_messages;
mod to_responses;

fn terms<'t>(vendor: &'t str, model: &'t str) -> Terms<'t> {
    Terms { vendor, model, output_limit: 4_096, caching: Caching::AsMarked, usage: UsageChunk::Asked }
}

/// What a body becomes and what is left out of it.
#[track_caller]
fn written(from: Dialect, to: Dialect, body: &Value, terms: &Terms<'_>) -> (Value, Vec<String>) {
    let written = request(from, to, body.to_string().as_bytes(), terms).unwrap();
    let dropped = written.dropped.names().map(str::to_owned).collect();
    (serde_json::from_str(&written.body).unwrap(), dropped)
}

#[track_caller]
fn refused(from: Dialect, to: Dialect, body: &Value, terms: &Terms<'_>) -> String {
    match request(from, to, body.to_string().as_bytes(), terms).unwrap_err() {
        Untranslatable::Field { field, .. } => field.into_owned(),
        other => panic!("{other}"),
    }
}

#[test]
fn names_of_what_was_left_out_are_few_and_plain() {
    let mut dropped = Dropped::default();
    for name in ["a", "b\r\nx: y", "a", "c.d_e-f"] {
        dropped.note(name.to_owned());
    }
    assert_eq!(dropped.names().collect::<Vec<_>>(), ["a", "other", "c.d_e-f"]);
    (0..100).for_each(|number| dropped.note(format!("n{number}")));
    assert_eq!(dropped.names().count(), DROPPED_MAX);
}
