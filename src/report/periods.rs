//! Spans of time, cut where a report tells times apart and where sums are kept for whole days.

use jiff::Span;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::{By, SLOT_MS, SLOTS_A_DAY, date_of, midnight};

const DAY_MS: i64 = SLOT_MS * SLOTS_A_DAY;

/// A part of a span that is read at once, in slots.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stretch {
    /// It is made of whole days of UTC.
    pub by_day: bool,
    /// Its first slot.
    pub from: i64,
    /// The first slot after it.
    pub until: i64,
}

/// The stretches of a span: the days of UTC within it, and the slots before and after them. None of them is empty, but the
/// only one of an empty span.
pub fn stretches(from_ms: i64, until_ms: i64) -> impl Iterator<Item = Stretch> {
    let [from, until] = [from_ms, until_ms].map(|ms| ms.div_euclid(SLOT_MS));
    let first_day = (from + SLOTS_A_DAY - 1).div_euclid(SLOTS_A_DAY) * SLOTS_A_DAY;
    let last_day = until.div_euclid(SLOTS_A_DAY) * SLOTS_A_DAY;
    let slots = |from, until| Stretch { by_day: false, from, until };
    let parts = match first_day < last_day {
        true => {
            let days = Stretch { by_day: true, from: first_day, until: last_day };
            [Some(slots(from, first_day)), Some(days), Some(slots(last_day, until))]
        }
        false => [None, Some(slots(from, until)), None],
    };
    let is_only = parts[0].is_none();
    parts.into_iter().flatten().filter(move |part| is_only || part.from < part.until)
}

/// A span, cut at the ends of the shortest time that `by` tells apart: days, weeks or months of `zone`.
pub fn periods(by: &[By], since_ms: i64, until_ms: i64, zone: &TimeZone) -> Vec<(i64, i64)> {
    let has = |wanted: By| by.contains(&wanted);
    let next: fn(Date) -> Date = match (has(By::Day), has(By::Week), has(By::Month)) {
        (true, _, _) | (false, true, true) => |day| day.saturating_add(Span::new().days(1)),
        (false, true, false) => |day| {
            let past = i64::from(day.weekday().to_monday_zero_offset());
            day.saturating_add(Span::new().days(7 - past))
        },
        (false, false, true) => |day| day.first_of_month().saturating_add(Span::new().months(1)),
        (false, false, false) => return if since_ms < until_ms { vec![(since_ms, until_ms)] } else { Vec::new() },
    };
    let mut cut = Vec::new();
    let mut from_ms = since_ms;
    while from_ms < until_ms {
        let end_ms = midnight(next(date_of(from_ms, zone)), zone).min(until_ms);
        // The last day that a calendar knows has none after it.
        let end_ms = if end_ms > from_ms { end_ms } else { until_ms };
        cut.push((from_ms, end_ms));
        from_ms = end_ms;
    }
    debug_assert!(cut.iter().all(|(from, until)| until - from <= 32 * DAY_MS) || cut.len() == 1);
    cut
}

/// Reads a number of months, as `18mo` or `2y`: at least one, at most a hundred years.
pub fn months(text: &str) -> Option<u32> {
    let (number, each) = match (text.strip_suffix("mo"), text.strip_suffix('y')) {
        (Some(number), _) => (number, 1),
        (None, Some(number)) => (number, 12),
        (None, None) => return None,
    };
    let months = number.parse::<u32>().ok().and_then(|number| number.checked_mul(each));
    months.filter(|months| (1..=1200).contains(months))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hours since the epoch, as stretches of (days?, first hour, hour beyond).
    #[track_caller]
    fn check(from_h: i64, until_h: i64, expected: &[(bool, i64, i64)]) {
        let found: Vec<_> = stretches(from_h * 4 * SLOT_MS, until_h * 4 * SLOT_MS)
            .map(|Stretch { by_day, from, until }| (by_day, from / 4, until / 4))
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn whole_days_are_read_as_days_and_edges_as_slots() {
        check(0, 48, &[(true, 0, 48)]);
        check(23, 73, &[(false, 23, 24), (true, 24, 72), (false, 72, 73)]);
        check(24, 49, &[(true, 24, 48), (false, 48, 49)]);
        check(1, 24, &[(false, 1, 24)]);
        check(1, 25, &[(false, 1, 25)]);
        check(-30, 24, &[(false, -30, -24), (true, -24, 24)]);
        check(7, 7, &[(false, 7, 7)]);
    }

    #[track_caller]
    fn check_periods(by: &[By], zone: &str, since: Date, days: i64, expected: &[&str]) {
        let zone = TimeZone::get(zone).expect("a zone");
        let since_ms = midnight(since, &zone);
        let until_ms = midnight(since.saturating_add(Span::new().days(days)), &zone);
        let cut = periods(by, since_ms, until_ms, &zone);
        let begins: Vec<String> = cut.iter().map(|(from, _)| date_of(*from, &zone).to_string()).collect();
        assert_eq!(begins, expected);
        assert_eq!((cut[0].0, cut[cut.len() - 1].1), (since_ms, until_ms));
        assert!(cut.windows(2).all(|pair| pair[0].1 == pair[1].0), "{cut:?}");
    }

    #[test]
    fn a_span_is_cut_by_the_shortest_time_that_is_told_apart() {
        let first = Date::constant(2026, 10, 24);
        check_periods(&[By::Team], "Europe/Berlin", first, 40, &["2026-10-24"]);
        check_periods(&[By::Month], "Europe/Berlin", first, 40, &["2026-10-24", "2026-11-01", "2026-12-01"]);
        check_periods(&[By::Week], "Europe/Berlin", first, 10, &["2026-10-24", "2026-10-26", "2026-11-02"]);
        // The clocks go back on the second of them.
        check_periods(&[By::Day, By::Month], "Europe/Berlin", first, 3, &["2026-10-24", "2026-10-25", "2026-10-26"]);
        check_periods(&[By::Week, By::Month], "Asia/Kathmandu", first, 2, &["2026-10-24", "2026-10-25"]);
    }
}
