//! When periods begin and end, in the zone that the configuration names.

use jiff::civil::{Date, Weekday};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};

use super::terms::Every;

/// What rolling periods are forgotten by, in milliseconds. Every zone's midnight falls on one of these steps.
pub const STEP_MS: i64 = 15 * 60 * 1000;

/// A stretch of time in milliseconds since the Unix epoch: its start, and the first moment behind it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Span {
    /// Its first millisecond.
    pub start_ms: i64,
    /// The first millisecond that is not in it.
    pub end_ms: i64,
}

impl Span {
    /// Whether it holds a moment.
    pub fn holds(&self, at_ms: i64) -> bool {
        (self.start_ms..self.end_ms).contains(&at_ms)
    }
}

/// What is spent at a moment counts in this stretch: the period of the calendar, or a step of a rolling one.
pub fn slice(every: Every, at_ms: i64, zone: &TimeZone) -> Span {
    let day = day_of(at_ms, zone);
    let (first, next) = match every {
        Every::Rolling(_) => {
            let start_ms = at_ms.div_euclid(STEP_MS) * STEP_MS;
            return Span { start_ms, end_ms: start_ms + STEP_MS };
        }
        Every::Day => (day, day.checked_add(1.day())),
        Every::Week => {
            let first = day.checked_sub(i64::from(day.weekday().since(Weekday::Monday)).days()).unwrap_or(day);
            (first, first.checked_add(7.days()))
        }
        Every::Month => (day.first_of_month(), day.first_of_month().checked_add(1.month())),
    };
    Span { start_ms: begin_of(first, zone), end_ms: begin_of(next.unwrap_or(Date::MAX), zone) }
}

/// The first moment that still counts against what is spent at a moment.
pub fn counts_from(every: Every, at_ms: i64, zone: &TimeZone) -> i64 {
    match every {
        Every::Rolling(span) => {
            slice(every, at_ms - i64::try_from(span.as_millis()).unwrap_or(i64::MAX), zone).start_ms
        }
        _ => slice(every, at_ms, zone).start_ms,
    }
}

fn day_of(at_ms: i64, zone: &TimeZone) -> Date {
    Timestamp::from_millisecond(at_ms).unwrap_or_default().to_zoned(zone.clone()).date()
}

/// The first moment of a day; where clocks skip midnight, that to which they are set.
fn begin_of(day: Date, zone: &TimeZone) -> i64 {
    day.to_zoned(zone.clone()).map_or(i64::MAX, |begin| begin.timestamp().as_millisecond())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn ms(text: &str) -> i64 {
        text.parse::<Timestamp>().unwrap().as_millisecond()
    }

    #[track_caller]
    fn check(every: Every, zone: &str, at: &str, start: &str, end: &str) {
        let found = slice(every, ms(at), &TimeZone::get(zone).unwrap());
        let told = [found.start_ms, found.end_ms].map(|at| Timestamp::from_millisecond(at).unwrap().to_string());
        assert_eq!(told, [start, end], "{every} at {at} in {zone}");
        assert!(found.holds(ms(at)) && !found.holds(found.end_ms));
    }

    #[test]
    fn periods_begin_at_midnight_of_the_zone() {
        check(Every::Day, "UTC", "2026-11-28T23:59:59.999Z", "2026-11-28T00:00:00Z", "2026-11-29T00:00:00Z");
        check(Every::Day, "Asia/Kathmandu", "2026-11-28T18:15:00Z", "2026-11-28T18:15:00Z", "2026-11-29T18:15:00Z");
        check(Every::Month, "America/New_York", "2026-12-01T04:59:59Z", "2026-11-01T04:00:00Z", "2026-12-01T05:00:00Z");
        check(Every::Month, "UTC", "2028-02-29T12:00:00Z", "2028-02-01T00:00:00Z", "2028-03-01T00:00:00Z");
    }

    #[test]
    fn weeks_begin_on_monday() {
        check(Every::Week, "UTC", "2026-11-29T12:00:00Z", "2026-11-23T00:00:00Z", "2026-11-30T00:00:00Z");
        check(Every::Week, "UTC", "2026-11-30T00:00:00Z", "2026-11-30T00:00:00Z", "2026-12-07T00:00:00Z");
    }

    #[test]
    fn days_on_which_clocks_change_have_23_and_25_hours() {
        check(Every::Day, "Europe/Berlin", "2026-03-29T12:00:00Z", "2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z");
        check(Every::Day, "Europe/Berlin", "2026-10-25T12:00:00Z", "2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z");
        // Midnight does not exist there.
        check(Every::Day, "America/Havana", "2026-03-08T12:00:00Z", "2026-03-08T05:00:00Z", "2026-03-09T04:00:00Z");
    }

    #[test]
    fn a_rolling_period_goes_in_steps() {
        let hour = Every::Rolling(Duration::from_secs(3600));
        check(hour, "UTC", "2026-11-28T12:14:59Z", "2026-11-28T12:00:00Z", "2026-11-28T12:15:00Z");
        let from = counts_from(hour, ms("2026-11-28T12:20:00Z"), &TimeZone::UTC);
        assert_eq!(from, ms("2026-11-28T11:15:00Z"), "a step is forgotten once all of it is an hour ago");
    }
}
