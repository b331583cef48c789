//! Which of several ways into a provider a call takes. Pure: what is known of them, and the time, are arguments.
//!
//! A conversation has a first and a second choice, by a hash of both that gives each way its weight's share of all
//! conversations: what the provider has cached of it is at the first. It goes to the second while the first rests, was
//! tried, or is much busier by *peak EWMA*: how long first bytes took of late, the worst remembered longest, times how many
//! wait for theirs. <https://www.usenix.org/conference/srecon16europe/program/presentation/gould>

use std::time::{Duration, Instant};

/// How soon a slow first byte is half forgotten.
const FORGOTTEN_BY: Duration = Duration::from_secs(10);
/// The first choice is left where it is so many times as busy as the second: what is cached there is worth some waiting.
const BUSIER_TIMES: f64 = 4.0;

/// How long first bytes take.
#[derive(Clone, Copy, Debug, Default)]
pub struct Peak(Option<(f64, Instant)>);

impl Peak {
    /// One took so long: a longer one counts at once, a shorter one by and by.
    pub fn took(&mut self, time: Duration, now: Instant) {
        let seconds = time.as_secs_f64();
        let peak = match self.seconds() {
            Some(before) if before > seconds => seconds + (before - seconds) * self.kept(now),
            _ => seconds,
        };
        self.0 = Some((peak, now));
    }

    /// What to expect, in seconds; nothing is known before the first.
    pub fn seconds(&self) -> Option<f64> {
        self.0.map(|(seconds, _)| seconds)
    }

    /// What is left of the distance to a shorter time.
    fn kept(&self, now: Instant) -> f64 {
        let passed = self.0.map_or(Duration::ZERO, |(_, at)| now.saturating_duration_since(at));
        (-passed.as_secs_f64() / FORGOTTEN_BY.as_secs_f64()).exp2()
    }
}

/// A way in, as far as the choice looks at it.
#[derive(Clone, Copy, Debug)]
pub struct Candidate {
    /// Its place in the row.
    pub number: usize,
    /// What tells it from the others, the same in every process.
    pub hash: u64,
    /// Its share.
    pub weight: u32,
    /// Calls that go on.
    pub in_flight: usize,
    /// How long a first byte takes, in seconds.
    pub first_byte: Option<f64>,
}

/// The number of the one that a conversation takes; `None` if there is none.
pub fn choose(candidates: impl Iterator<Item = Candidate>, conversation: u64) -> Option<usize> {
    choose_unless(candidates, conversation, BUSIER_TIMES)
}

/// The number of the less busy one of a conversation's first and second choice: for one that begins, of which nothing is
/// cached anywhere. `None` if there is none.
pub fn less_busy(candidates: impl Iterator<Item = Candidate>, conversation: u64) -> Option<usize> {
    choose_unless(candidates, conversation, 1.0)
}

/// The first choice, unless it is more than so many times as busy as the second.
fn choose_unless(candidates: impl Iterator<Item = Candidate>, conversation: u64, times: f64) -> Option<usize> {
    let mut best: [Option<(f64, Candidate)>; 2] = [None; 2];
    for candidate in candidates {
        let scored = (score(&candidate, conversation), candidate);
        match best {
            [Some((first, _)), _] if scored.0 <= first => {
                if best[1].is_none_or(|(second, _)| scored.0 > second) {
                    best[1] = Some(scored);
                }
            }
            [first, _] => best = [Some(scored), first],
        }
    }
    match best {
        [Some((_, first)), Some((_, second))] if is_busier(&first, &second, times) => Some(second.number),
        [first, _] => first.map(|(_, first)| first.number),
    }
}

fn is_busier(first: &Candidate, second: &Candidate, times: f64) -> bool {
    let waiting = |of: &Candidate| 1.0 + of.in_flight as f64 / f64::from(of.weight.max(1));
    let (mut one, mut other) = (waiting(first), waiting(second));
    if let (Some(first), Some(second)) = (first.first_byte, second.first_byte) {
        (one, other) = (one * first, other * second);
    }
    one > other * times
}

/// Highest for each candidate with a probability in proportion to its weight: weighted rendezvous hashing.
/// <https://www.snia.org/sites/default/files/SDC15_presentations/dist_sys/Jason_Resch_New_Consistent_Hashings_Rev.pdf>
fn score(candidate: &Candidate, conversation: u64) -> f64 {
    // The finaliser of SplitMix64 over both.
    let mut bits = candidate.hash ^ conversation.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^= bits >> 31;
    let between = ((bits >> 11) as f64 + 0.5) / (1_u64 << 53) as f64;
    f64::from(candidate.weight) / -between.ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(number: usize, weight: u32) -> Candidate {
        let hash = (number as u64 + 1).wrapping_mul(0x1234_5678_9abc_def1);
        Candidate { number, hash, weight, in_flight: 0, first_byte: None }
    }

    fn shares(candidates: &[Candidate]) -> Vec<usize> {
        let mut shares = vec![0; candidates.len()];
        for conversation in 0..10_000 {
            shares[choose(candidates.iter().copied(), conversation).expect("one")] += 1;
        }
        shares
    }

    #[test]
    fn conversations_are_shared_out_by_weight() {
        let shares = shares(&[candidate(0, 1), candidate(1, 2), candidate(2, 1)]);
        assert!((2_200..2_800).contains(&shares[0]) && (4_700..5_300).contains(&shares[1]), "{shares:?}");
    }

    #[test]
    fn a_conversation_stays_where_it_is_when_another_way_goes_or_comes() {
        let all = [candidate(0, 1), candidate(1, 1), candidate(2, 1)];
        for conversation in 0..1000 {
            let with = choose(all.iter().copied(), conversation).expect("one");
            let without = choose(all.iter().copied().filter(|one| one.number != 2), conversation).expect("one");
            assert!(with == 2 || with == without, "{conversation}");
        }
    }

    #[test]
    fn what_is_much_busier_is_left_for_the_second_choice() {
        let busy = |in_flight, first_byte| Candidate { in_flight, first_byte, ..candidate(0, 1) };
        let idle = |first_byte| Candidate { first_byte, ..candidate(1, 1) };
        let homes: Vec<u64> =
            (0..100).filter(|it| choose([busy(0, None), idle(None)].into_iter(), *it) == Some(0)).collect();
        let check = |first: Candidate, second: Candidate, expected: usize| {
            for home in &homes {
                assert_eq!(choose([first, second].into_iter(), *home), Some(expected), "{first:?} {second:?}");
            }
        };
        check(busy(3, None), idle(None), 0);
        check(busy(4, None), idle(None), 1);
        check(busy(0, Some(2.0)), idle(Some(1.0)), 0);
        check(busy(1, Some(2.5)), idle(Some(1.0)), 1);
        check(busy(1, Some(100.0)), idle(None), 0);
    }

    #[test]
    fn a_slow_first_byte_counts_at_once_and_is_forgotten_by_and_by() {
        let start = Instant::now();
        let mut peak = Peak::default();
        assert_eq!(peak.seconds(), None);
        peak.took(Duration::from_secs(1), start);
        peak.took(Duration::from_secs(9), start);
        assert_eq!(peak.seconds(), Some(9.0));
        peak.took(Duration::from_secs(1), start);
        assert_eq!(peak.seconds(), Some(9.0), "no time has passed");
        peak.took(Duration::from_secs(1), start + FORGOTTEN_BY);
        assert_eq!(peak.seconds(), Some(5.0));
    }

    #[test]
    fn a_conversation_that_begins_takes_the_less_busy_of_its_two_choices() {
        let at = |number, in_flight, first_byte| Candidate { in_flight, first_byte, ..candidate(number, 1) };
        for conversation in 0..100 {
            let less = |one, other| less_busy([one, other].into_iter(), conversation);
            assert_eq!(less(at(0, 1, None), at(1, 0, None)), Some(1));
            assert_eq!(less(at(0, 0, Some(0.1)), at(1, 0, Some(0.2))), Some(0));
            assert_eq!(less(at(0, 3, Some(0.1)), at(1, 1, Some(0.3))), Some(0), "four wait a tenth, two three tenths");
            assert_eq!(less(at(0, 5, Some(0.1)), at(1, 0, Some(0.3))), Some(1));
            assert_eq!(
                less(at(0, 0, None), at(1, 0, None)),
                choose([candidate(0, 1), candidate(1, 1)].into_iter(), conversation)
            );
        }
    }

    #[test]
    fn without_a_way_there_is_none() {
        assert_eq!(choose(std::iter::empty(), 7), None);
    }
}
