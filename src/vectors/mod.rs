//! Vectors of words: what a text is about, as a direction.
//!
//! A text comes in, a vector of [`DIMENSIONS`] numbers and length 1 goes out, in a few microseconds and without a model
//! to run: each word has a row in a table that was distilled from a sentence transformer, and a text is the mean of
//! its words. `models/README.md` says where the table comes from and what it is worth.

mod table;
mod words;

pub use table::{DIMENSIONS, Table};

/// The direction of a text, of length 1; of no length if the table knows none of its words.
pub type Vector = [f32; DIMENSIONS];

/// The vector of `text`.
pub fn embed(text: &str) -> Vector {
    let table = Table::built_in();
    let mut sum = [0.0; DIMENSIONS];
    words::pieces(text, table, |row| table.add(row, &mut sum));
    normalise(&mut sum);
    sum
}

/// The cosine of two vectors' angle: 1 for the same direction, 0 for nothing in common.
pub fn cosine(a: &Vector, b: &Vector) -> f32 {
    dot(a, b)
}

/// The sum of the products. Eight sums are kept apart, so that eight products are made at once.
pub fn dot<const N: usize>(a: &[f32; N], b: &[f32; N]) -> f32 {
    const LANES: usize = 8;
    let mut sums = [0.0_f32; LANES];
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    for (a, b) in a.iter().zip(b) {
        for lane in 0..LANES {
            sums[lane] += a[lane] * b[lane];
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    sums.iter().sum::<f32>() + rest
}

fn normalise(vector: &mut Vector) {
    let length = dot(vector, vector).sqrt();
    if length > 0.0 {
        vector.iter_mut().for_each(|x| *x /= length);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_means_alike_points_alike() {
        let near = cosine(&embed("the invoice was paid twice"), &embed("a bill that we settled two times"));
        let far = cosine(&embed("the invoice was paid twice"), &embed("purple elephants dance in the rain"));
        assert!(near > far + 0.1, "{near} {far}");
    }

    #[test]
    fn a_text_without_words_has_no_direction() {
        for text in ["", "  \n", "12:30 — 4711", "東京"] {
            assert!(embed(text).iter().all(|x| x.abs() < f32::EPSILON), "{text}");
        }
    }

    #[test]
    fn case_accents_and_marks_make_no_difference() {
        let plain = embed("resume the deja vu naive export");
        let marked = embed("Résumé, the DÉJÀ vu; (naïve) export!");
        assert!(cosine(&plain, &marked) > 0.999);
    }
}
