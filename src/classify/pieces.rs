//! What each piece of a request adds to the scores of the kinds: its last turn, what stood before it, what tools returned.
//!
//! The model is linear, so that pieces are scored one by one and added up, in the same order whether a piece was just
//! scored or is remembered: a memo changes what a decision costs and nothing else.

use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_128_with_seed;

use super::Request;
use super::ask::{Parts, Shapes};
use super::features::{
    Asked, Group, Rows, Signs, previous_of, rows_of_ask, rows_of_material, rows_of_signals, system_of,
    words_of_previous,
};
use super::memo::{Memo, Remembering};
use super::weights::{COLUMNS, Scores, Weights};
use super::wordings::{Wording, wording_of};
use crate::vectors::{Vector, embed};

/// A user turn, read.
#[derive(Clone, Debug)]
pub(super) struct Turn {
    /// What its ask adds.
    ask: Scores,
    /// What its ask is about.
    about: Vector,
    wording: Wording,
    signs: Signs,
    /// What it attaches, and what that adds.
    shapes: Shapes,
    material: Scores,
    /// The words that are looked at once it is the turn before the last; `None`: they have to be looked for.
    words: Option<Vec<u64>>,
}

impl Turn {
    fn of(text: &str, scratch: &mut Rows) -> Self {
        let head = &Weights::built_in().requests;
        let parts = Parts::of_turn(text);
        let (asked, about) = (Asked::of(&parts.ask), embed(&parts.ask));
        let mut ask = [0.0; COLUMNS];
        rows_of_ask(&parts.ask, &asked, scratch, |group, rows| head.add_rows(group, rows, &mut ask));
        head.add_ask(&about, &mut ask);
        let wording = wording_of(text, asked.wording(), parts.shapes.lines > 0);
        let material = of_material(&parts.material, scratch);
        let signs = asked.signs;
        Self { ask, about, wording, signs, shapes: parts.shapes, material, words: words_of_previous(&parts.ask, asked) }
    }
}

/// The scores of a request, before they become shares, what it is about, and how its ask is worded.
pub(super) fn score(request: &Request<'_>, memo: Option<&Memo>) -> (Scores, Vector, Wording) {
    let head = &Weights::built_in().requests;
    let mut scratch = Rows::default();
    let turn = recall(memo, Piece::Turn, request.last_user, |text| Arc::new(Turn::of(text, &mut scratch)));
    let system = system_of(request.system);
    let system = recall(memo, Piece::System, &system, |text| of_system(text, &mut scratch));
    let previous = request.previous_user.unwrap_or_default();
    let previous = recall(memo, Piece::Previous, previous, |text| {
        let known = memo.and_then(|memo| memo.turn(key(Piece::Turn, text)));
        match known.as_ref().and_then(|turn| turn.words.as_deref()) {
            Some(words) => scores_of_previous(scratch.grams(Group::Previous, words)),
            None => scores_of_previous(scratch.grams_of(Group::Previous, &previous_of(text), usize::MAX)),
        }
    });
    let (shapes, material) = match request.tool_results {
        [] => (turn.shapes, turn.material),
        // What comes after a tool's result is about the result, whatever was pasted before it.
        results => {
            let beginning = Parts::beginning_of(results);
            let material = recall(memo, Piece::Material, &beginning, |text| of_material(text, &mut scratch));
            let shapes = results.iter().map(|result| recall(memo, Piece::Result, result, Shapes::of_result));
            (shapes.fold(Shapes::default(), Shapes::and), material)
        }
    };
    let mut scores = head.bias();
    for piece in [&turn.ask, &system, &previous, &material] {
        scores.iter_mut().zip(piece).for_each(|(score, more)| *score += more);
    }
    head.add_rows(Group::Signals, rows_of_signals(request, &shapes, turn.signs, &mut scratch), &mut scores);
    (scores, turn.about, turn.wording)
}

fn of_system(text: &str, scratch: &mut Rows) -> Scores {
    let head = &Weights::built_in().requests;
    let mut scores = [0.0; COLUMNS];
    if text.is_empty() {
        return scores;
    }
    head.add_rows(Group::System, scratch.grams_of(Group::System, text, usize::MAX), &mut scores);
    head.add_system(&embed(text), &mut scores);
    scores
}

fn scores_of_previous(rows: &[u32]) -> Scores {
    let mut scores = [0.0; COLUMNS];
    Weights::built_in().requests.add_rows(Group::Previous, rows, &mut scores);
    scores
}

fn of_material(text: &str, scratch: &mut Rows) -> Scores {
    let mut scores = [0.0; COLUMNS];
    Weights::built_in().requests.add_rows(Group::Material, rows_of_material(text, scratch), &mut scores);
    scores
}

/// What a text is in a request: the same text is another piece elsewhere.
#[derive(Clone, Copy)]
enum Piece {
    Turn,
    System,
    Previous,
    Material,
    Result,
}

/// What is known of a piece, or is made of it and kept; an empty one is quickly read.
fn recall<V: Clone>(memo: Option<&Memo>, piece: Piece, text: &str, read: impl FnOnce(&str) -> V) -> V
where
    Memo: Remembering<V>,
{
    match memo.filter(|_| !text.is_empty()) {
        Some(memo) => memo.recall(key(piece, text), || read(text)),
        None => read(text),
    }
}

/// What a memo knows a piece by.
fn key(piece: Piece, text: &str) -> u128 {
    xxh3_128_with_seed(text.as_bytes(), piece as u64)
}
