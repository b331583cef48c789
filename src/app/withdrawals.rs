//! Models of tiers that their providers withdraw soon, or have withdrawn: told each day in the log, always in a metric.

use std::sync::Arc;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, Unit};
use serde_json::json;

use crate::config::Config;
use crate::cost::Book;
use crate::meter::accounts::Accounts;
use crate::plan::ModelRef;
use crate::task::Tier;

/// From so many days before it on a withdrawal is told of.
pub const WARNED_DAYS: i64 = 30;

/// A model of a tier that its provider withdraws.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Withdrawal {
    /// The model.
    pub model: ModelRef,
    /// The first day without it.
    pub on: Date,
    /// How many days are left; negative: it has been withdrawn.
    pub days: i64,
}

/// The models of `config`'s tiers that are withdrawn within [`WARNED_DAYS`] of `today`, or have been, each once.
pub fn near(config: &Config, book: &Book, today: Date) -> Vec<Withdrawal> {
    let mut near: Vec<Withdrawal> = Vec::new();
    for model in Tier::ALL.into_iter().flat_map(|tier| config.tiers.models(tier)) {
        let vendor = config.provider(model.provider.as_str()).map_or("", |row| row.vendor.as_str());
        let price = book.price(vendor, model.model.as_str(), today);
        let Some(on) = price.and_then(|price| price.deprecated) else { continue };
        let days = today.until((Unit::Day, on)).map_or(0, |span| i64::from(span.get_days()));
        if days <= WARNED_DAYS && near.iter().all(|known| known.model != *model) {
            near.push(Withdrawal { model: model.clone(), on, days });
        }
    }
    near
}

/// What was told last: of which day, by which book.
#[derive(Default)]
pub(super) struct Told(Option<(Date, Arc<Book>)>);

impl Told {
    /// Tells anew when a day begins and when prices were read again.
    pub(super) fn tell(&mut self, config: &Config, accounts: &Accounts, timezone: &TimeZone) {
        let (today, book) = (Timestamp::now().to_zoned(timezone.clone()).date(), accounts.book.load_full());
        if self.0.as_ref().is_some_and(|(day, known)| *day == today && Arc::ptr_eq(known, &book)) {
            return;
        }
        let near = near(config, &book, today);
        let days = near.iter().map(|found| (found.model.provider.as_str(), found.model.model.as_str(), found.days));
        accounts.metrics.show_withdrawals(days);
        for Withdrawal { model, on, days } in &near {
            let fields = json!({ "model": model.to_string(), "on": on.to_string(), "days": days });
            accounts.log.event("model_withdrawal", &fields);
        }
        self.0 = Some((today, book));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::civil::date;

    #[test]
    fn a_withdrawal_is_told_of_from_thirty_days_before_it_on() {
        let text = "providers: { sim: { protocol: openai, base_url: http://127.0.0.1:9/v1, models: [\"*\"] } }\n\
                    tiers: { frontier: [sim/m, sim/other], reasoning: [sim/m], lightweight: [sim/unpriced] }\n";
        let config = crate::config::parse("f", text, std::path::Path::new(""), &|_| None).expect("it is good");
        let prices = "- { model: sim/m, price: free, deprecated: 2026-12-31 }\n- { model: sim/other, price: free }\n";
        let book = Book::default().with_user_rows(Book::parse("prices.yaml", prices).expect("they are good"));
        let left = |today: Date| near(&config, &book, today).iter().map(|found| found.days).collect::<Vec<_>>();
        assert_eq!(left(date(2026, 11, 30)), [] as [i64; 0]);
        assert_eq!(left(date(2026, 12, 1)), [30]);
        assert_eq!(left(date(2026, 12, 31)), [0]);
        assert_eq!(left(date(2027, 3, 1)), [-60]);
    }
}
