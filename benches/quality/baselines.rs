//! What needs no training: always the default, the most words in common, the smallest angle.

use std::collections::HashSet;

use farthing::policy::Policy;
use farthing::vectors::{cosine, embed};

fn words(text: &str) -> HashSet<String> {
    let lower = text.to_lowercase();
    lower.split(|c: char| !c.is_alphanumeric()).filter(|word| word.len() > 2).map(str::to_owned).collect()
}

/// The task that shares most words with the request; none if it shares none.
pub fn by_words(policy: &Policy, request: &str) -> Option<usize> {
    let asked = words(request);
    let overlap = |text: &str| {
        let said = words(text);
        (1_000 * said.intersection(&asked).count()) / said.len().max(1)
    };
    let ranked = policy.tasks.iter().enumerate().map(|(task, bullet)| (overlap(&bullet.text), task));
    ranked
        .max_by_key(|(overlap, task)| (*overlap, std::cmp::Reverse(*task)))
        .filter(|best| best.0 > 0)
        .map(|best| best.1)
}

/// The task whose static vector is nearest.
pub fn by_angle(policy: &Policy, request: &str) -> Option<usize> {
    let asked = embed(request);
    let ranked = policy.tasks.iter().enumerate().map(|(task, bullet)| (cosine(&embed(&bullet.text), &asked), task));
    ranked.max_by(|a, b| a.0.total_cmp(&b.0)).map(|best| best.1)
}
