//! What a provider row resolves to, as `check` tells it: where it is called, as whom, in which words. Never a secret.

use serde_json::{Value, json};

use crate::config::{Access, Metering, ProviderConfig};
use crate::cost::Book;
use crate::dialect::Dialect;

/// A row, told.
pub struct Told<'a> {
    row: &'a ProviderConfig,
    priced: usize,
}

impl<'a> Told<'a> {
    /// Of a row; `book` says how many of its models have a price.
    pub fn of(row: &'a ProviderConfig, book: &Book) -> Self {
        let priced = book.rows_of(&row.vendor).map(|(model, _)| model).filter(|model| row.serves(model));
        Self { row, priced: priced.collect::<std::collections::BTreeSet<_>>().len() }
    }

    /// For people: the ways in, then what else it comes to.
    pub fn lines(&self) -> impl Iterator<Item = String> {
        let row = self.row;
        let ways = row.accesses.iter().map(|access| format!("provider {}: {}", row.id, way(access)));
        let preset = row.preset.map(|name| format!("preset {name}, ")).unwrap_or_default();
        let speaks: Vec<_> = row.speaks.iter().map(|dialect| dialect.as_str()).collect();
        let models: Vec<_> = row.models.iter().map(|pattern| pattern.glob().glob()).collect();
        let priced = match self.priced {
            1 => "1 of them is".to_owned(),
            count => format!("{count} of them are"),
        };
        ways.chain([
            format!("  {preset}speaks {}; usage in streams: {}", speaks.join(", "), metering(row)),
            format!(
                "  models {}; {priced} priced, as {}'s; after a cut it bills {}",
                models.join(", "),
                row.vendor,
                row.after_cut.as_str().replace('_', " ")
            ),
        ])
    }

    /// For programs.
    pub fn json(&self) -> Value {
        let row = self.row;
        let ways = row.accesses.iter().map(|access| {
            json!({ "base_url": access.base_url.to_string(), "auth": access.credential.words(), "key": access.from })
        });
        json!({
            "name": row.id.as_str(),
            "preset": row.preset,
            "vendor": row.vendor,
            "speaks": row.speaks.iter().map(|dialect| Dialect::as_str(*dialect)).collect::<Vec<_>>(),
            "accesses": ways.collect::<Vec<_>>(),
            "models": row.models.iter().map(|pattern| pattern.glob().glob()).collect::<Vec<_>>(),
            "priced_models": self.priced,
            "usage_in_streams": metering(row),
            "after_cut": row.after_cut.as_str(),
        })
    }
}

/// One way in: where, and who is shown to call.
fn way(access: &Access) -> String {
    match &access.from {
        Some(from) => format!("{}, {} from {from}", access.base_url, access.credential.words()),
        None => format!("{}, {}", access.base_url, access.credential.words()),
    }
}

fn metering(row: &ProviderConfig) -> &'static str {
    match row.metering {
        Metering::Inject => "asked for",
        Metering::Observe => "as the client asks",
        Metering::Reported => "always",
    }
}
