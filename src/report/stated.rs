//! Charges of months that statements have closed: they come to what the statements say, whatever is corrected afterwards.
//!
//! A team's closed month stays as it was stated. What changed since (an export that settled a row, a request that ended
//! late, a re-rating) is a correction, billed in the month whose statement has it, or will have it: the one behind the last
//! that is closed. Where a group's rows have changed, its days are not those that were stated: the statement's own line,
//! which is of the whole month, stands for them. Of several ledgers in one mirror each has its own statements; where one of
//! them has changed, what the others have of the group is told by the month as well.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Span;
use jiff::civil::Date;

use super::Figures;
use super::focus::Charge;

/// A line of a closed statement, re-ratings left out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stated {
    /// Whose statement it is.
    pub ledger: Ledger,
    /// The first day of the statement's month.
    pub in_month: Date,
    /// The first day of the month that it is about.
    pub about: Date,
    /// Who pays for what.
    pub group: Group,
    /// Its figures.
    pub figures: Figures,
}

/// What re-rating booked of a day.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Booked {
    /// Who booked it.
    pub ledger: Ledger,
    /// The day.
    pub day: Date,
    /// The first day of the month whose statement has it; `None`: none has yet.
    pub in_month: Option<Date>,
    /// Who pays for what.
    pub group: Group,
    /// The difference.
    pub figures: Figures,
}

/// Team, project, and model with its provider row.
pub type Group = (String, String, String);

/// The number of a ledger in a mirror; 0 where there is only one.
pub type Ledger = i64;

/// What each ledger's closed months come to by group as rows and sums stand, beside what open ones of the same months do.
pub type Sums = BTreeMap<(Date, Group), BTreeMap<Ledger, Figures>>;

/// What statements say.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Books {
    /// Teams of ledgers, and the first days of their closed months.
    pub closed: BTreeSet<(Ledger, String, Date)>,
    /// Teams and closed months that began at another moment than such a month does in `timezone`: their charges are as rows stand.
    pub elsewhere: BTreeSet<(String, Date)>,
    /// Lines of their statements.
    pub lines: Vec<Stated>,
    /// What re-rating booked.
    pub booked: Vec<Booked>,
}

impl Books {
    fn is_closed(&self, ledger: Ledger, team: &str, month: Date) -> bool {
        self.closed.contains(&(ledger, team.to_owned(), month))
    }

    /// The month whose statement will have what is not stated yet.
    fn next(&self, ledger: Ledger, team: &str) -> Option<Date> {
        let of_team = self.closed.iter().filter(|(of, its, _)| *of == ledger && its == team);
        of_team.map(|(_, _, month)| *month).max().map(month_behind)
    }

    /// The days, with closed months that they cut made whole: what was stated of a month stands for no part of it.
    pub fn whole(&self, (first, last): (Date, Date)) -> (Date, Date) {
        let is_closed = |day: Date| self.closed.iter().any(|(_, _, month)| *month == day.first_of_month());
        let first = if is_closed(first) { first.first_of_month() } else { first };
        (first, if is_closed(last) { last.last_of_month() } else { last })
    }

    /// The corrections that are billed in the month of a day, and that days from this one on leave out.
    pub fn left_out_before(&self, first: Date, now: &Sums) -> Vec<Charge> {
        let Ok(last) = first.yesterday() else { return Vec::new() };
        let mut charges = match first == first.first_of_month() {
            true => Vec::new(),
            false => self.bill(Vec::new(), now, (first.first_of_month(), last)),
        };
        charges.retain(|charge| charge.is_correction);
        charges
    }

    /// Makes of charges by day, re-ratings left out, what is billed in the months that begin, or the days that are, within
    /// `days` (both ends included). `now` is what each group's closed months come to as rows and sums stand.
    pub fn bill(&self, charges: Vec<Charge>, now: &Sums, days: (Date, Date)) -> Vec<Charge> {
        let mut stated = BTreeMap::<(Date, Group), BTreeMap<Ledger, (Figures, Figures)>>::new();
        for line in &self.lines {
            let of_group = stated.entry((line.about, line.group.clone())).or_default();
            let (usage, all) = of_group.entry(line.ledger).or_default();
            if line.in_month == line.about {
                usage.add(&line.figures);
            }
            all.add(&line.figures);
        }
        let said = |key: &(Date, Group), ledger: Ledger| {
            stated.get(key).and_then(|of_group| of_group.get(&ledger)).cloned().unwrap_or_default()
        };
        let has_changed = |key: &&(Date, Group)| {
            self.ledgers(now, key)
                .any(|(ledger, sums, is_closed)| is_closed && !sums.beyond(&said(key, ledger).0).is_zero())
        };
        let changed: BTreeSet<&(Date, Group)> = stated.keys().chain(now.keys()).filter(has_changed).collect();
        let is_wanted = |charge: &Charge| (days.0..=days.1).contains(&charge.billed);
        let mut billed: Vec<Charge> = charges;
        billed.retain(|charge| !changed.contains(&(charge.billed, group_of(charge))));
        let mut others = Vec::new();
        for (month, group) in changed.iter().copied() {
            let whole = (*month, month_behind(*month));
            for (ledger, sums, is_closed) in self.ledgers(now, &(*month, group.clone())) {
                if !is_closed {
                    others.push(charge(whole, *month, false, group, sums));
                    continue;
                }
                let (usage, all) = said(&(*month, group.clone()), ledger);
                others.push(charge(whole, *month, false, group, usage));
                if let Some(next) = self.next(ledger, &group.0) {
                    others.push(charge(whole, next, true, group, sums.beyond(&all)));
                }
            }
        }
        for line in self.lines.iter().filter(|line| line.in_month != line.about) {
            let whole = (line.about, month_behind(line.about));
            others.push(charge(whole, line.in_month, true, &line.group, line.figures.clone()));
        }
        billed.extend(others.into_iter().filter(|charge| is_wanted(charge)));
        for Booked { ledger, day, in_month, group, figures } in &self.booked {
            let (month, of_day) = (day.first_of_month(), (*day, day.saturating_add(Span::new().days(1))));
            let stated =
                in_month.or_else(|| self.next(*ledger, &group.0).filter(|_| self.is_closed(*ledger, &group.0, month)));
            let found = charge(
                of_day,
                stated.unwrap_or(month),
                stated.is_some_and(|in_month| in_month != month),
                group,
                figures.clone(),
            );
            if found.is_correction {
                billed.extend(Some(found).filter(is_wanted));
            } else if (days.0..=days.1).contains(day) {
                let place = billed.iter_mut().find(|charge| {
                    charge.days == of_day
                        && charge.service_tier.is_empty()
                        && !charge.is_correction
                        && group_of(charge) == *group
                });
                match place {
                    Some(place) => place.figures.add(figures),
                    None => billed.push(found),
                }
            }
        }
        billed.retain(|charge| !charge.figures.is_zero());
        billed
    }

    /// The ledgers that have anything of a group's month or have closed it: what it comes to there, and whether it is closed.
    fn ledgers<'b>(
        &'b self,
        now: &'b Sums,
        key: &'b (Date, Group),
    ) -> impl Iterator<Item = (Ledger, Figures, bool)> + use<'b> {
        let sums = now.get(key);
        let with_sums = sums.into_iter().flatten().map(|(ledger, _)| *ledger);
        let closed = self.closed.iter().filter(|(_, team, month)| *team == key.1.0 && *month == key.0);
        let all: BTreeSet<Ledger> = with_sums.chain(closed.map(|(ledger, _, _)| *ledger)).collect();
        all.into_iter().map(move |ledger| {
            let figures = sums.and_then(|sums| sums.get(&ledger)).cloned().unwrap_or_default();
            (ledger, figures, self.is_closed(ledger, &key.1.0, key.0))
        })
    }
}

/// The first day of the month behind one.
pub fn month_behind(month: Date) -> Date {
    month.first_of_month().saturating_add(Span::new().months(1))
}

fn group_of(charge: &Charge) -> Group {
    (charge.team.clone(), charge.project.clone(), charge.model.clone())
}

/// A charge of sums, which know nothing of what stands beside them.
fn charge(days: (Date, Date), billed: Date, is_correction: bool, group: &Group, figures: Figures) -> Charge {
    let (team, project, model) = group.clone();
    let is_forgotten = true;
    Charge { days, billed, is_correction, team, project, model, service_tier: String::new(), figures, is_forgotten }
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    const OCTOBER: Date = date(2026, 10, 1);
    const NOVEMBER: Date = date(2026, 11, 1);

    fn group(model: &str) -> Group {
        ("data".to_owned(), String::new(), model.to_owned())
    }

    fn cost(cost: i64) -> Figures {
        Figures { requests: 1, cost, ..Figures::default() }
    }

    fn of_day(day: Date, model: &str, figures: Figures) -> Charge {
        let days = (day, day.saturating_add(Span::new().days(1)));
        Charge { is_forgotten: false, ..charge(days, day.first_of_month(), false, &group(model), figures) }
    }

    /// First day, month that it is billed in, whether it corrects, model and cost with what was adjusted.
    fn told(charges: &[Charge]) -> Vec<(String, String, bool, &str, i64)> {
        let told = |charge: &'_ Charge| (charge.days.0.to_string(), charge.billed.strftime("%Y-%m").to_string());
        let all = charges.iter().map(|charge| {
            let (day, month) = told(charge);
            (day, month, charge.is_correction, charge.model.as_str(), charge.figures.cost + charge.figures.adjusted)
        });
        all.collect()
    }

    /// October is closed with 10 of `a` and 20 of `b`; `now` is what `b` costs as rows stand.
    fn books(now: i64) -> (Books, Sums) {
        let line = |model: &str, nano| stated(0, model, nano);
        let closed = [(0, "data".to_owned(), OCTOBER)].into();
        let sums = [((OCTOBER, group("a")), [(0, cost(10))].into()), ((OCTOBER, group("b")), [(0, cost(now))].into())];
        (Books { closed, lines: vec![line("a", 10), line("b", 20)], ..Books::default() }, sums.into())
    }

    fn stated(ledger: Ledger, model: &str, nano: i64) -> Stated {
        Stated { ledger, in_month: OCTOBER, about: OCTOBER, group: group(model), figures: cost(nano) }
    }

    fn row(
        day: &str,
        month: &str,
        is_correction: bool,
        model: &'static str,
        nano: i64,
    ) -> (String, String, bool, &'static str, i64) {
        (day.to_owned(), month.to_owned(), is_correction, model, nano)
    }

    #[test]
    fn a_closed_month_stays_what_was_stated_and_corrections_are_billed_where_they_are_made() {
        let days = |now| vec![of_day(date(2026, 10, 5), "a", cost(10)), of_day(date(2026, 10, 6), "b", cost(now))];
        let both = (OCTOBER, date(2026, 11, 30));
        let (same, now) = books(20);
        let before = [row("2026-10-05", "2026-10", false, "a", 10), row("2026-10-06", "2026-10", false, "b", 20)];
        assert_eq!(told(&same.bill(days(20), &now, both)), before);
        // An export settled a row of `b`.
        let (mut books, now) = books(26);
        let october = [before[0].clone(), row("2026-10-01", "2026-10", false, "b", 20)];
        let correction = row("2026-10-01", "2026-11", true, "b", 6);
        let all: Vec<_> = october.iter().cloned().chain([correction]).collect();
        assert_eq!(told(&books.bill(days(26), &now, both)), all);
        assert_eq!(told(&books.bill(days(26), &now, (OCTOBER, date(2026, 10, 31)))), october);
        // November's statement has it: there it stays, and what changes again is December's.
        books.closed.insert((0, "data".to_owned(), NOVEMBER));
        books.lines.push(Stated { in_month: NOVEMBER, ..stated(0, "b", 6) });
        books.lines.last_mut().expect("a line").figures.requests = 0;
        let mut now = now;
        now.insert((OCTOBER, group("b")), [(0, cost(27))].into());
        let all = books.bill(days(27), &now, (OCTOBER, date(2026, 12, 31)));
        let rows = [row("2026-10-01", "2026-12", true, "b", 1), row("2026-10-01", "2026-11", true, "b", 6)];
        assert_eq!(told(&all)[2..], rows);
        assert_eq!(told(&all)[..2], october);
    }

    #[test]
    fn a_re_rating_is_of_its_day_until_the_month_is_closed_and_a_correction_afterwards() {
        let (mut books, now) = books(20);
        let booked = |day, in_month, model: &str, adjusted| Booked {
            ledger: 0,
            day,
            in_month,
            group: group(model),
            figures: Figures { adjusted, ..Figures::default() },
        };
        books.booked = vec![
            booked(date(2026, 10, 5), Some(OCTOBER), "a", 1),
            booked(date(2026, 10, 5), None, "a", 2),
            booked(date(2026, 11, 5), None, "a", 4),
        ];
        let days = vec![of_day(date(2026, 10, 5), "a", cost(10)), of_day(date(2026, 10, 6), "b", cost(20))];
        let expected = [
            row("2026-10-05", "2026-10", false, "a", 11),
            row("2026-10-06", "2026-10", false, "b", 20),
            row("2026-10-05", "2026-11", true, "a", 2),
            row("2026-11-05", "2026-11", false, "a", 4),
        ];
        let all = books.bill(days, &now, (OCTOBER, date(2026, 11, 30)));
        assert_eq!(told(&all), expected);
    }

    #[test]
    fn what_cuts_a_closed_month_takes_the_whole_and_corrections_that_days_leave_out_are_known() {
        let (books, now) = books(26);
        let whole = |first, last| books.whole((first, last));
        assert_eq!(whole(date(2026, 10, 6), date(2026, 11, 9)), (OCTOBER, date(2026, 11, 9)));
        assert_eq!(whole(date(2026, 9, 6), date(2026, 10, 9)), (date(2026, 9, 6), date(2026, 10, 31)));
        assert_eq!(whole(date(2026, 11, 6), date(2026, 11, 9)), (date(2026, 11, 6), date(2026, 11, 9)));
        let correction = row("2026-10-01", "2026-11", true, "b", 6);
        assert_eq!(told(&books.left_out_before(date(2026, 11, 6), &now)), [correction]);
        assert_eq!(books.left_out_before(NOVEMBER, &now), []);
        assert_eq!(books.left_out_before(date(2026, 12, 6), &now), []);
    }

    #[test]
    fn of_several_ledgers_each_has_its_own_statements() {
        let closed = [(1, "data".to_owned(), OCTOBER)].into();
        let books = Books { closed, lines: vec![stated(1, "a", 10)], ..Books::default() };
        let days = || vec![of_day(date(2026, 10, 5), "a", cost(10)), of_day(date(2026, 10, 6), "a", cost(3))];
        let sums = |first| Sums::from([((OCTOBER, group("a")), [(1, cost(first)), (2, cost(3))].into())]);
        let both = (OCTOBER, date(2026, 11, 30));
        // The second ledger has closed nothing: what it has is no correction of the first one's.
        let as_it_was = [row("2026-10-05", "2026-10", false, "a", 10), row("2026-10-06", "2026-10", false, "a", 3)];
        assert_eq!(told(&books.bill(days(), &sums(10), both)), as_it_was);
        let changed = [
            row("2026-10-01", "2026-10", false, "a", 10),
            row("2026-10-01", "2026-11", true, "a", 2),
            row("2026-10-01", "2026-10", false, "a", 3),
        ];
        assert_eq!(told(&books.bill(days(), &sums(12), both)), changed);
    }

    #[test]
    fn a_month_that_was_stated_before_estimates_were_told_has_not_changed_for_them() {
        let (books, mut now) = books(20);
        let told_since = Figures { estimated: 20, estimated_high: 30, discount: 2, ..cost(20) };
        now.insert((OCTOBER, group("b")), [(0, told_since.clone())].into());
        let days = |cost| vec![of_day(date(2026, 10, 6), "b", cost)];
        let all = books.bill(days(told_since.clone()), &now, (OCTOBER, date(2026, 11, 30)));
        assert_eq!(told(&all), [row("2026-10-06", "2026-10", false, "b", 20)]);
        // What costs more has changed.
        now.insert((OCTOBER, group("b")), [(0, Figures { cost: 21, ..told_since })].into());
        let all = books.bill(days(cost(21)), &now, (OCTOBER, date(2026, 11, 30)));
        let rows = [row("2026-10-01", "2026-10", false, "b", 20), row("2026-10-01", "2026-11", true, "b", 1)];
        assert_eq!(told(&all), rows);
    }
}
