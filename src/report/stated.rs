//! Charges of months that statements have closed: they come to what the statements say, whatever is corrected afterwards.
//!
//! A team's closed month stays as it was stated. What changed since (an export that settled a row, a request that ended
//! late, a re-rating) is a correction, billed in the month whose statement has it, or will have it: the one behind the last
//! that is closed. Where a group's rows have changed, its days are not those that were stated: the statement's own line,
//! which is of the whole month, stands for them.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Span;
use jiff::civil::Date;

use super::Figures;
use super::focus::Charge;

/// A line of a closed statement, re-ratings left out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stated {
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

/// What statements say.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Books {
    /// Teams, and the first days of their closed months.
    pub closed: BTreeSet<(String, Date)>,
    /// Lines of their statements.
    pub lines: Vec<Stated>,
    /// What re-rating booked.
    pub booked: Vec<Booked>,
}

impl Books {
    fn is_closed(&self, team: &str, month: Date) -> bool {
        self.closed.contains(&(team.to_owned(), month))
    }

    /// The month whose statement will have what is not stated yet.
    fn next(&self, team: &str) -> Option<Date> {
        let last = self.closed.iter().filter(|(of, _)| of == team).map(|(_, month)| *month).max();
        last.map(month_behind)
    }

    /// Makes of charges by day, re-ratings left out, what is billed in the months that begin, or the days that are, within
    /// `days` (both ends included). `now` is what each group's closed months come to as rows and sums stand.
    pub fn bill(
        &self,
        charges: Vec<Charge>,
        now: &BTreeMap<(Date, Group), Figures>,
        days: (Date, Date),
    ) -> Vec<Charge> {
        let mut stated = BTreeMap::<(Date, Group), (Figures, Figures)>::new();
        for line in &self.lines {
            let (usage, all) = stated.entry((line.about, line.group.clone())).or_default();
            if line.in_month == line.about {
                usage.add(&line.figures);
            }
            all.add(&line.figures);
        }
        let nothing = (Figures::default(), Figures::default());
        let sums = |key: &(Date, Group)| now.get(key).map(Figures::all).unwrap_or_default();
        let keys: BTreeSet<&(Date, Group)> =
            stated.keys().chain(now.keys().filter(|(month, group)| self.is_closed(&group.0, *month))).collect();
        let has_changed = |key: &&(Date, Group)| sums(key) != stated.get(*key).unwrap_or(&nothing).0.all();
        let changed: BTreeSet<&(Date, Group)> = keys.into_iter().filter(has_changed).collect();
        let is_wanted = |charge: &Charge| (days.0..=days.1).contains(&charge.billed);
        let mut billed: Vec<Charge> = charges;
        billed.retain(|charge| !changed.contains(&(charge.billed, group_of(charge))));
        let mut others = Vec::new();
        for (month, group) in changed.iter().copied() {
            let (usage, all) = stated.get(&(*month, group.clone())).unwrap_or(&nothing);
            let whole = (*month, month_behind(*month));
            others.push(charge(whole, *month, false, group, usage.clone()));
            let mut rest = Figures::of(sums(&(*month, group.clone())));
            rest.take(all);
            if let Some(next) = self.next(&group.0) {
                others.push(charge(whole, next, true, group, rest));
            }
        }
        for line in self.lines.iter().filter(|line| line.in_month != line.about) {
            let whole = (line.about, month_behind(line.about));
            others.push(charge(whole, line.in_month, true, &line.group, line.figures.clone()));
        }
        billed.extend(others.into_iter().filter(|charge| is_wanted(charge)));
        for Booked { day, in_month, group, figures } in &self.booked {
            let (month, of_day) = (day.first_of_month(), (*day, day.saturating_add(Span::new().days(1))));
            let stated = in_month.or_else(|| self.next(&group.0).filter(|_| self.is_closed(&group.0, month)));
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
    fn books(now: i64) -> (Books, BTreeMap<(Date, Group), Figures>) {
        let line =
            |model: &str, nano| Stated { in_month: OCTOBER, about: OCTOBER, group: group(model), figures: cost(nano) };
        let closed = [("data".to_owned(), OCTOBER)].into();
        let sums = [((OCTOBER, group("a")), cost(10)), ((OCTOBER, group("b")), cost(now))];
        (Books { closed, lines: vec![line("a", 10), line("b", 20)], booked: Vec::new() }, sums.into())
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
        books.closed.insert(("data".to_owned(), NOVEMBER));
        books.lines.push(Stated { in_month: NOVEMBER, about: OCTOBER, group: group("b"), figures: cost(6) });
        books.lines.last_mut().expect("a line").figures.requests = 0;
        let now: BTreeMap<_, _> = now
            .into_iter()
            .map(|(key, figures)| match key.1.2.as_str() {
                "b" => (key, cost(27)),
                _ => (key, figures),
            })
            .collect();
        let all = books.bill(days(27), &now, (OCTOBER, date(2026, 12, 31)));
        let rows = [row("2026-10-01", "2026-12", true, "b", 1), row("2026-10-01", "2026-11", true, "b", 6)];
        assert_eq!(told(&all)[2..], rows);
        assert_eq!(told(&all)[..2], october);
    }

    #[test]
    fn a_re_rating_is_of_its_day_until_the_month_is_closed_and_a_correction_afterwards() {
        let (mut books, now) = books(20);
        let booked = |day, in_month, model: &str, adjusted| Booked {
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
}
