//! Ceilings hold under any interleaving, and nobody is refused who need not be.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::budget::terms::{Share, WhenNear};

const NOW: i64 = 1_795_824_000_000;

fn budget(usd: i64, every: Every) -> Budget {
    Budget { usd: NanoUsd(usd), every, when_near: WhenNear::Warn, near: Share::default() }
}

fn charge(team: &str, usd: i64) -> Charge {
    Charge { payer: Payer::Team(team.into()), budget: budget(usd, Every::Day) }
}

fn ask(charges: &[Charge], want: i64, least: i64) -> Ask {
    Ask { charges: charges.into(), at_ms: NOW, want: NanoUsd(want), least: NanoUsd(least), watched: false }
}

fn books() -> Books {
    Books::new(TimeZone::UTC)
}

#[track_caller]
fn held(answer: &Answer) -> (HoldId, i64) {
    match answer {
        Answer::Held(id, amount) => (*id, amount.0),
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn waits(answer: &Answer) -> Ticket {
    match answer {
        Answer::Wait(ticket) => *ticket,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_hold_is_under_all_ceilings_or_under_none() {
    let mut books = books();
    let (wide, narrow) = (charge("wide", 100), charge("narrow", 10));
    let both = [wide.clone(), narrow.clone()];
    assert!(matches!(books.hold(&ask(&both, 11, 11)), Answer::Short(short) if short.charge == narrow));
    assert_eq!(books.balance(&wide.payer, Every::Day, NOW), (NanoUsd(0), NanoUsd(0)));
    let (id, _) = held(&books.hold(&ask(&both, 10, 10)));
    assert_eq!(books.balance(&wide.payer, Every::Day, NOW), (NanoUsd(0), NanoUsd(10)));
    books.settle(id, NanoUsd(4));
    assert_eq!(books.balance(&narrow.payer, Every::Day, NOW), (NanoUsd(4), NanoUsd(0)));
}

#[test]
fn what_fits_an_idle_budget_is_never_refused() {
    let mut books = books();
    let charges = [charge("t", 10)];
    let (id, _) = held(&books.hold(&ask(&charges, 10, 10)));
    books.settle(id, NanoUsd(3));
    held(&books.hold(&ask(&charges, 7, 7)));
}

#[test]
fn those_who_wait_are_served_in_their_order() {
    let mut books = books();
    let charges = [charge("t", 10)];
    let (first, _) = held(&books.hold(&ask(&charges, 9, 9)));
    let large = waits(&books.hold(&ask(&charges, 8, 8)));
    let small = waits(&books.hold(&ask(&charges, 1, 1)));
    assert_eq!(books.answer(small), None, "it does not overtake, though it would fit");
    books.settle(first, NanoUsd(1));
    assert_eq!(books.woken(), [large, small]);
    assert_eq!(held(&books.answer(large).unwrap()).1, 8);
    assert_eq!(held(&books.answer(small).unwrap()).1, 1);
}

#[test]
fn a_small_one_is_not_refused_behind_a_large_one() {
    let mut books = books();
    let charges = [charge("t", 10)];
    let (_first, _) = held(&books.hold(&ask(&charges, 9, 9)));
    let _large = waits(&books.hold(&ask(&charges, 8, 8)));
    let small = waits(&books.hold(&ask(&charges, 1, 1)));
    assert_eq!(held(&books.last_chance(small).unwrap()).1, 1);
}

#[test]
fn whoever_waits_for_other_money_is_not_held_up() {
    let mut books = books();
    let (one, other) = ([charge("one", 10)], [charge("other", 10)]);
    held(&books.hold(&ask(&one, 9, 9)));
    let (second, _) = held(&books.hold(&ask(&other, 9, 9)));
    let _waits = waits(&books.hold(&ask(&one, 5, 5)));
    let ticket = waits(&books.hold(&ask(&other, 5, 5)));
    books.settle(second, NanoUsd(2));
    assert_eq!(books.woken(), [ticket]);
}

#[test]
fn money_that_cannot_come_back_is_not_waited_for() {
    let mut books = books();
    let charges = [charge("t", 10)];
    let (first, _) = held(&books.hold(&ask(&charges, 4, 4)));
    books.settle(first, NanoUsd(4));
    let (_second, _) = held(&books.hold(&ask(&charges, 2, 2)));
    assert!(matches!(books.hold(&ask(&charges, 7, 7)), Answer::Short(short) if !short.is_passing()));
    let waiting = waits(&books.hold(&ask(&charges, 6, 6)));
    assert!(matches!(books.last_chance(waiting), Some(Answer::Short(short)) if short.is_passing()));
}

#[test]
fn one_that_can_shrink_takes_what_is_left() {
    let mut books = books();
    let charges = [charge("t", 10)];
    assert_eq!(held(&books.hold(&ask(&charges, 50, 3))).1, 10, "nobody holds any, so there is nothing to wait for");
    let waiting = waits(&books.hold(&ask(&charges, 50, 3)));
    assert!(matches!(books.last_chance(waiting), Some(Answer::Short(_))));
}

#[test]
fn who_leaves_the_line_gives_back_what_it_was_given() {
    let mut books = books();
    let charges = [charge("t", 10)];
    let (first, _) = held(&books.hold(&ask(&charges, 10, 10)));
    let (gone, next) = (waits(&books.hold(&ask(&charges, 10, 10))), waits(&books.hold(&ask(&charges, 10, 10))));
    books.settle(first, NanoUsd(0));
    books.leave(gone);
    assert_eq!(held(&books.answer(next).unwrap()).1, 10);
}

#[test]
fn a_hold_grows_only_by_what_is_there() {
    let mut books = books();
    let charges = [charge("t", 10)];
    let (id, _) = held(&books.hold(&ask(&charges, 6, 6)));
    assert!(books.extend(id, NanoUsd(4)) && !books.extend(id, NanoUsd(1)));
    books.shrink(id, NanoUsd(2));
    assert_eq!(held(&books.hold(&ask(&charges, 8, 8))).1, 8);
}

#[test]
fn a_new_period_has_all_of_its_money() {
    let mut books = books();
    let charges = [charge("t", 10)];
    let (id, _) = held(&books.hold(&ask(&charges, 10, 10)));
    let tomorrow = Ask { at_ms: NOW + 86_400_000, ..ask(&charges, 10, 10) };
    held(&books.hold(&tomorrow));
    books.settle(id, NanoUsd(9));
    assert_eq!(books.balance(&charges[0].payer, Every::Day, NOW), (NanoUsd(9), NanoUsd(0)), "where it arrived");
    assert_eq!(books.balance(&charges[0].payer, Every::Day, tomorrow.at_ms), (NanoUsd(0), NanoUsd(10)));
    let late = Ask { at_ms: NOW + 1, ..ask(&charges, 2, 2) };
    assert!(matches!(books.hold(&late), Answer::Short(_)), "one that arrived before midnight counts before it");
}

#[test]
fn a_rolling_period_forgets_late_and_never_early() {
    let mut books = books();
    let every = Every::Rolling(Duration::from_secs(3600));
    let charges = [Charge { payer: Payer::Team("t".into()), budget: budget(10, every) }];
    let at = |minutes: i64, want: i64| Ask { at_ms: NOW + minutes * 60_000, ..ask(&charges, want, want) };
    let (id, _) = held(&books.hold(&at(7, 10)));
    books.settle(id, NanoUsd(10));
    let Answer::Short(short) = books.hold(&at(67, 1)) else { panic!("it is only an hour ago") };
    assert_eq!(short.resets_ms, NOW + 75 * 60_000);
    held(&books.hold(&at(75, 10)));
}

#[test]
fn a_clock_that_jumps_there_and_back_finds_what_was_spent_before() {
    let hour = 3_600_000;
    for every in [Every::Rolling(Duration::from_secs(3600)), Every::Rolling(Duration::from_secs(86_400)), Every::Day] {
        for jump in [2 * hour, 48 * hour, 400 * 24 * hour, -48 * hour, -400 * 24 * hour] {
            let mut books = books();
            let charges = [Charge { payer: Payer::Team("t".into()), budget: budget(10, every) }];
            let at = |at_ms: i64, want: i64| Ask { at_ms, ..ask(&charges, want, want) };
            let (id, _) = held(&books.hold(&at(NOW, 10)));
            books.settle(id, NanoUsd(10));
            if let Answer::Held(id, _) = books.hold(&at(NOW + jump, 1)) {
                books.settle(id, NanoUsd(1));
            }
            for _ in 0..3 {
                assert!(matches!(books.hold(&at(NOW + 1, 1)), Answer::Short(_)), "{every} after a jump by {jump} ms");
            }
            assert_eq!(books.balance(&charges[0].payer, every, NOW).0.0 / 10, 1, "{every} after a jump by {jump} ms");
        }
    }
}

#[test]
fn what_was_spent_by_a_clock_that_was_ahead_takes_nothing_from_today_at_a_start() {
    for every in [Every::Rolling(Duration::from_secs(3600)), Every::Day] {
        let mut books = books();
        let charges = [Charge { payer: Payer::Team("t".into()), budget: budget(10, every) }];
        for day in 0..40 {
            books.recall(&charges[0].payer, every, NOW + day * 86_400_000, NanoUsd(9));
        }
        for _ in 0..3 {
            assert!(matches!(books.hold(&ask(&charges, 2, 2)), Answer::Short(_)), "{every}");
            let (id, _) = held(&books.hold(&ask(&charges, 1, 1)));
            books.settle(id, NanoUsd(0));
        }
        let tomorrow = Ask { at_ms: NOW + 86_400_000, ..ask(&charges, 2, 2) };
        assert!(matches!(books.hold(&tomorrow), Answer::Short(_)), "{every}: it counts where it was booked");
    }
}

#[test]
fn a_budget_keeps_no_more_periods_than_it_may_need() {
    for (every, kept) in [(Every::Day, 8), (Every::Rolling(Duration::from_secs(3600)), 12)] {
        let mut books = books();
        let charges = [Charge { payer: Payer::Team("t".into()), budget: budget(10, every) }];
        for step in 0..1_000 {
            let later = Ask { at_ms: NOW + step * 86_400_000, ..ask(&charges, 10, 10) };
            let (id, _) = held(&books.hold(&later));
            books.settle(id, NanoUsd(10));
        }
        assert_eq!(books.account(&charges[0].payer, every).kept(), kept, "{every}");
    }
}

#[test]
fn each_threshold_is_told_once_a_period() {
    let mut books = books();
    let charges = [charge("t", 10)];
    for (spent, expected) in [(7, vec![]), (1, vec![What::Near]), (1, vec![]), (1, vec![What::Exhausted])] {
        let (id, _) = held(&books.hold(&ask(&charges, spent, spent)));
        books.settle(id, NanoUsd(spent));
        assert_eq!(books.news().iter().map(|news| news.what).collect::<Vec<_>>(), expected);
    }
    assert!(matches!(books.hold(&ask(&charges, 1, 1)), Answer::Short(_)));
    assert_eq!(books.news(), []);
}

#[test]
fn payers_without_end_share_one_account() {
    let mut books = Books { payers_max: 4, ..books() };
    for number in 0..100 {
        let payer = Payer::User("t".into(), number.to_string().into());
        let charges = [Charge { payer, budget: budget(10, Every::Day) }];
        let answer = books.hold(&ask(&charges, 6, 6));
        match number {
            0..=4 => drop(held(&answer)),
            _ => drop(waits(&answer)),
        }
    }
    assert!(books.accounts.len() <= 5);
}

#[test]
fn full_books_are_swept_once_a_minute() {
    let mut books = Books { payers_max: 2, ..books() };
    let mut has_its_own = |user: &str, at_ms: i64| {
        let payer = Payer::User("t".into(), user.into());
        let charges = [Charge { payer: payer.clone(), budget: budget(10, Every::Day) }];
        let (id, _) = held(&books.hold(&Ask { at_ms, ..ask(&charges, 6, 6) }));
        books.settle(id, NanoUsd::ZERO);
        books.knows(&payer, Every::Day)
    };
    let told = ["a", "b", "c", "d", "e", "f"].map(|user| has_its_own(user, NOW));
    assert_eq!(told, [true, true, true, true, false, false], "the third finds two that are idle");
    assert!(!has_its_own("e", NOW + 59_999));
    assert!(has_its_own("e", NOW + 60_000));
    assert!(has_its_own("g", NOW + 60_000));
    assert!(has_its_own("h", NOW - 86_400_000), "a clock that was set back stops no sweep");
}

/// `cargo test --lib --config profile.dev.opt-level=3 budget::books -- --ignored --nocapture`
#[test]
#[ignore = "a measurement"]
fn how_long_a_hold_takes() {
    let now = || std::time::UNIX_EPOCH.elapsed().expect("after 1970").as_nanos();
    let mut books = books();
    for number in 0..10_000 {
        let payer = Payer::User("t".into(), number.to_string().into());
        books.recall(&payer, Every::Day, NOW, NanoUsd(1));
    }
    for scopes in 1..=4 {
        let charges: Vec<Charge> =
            ["a", "b", "c", "d"][..scopes].iter().map(|team| charge(team, i64::MAX / 2)).collect();
        let ask = ask(&charges, 10, 10);
        let before = now();
        for _ in 0..100_000 {
            let (id, _) = held(&books.hold(&ask));
            books.settle(id, NanoUsd(5));
        }
        println!("{scopes} ceilings: {} ns to hold and settle", (now() - before) / 100_000);
    }
    for number in 10_000..PAYERS_MAX {
        let payer = Payer::User("t".into(), number.to_string().into());
        books.recall(&payer, Every::Day, NOW, NanoUsd(1));
    }
    for number in 0..3 {
        let payer = Payer::User("t".into(), format!("new {number}").into());
        let ask = ask(&[Charge { payer, budget: budget(i64::MAX / 2, Every::Day) }], 10, 10);
        let before = now();
        let (id, _) = held(&books.hold(&ask));
        books.settle(id, NanoUsd(5));
        println!("new payer {number} of full books: {} ns", now() - before);
    }
}

/// Where the clock may stand, whatever it showed before, in minutes from now.
const CLOCKS: [i64; 6] = [0, 40, 24 * 60, 72 * 60, 400 * 24 * 60, -48 * 60];

/// Whether what is spent at one moment counts at another that is not before it.
fn counts(every: Every, spent_ms: i64, at_ms: i64) -> bool {
    let now = period::slice(every, at_ms, &TimeZone::UTC);
    match every {
        Every::Rolling(_) => {
            let step = period::slice(every, spent_ms, &TimeZone::UTC);
            step.end_ms > period::counts_from(every, at_ms, &TimeZone::UTC) && step.start_ms <= now.start_ms
        }
        _ => now.holds(spent_ms),
    }
}

/// What a driver does next; numbers choose among what there is.
#[derive(Clone, Debug)]
enum Step {
    Hold { teams: u8, want: u8, least: u8, clock: usize },
    Extend(u8, u8),
    Shrink(u8, u8),
    Settle(u8, u8),
    Drop(u8),
    LastChance(u8),
    Leave(u8),
    Crash,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (1u8..8, 0u8..40, 0u8..40, 0..CLOCKS.len())
            .prop_map(|(teams, want, least, clock)| Step::Hold { teams, want, least, clock }),
        1 => (any::<u8>(), 0u8..20).prop_map(|(which, more)| Step::Extend(which, more)),
        1 => (any::<u8>(), 0u8..40).prop_map(|(which, to)| Step::Shrink(which, to)),
        3 => (any::<u8>(), 0u8..=100).prop_map(|(which, share)| Step::Settle(which, share)),
        1 => any::<u8>().prop_map(Step::Drop),
        1 => any::<u8>().prop_map(Step::LastChance),
        1 => any::<u8>().prop_map(Step::Leave),
        1 => Just(Step::Crash),
    ];
    proptest::collection::vec(step, 1..120)
}

/// A ledger beside the books: what each request has cost, or may have.
#[derive(Default)]
struct Driver {
    rows: Vec<(Arc<[Charge]>, i64, i64)>,
    open: BTreeMap<HoldId, (Arc<[Charge]>, i64)>,
    waiting: Vec<(Ticket, Ask)>,
}

impl Driver {
    fn take(&mut self, answer: &Answer, ask: &Ask) {
        match answer {
            Answer::Held(id, amount) => {
                assert!(*amount >= ask.least && *amount <= ask.want, "{amount} of {ask:?}");
                self.open.insert(*id, (Arc::clone(&ask.charges), ask.at_ms));
            }
            Answer::Wait(ticket) => self.waiting.push((*ticket, ask.clone())),
            Answer::Short(_) => {}
        }
    }

    fn pick(&self, which: u8) -> Option<HoldId> {
        self.open.keys().nth(which as usize % self.open.len().max(1)).copied()
    }

    fn settle(&mut self, books: &mut Books, id: HoldId, spent: i64) {
        let (charges, at_ms) = self.open.remove(&id).unwrap();
        self.rows.push((charges, at_ms, spent));
        books.settle(id, NanoUsd(spent));
    }
}

proptest! {
    #[test]
    fn spent_and_held_never_exceed_a_ceiling_whatever_happens(steps in steps()) {
        let rolling = |hours: u64| Every::Rolling(Duration::from_secs(hours * 3600));
        let teams: Vec<Charge> = [("a", 50, Every::Day), ("b", 30, rolling(1)), ("c", 20, rolling(24))]
            .into_iter()
            .map(|(team, usd, every)| Charge { payer: Payer::Team(team.into()), budget: budget(usd, every) })
            .collect();
        let (mut books, mut driver) = (books(), Driver::default());
        for step in steps {
            match step {
                Step::Hold { teams: bits, want, least, clock } => {
                    let charges: Vec<Charge> =
                        teams.iter().enumerate().filter(|(bit, _)| bits >> bit & 1 == 1).map(|(_, c)| c.clone()).collect();
                    let at_ms = NOW + CLOCKS[clock] * 60_000;
                    let ask = Ask { at_ms, ..ask(&charges, i64::from(want), i64::from(least.min(want))) };
                    let answer = books.hold(&ask);
                    driver.take(&answer, &ask);
                }
                Step::Extend(which, more) => {
                    if let Some(id) = driver.pick(which) { books.extend(id, NanoUsd(more.into())); }
                }
                Step::Shrink(which, to) => {
                    if let Some(id) = driver.pick(which) { books.shrink(id, NanoUsd(to.into())); }
                }
                Step::Settle(which, share) => if let Some(id) = driver.pick(which) {
                    let spent = books.held(id).unwrap().0 * i64::from(share) / 100;
                    driver.settle(&mut books, id, spent);
                },
                Step::Drop(which) => if let Some(id) = driver.pick(which) { driver.settle(&mut books, id, 0); },
                Step::LastChance(which) => if !driver.waiting.is_empty() {
                    let (ticket, ask) = driver.waiting.remove(which as usize % driver.waiting.len());
                    let answer = books.last_chance(ticket).unwrap();
                    prop_assert!(!matches!(answer, Answer::Wait(_)));
                    if let Answer::Short(short) = &answer {
                        prop_assert!(short.unspent - short.held < ask.least, "refused although enough is free: {short:?}");
                    }
                    driver.take(&answer, &ask);
                },
                Step::Leave(which) => if !driver.waiting.is_empty() {
                    let (ticket, _) = driver.waiting.remove(which as usize % driver.waiting.len());
                    books.leave(ticket);
                },
                Step::Crash => {
                    // Rows that are open become interrupted, and count at their bound.
                    for id in driver.open.keys().copied().collect::<Vec<_>>() {
                        let (charges, at_ms) = driver.open.remove(&id).unwrap();
                        driver.rows.push((charges, at_ms, books.held(id).unwrap().0));
                    }
                    driver.waiting.clear();
                    books = self::books();
                    for (charges, at_ms, spent) in &driver.rows {
                        for charge in charges.iter() {
                            books.recall(&charge.payer, charge.budget.every, *at_ms, NanoUsd(*spent));
                        }
                    }
                }
            }
            for ticket in books.woken() {
                let place = driver.waiting.iter().position(|(known, _)| *known == ticket).unwrap();
                let (_, ask) = driver.waiting.remove(place);
                let answer = books.answer(ticket).unwrap();
                driver.take(&answer, &ask);
            }
            for at_ms in CLOCKS.map(|minutes| NOW + minutes * 60_000) {
                for Charge { payer, budget } in &teams {
                    let pays = |charges: &Arc<[Charge]>| charges.iter().any(|charge| charge.payer == *payer);
                    let rows = driver.rows.iter().filter(|row| pays(&row.0));
                    let open = driver.open.iter().filter(|(_, (charges, _))| pays(charges));
                    let open = open.map(|(id, (_, at))| (*at, books.held(*id).unwrap().0)).collect::<Vec<_>>();
                    // In the period that ends with this moment.
                    let period = |at: i64| counts(budget.every, at, at_ms);
                    let spent: i64 = rows.clone().filter(|row| period(row.1)).map(|row| row.2).sum();
                    let held: i64 = open.iter().filter(|(at, _)| period(*at)).map(|(_, held)| held).sum();
                    prop_assert!(spent + held <= budget.usd.0, "{} spent, {} held of {}", spent, held, payer);
                    // Rolling ones look both ways, and at all that is held.
                    let is_near = |at: i64| period(at) || counts(budget.every, at_ms, at);
                    let is_held = |at: i64| matches!(budget.every, Every::Rolling(_)) || is_near(at);
                    let spent: i64 = rows.filter(|row| is_near(row.1)).map(|row| row.2).sum();
                    let held: i64 = open.iter().filter(|(at, _)| is_held(*at)).map(|(_, held)| held).sum();
                    let told = books.balance(payer, budget.every, at_ms);
                    prop_assert_eq!(told, (NanoUsd(spent), NanoUsd(held)), "what the ledger says, what is in flight");
                }
            }
            // Nobody at the head of the line waits for what is free, or for nothing.
            if let Some(waiter) = books.line.front().map(|waiter| waiter.ask.clone()) {
                prop_assert!(matches!(books.weigh(&waiter), Weighed::Later(_)));
            }
        }
    }
}
