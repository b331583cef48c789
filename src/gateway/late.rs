//! What was ordered earlier and is charged once it is done: responses that are made in the background, and batches. Whoever
//! asks for one that is done is told what it used, and that is booked then: for whoever ordered it, once.
//!
//! What nobody asks for, what has fees beside its tokens, and what the book has no price for stay unknown.

use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use serde_json::Value;

use super::Gateway;
use super::hold::payers;
use super::recall::claimed_by;
use crate::config::{Key, Payers};
use crate::cost::cost_of;
use crate::ids::ProviderId;
use crate::ledger::LedgerError;
use crate::ledger::objects::{self, Owed, holder};
use crate::ledger::record::{KnownTokens, Reconciled, Record};
use crate::limits::OBJECT_PATIENCE;
use crate::meter::accounts::Accounts;
use crate::money::NanoUsd;
use crate::providers::Row;
use crate::reply::usage::{ServiceTier, Usage};
use crate::telemetry::log::now_ms;
use crate::wire::vendors::Habits;
use crate::wire::{openai_usage, responses_reply};

/// Where such a cost comes from, in the ledger's column `export`.
const SOURCE: &str = "the object itself";

/// Bills are booked one after the other, so that two who ask at once do not both find that nothing is booked yet.
static ONE_BY_ONE: Mutex<()> = Mutex::new(());

/// What an object that is done says that it used.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Bill {
    usage: Usage,
    tier: Option<ServiceTier>,
    /// The model, where the order did not name one.
    model: Option<String>,
}

impl Gateway {
    /// Books what the object `json`, which a provider keeps under `id`, says that it used; nothing if it is not done, nobody
    /// ordered it through here, or its cost is known.
    pub async fn book_late(&self, provider: &ProviderId, (id, json): (&str, &[u8]), key: Option<&Key>) {
        let Some(row) = self.providers.row(provider).cloned() else { return };
        let Some(bill) = Bill::read(json, row.habits()) else { return };
        let (accounts, config, key, id) = (Arc::clone(&self.accounts), self.payers(), key.cloned(), id.to_owned());
        let book = move || {
            let _one = ONE_BY_ONE.lock().unwrap_or_else(PoisonError::into_inner);
            // What cannot be read now is found by whoever asks next.
            let _ = book(&accounts, &row, (&id, &bill), (&config, key.as_ref()));
        };
        let _ = tokio::task::spawn_blocking(book).await;
    }
}

impl Bill {
    fn read(json: &[u8], habits: Habits) -> Option<Self> {
        let told: Value = serde_json::from_slice(json).ok()?;
        match told["object"].as_str()? {
            "response" => {
                let facts = responses_reply::read(json, habits).ok()?;
                let usage = facts.usage.filter(|_| facts.finished > 0 && facts.beside.is_none())?;
                Some(Self { usage, tier: facts.service_tier, model: None })
            }
            // <https://platform.openai.com/docs/api-reference/batch/object>
            "batch" => {
                let is_over = matches!(told["status"].as_str()?, "completed" | "expired" | "cancelled" | "failed");
                let reported = openai_usage::read(&told["usage"].to_string(), habits)?;
                let model = told["model"].as_str().map(str::to_owned);
                let is_whole = is_over && reported.beside.is_none();
                is_whole.then_some(Self { usage: reported.usage, tier: Some(ServiceTier::Batch), model })
            }
            _ => None,
        }
    }
}

fn book(
    accounts: &Accounts,
    row: &Row,
    (id, bill): (&str, &Bill),
    (config, key): (&Payers, Option<&Key>),
) -> Result<(), LedgerError> {
    accounts.ledger.sync_views(OBJECT_PATIENCE)?;
    let views = accounts.ledger.views()?;
    let Some(attempt) = holder(&views, id)?.and_then(|holder| holder.owed) else { return Ok(()) };
    let Some(owed) = objects::owed(&views, attempt)? else { return Ok(()) };
    let Some(cost) = priced(accounts, row, bill, &owed) else { return Ok(()) };
    let (at_ms, tokens) = (now_ms(), KnownTokens::from(bill.usage));
    accounts.commit(&Record::Reconciled(Reconciled { attempt, at_ms, tokens, cost, export: SOURCE }))?;
    charge(accounts, &owed, cost, (config, key));
    // Whoever comes next finds it booked.
    accounts.ledger.sync_views(OBJECT_PATIENCE)
}

/// At the prices of when it was ordered.
fn priced(accounts: &Accounts, row: &Row, bill: &Bill, owed: &Owed) -> Option<NanoUsd> {
    let ordered = Timestamp::from_millisecond(owed.at_ms).ok()?.to_zoned(accounts.timezone.clone());
    let model = bill.model.as_deref().filter(|_| owed.model.is_empty()).unwrap_or(&owed.model);
    let book = accounts.book.load();
    let price = book.price_at(row.vendor(), model, &ordered)?;
    cost_of(price, &bill.usage, bill.tier.unwrap_or_default(), row.discount_ppm()).ok()
}

/// Budgets were charged what was known when the order was placed.
fn charge(accounts: &Accounts, owed: &Owed, cost: NanoUsd, (config, key): (&Payers, Option<&Key>)) {
    let who = claimed_by(&owed.spender);
    let key = key.filter(|key| key.id.as_str() == owed.spender.key);
    let more = cost - owed.charged;
    accounts.holds.with(|books| {
        for (payer, terms) in payers(&config.teams, &who, key) {
            if let Some(budget) = terms.budget {
                books.correct(&payer, budget.every, owed.at_ms, more);
            }
        }
    });
}
