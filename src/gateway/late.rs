//! What was ordered earlier and is charged once it is done: responses that are made in the background, and batches. Whoever
//! asks for one that is done is told what it used, as an object or in the last event of its stream, and that is booked then:
//! for whoever ordered it, once.
//!
//! What nobody asks for, what has fees beside its tokens, and what the book has no price for stay unknown.

use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use serde_json::{Value, json};

use super::Gateway;
use super::hold::payers;
use super::recall::claimed_by;
use crate::config::{Key, Payers};
use crate::cost::cost_of;
use crate::ids::AttemptId;
use crate::ledger::LedgerError;
use crate::ledger::objects::{self, Owed};
use crate::ledger::record::{KnownTokens, Reconciled, Record};
use crate::limits::OBJECT_PATIENCE;
use crate::meter::accounts::Accounts;
use crate::money::NanoUsd;
use crate::providers::Row;
use crate::reply::facts::{Ending, Facts};
use crate::reply::usage::{ServiceTier, Source, Usage};
use crate::telemetry::log::now_ms;
use crate::telemetry::metrics::SeriesLabels;
use crate::wire::vendors::Habits;
use crate::wire::{openai_usage, responses_reply};

/// Where such a cost comes from, in the ledger's column `export`.
const SOURCE: &str = "the object itself";

/// Bills are booked one after the other, so that two who ask at once do not both find that nothing is booked yet.
static ONE_BY_ONE: Mutex<()> = Mutex::new(());

/// An attempt that is charged once what it ordered is done, and who asks for that.
pub(super) struct Late {
    accounts: Arc<Accounts>,
    row: Arc<Row>,
    payers: Arc<Payers>,
    key: Option<Key>,
    attempt: AttemptId,
}

/// What an object that is done says that it used.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Bill {
    usage: Usage,
    tier: Option<ServiceTier>,
    /// The model, where the order did not name one.
    model: Option<String>,
}

impl Gateway {
    /// What books `attempt` once its provider, `row`, tells what it used.
    pub(super) fn late(&self, row: &Arc<Row>, attempt: AttemptId, key: Option<&Key>) -> Late {
        let (accounts, payers) = (Arc::clone(&self.accounts), self.payers());
        Late { accounts, row: Arc::clone(row), payers, key: key.cloned(), attempt }
    }
}

impl Late {
    /// What an object says that it used; `None` if it is not done.
    pub(super) fn bill(&self, json: &[u8]) -> Option<Bill> {
        Bill::of_object(json, self.row.habits())
    }

    /// The same of the event that ends a response's stream; `None` for any other.
    pub(super) fn bill_in(&self, event: &[u8]) -> Option<Bill> {
        Bill::of_event(event, self.row.habits())
    }

    /// Books that for whoever ordered it, unless its cost is known. What cannot be read now is found by whoever asks next.
    pub(super) async fn book(self, bill: Bill) {
        let book = move || {
            let _one = ONE_BY_ONE.lock().unwrap_or_else(PoisonError::into_inner);
            let _ = self.book_now(&bill);
        };
        let _ = tokio::task::spawn_blocking(book).await;
    }

    fn book_now(&self, bill: &Bill) -> Result<(), LedgerError> {
        let ledger = &self.accounts.ledger;
        ledger.sync_views(OBJECT_PATIENCE)?;
        let Some(owed) = objects::owed(&ledger.views()?, self.attempt)? else { return Ok(()) };
        let model = bill.model.as_deref().filter(|_| owed.model.is_empty()).unwrap_or(&owed.model);
        let Some(cost) = self.priced(model, bill, &owed) else { return Ok(()) };
        let (attempt, at_ms, tokens) = (self.attempt, now_ms(), KnownTokens::from(bill.usage));
        self.accounts.commit(&Record::Reconciled(Reconciled { attempt, at_ms, tokens, cost, export: SOURCE }))?;
        self.charge(&owed, cost);
        self.tell(model, bill, &owed, cost);
        // Whoever comes next finds it booked.
        ledger.sync_views(OBJECT_PATIENCE)
    }

    /// At the prices of when it was ordered.
    fn priced(&self, model: &str, bill: &Bill, owed: &Owed) -> Option<NanoUsd> {
        let ordered = Timestamp::from_millisecond(owed.at_ms).ok()?.to_zoned(self.accounts.timezone.clone());
        let book = self.accounts.book.load();
        let price = book.price_at(self.row.vendor(), model, &ordered)?;
        cost_of(price, &bill.usage, bill.tier.unwrap_or_default(), self.row.discount_ppm()).ok()
    }

    /// Budgets were charged what was known when the order was placed.
    fn charge(&self, owed: &Owed, cost: NanoUsd) {
        let who = claimed_by(&owed.spender);
        let key = self.key.as_ref().filter(|key| key.id.as_str() == owed.spender.key);
        let more = cost - owed.charged;
        self.accounts.holds.with(|books| {
            for (payer, terms) in payers(&self.payers.teams, &who, key) {
                if let Some(budget) = terms.budget {
                    books.correct(&payer, budget.every, owed.at_ms, more);
                }
            }
        });
    }

    /// Counts it with what whoever ordered it has spent, and writes its log event.
    fn tell(&self, model: &str, bill: &Bill, owed: &Owed, cost: NanoUsd) {
        let (metrics, said) = (&self.accounts.metrics, |name: &str| (!name.is_empty()).then(|| name.to_owned()));
        let (provider, spender) = (self.row.id().as_str(), &owed.spender);
        let (team, project) = (spender.team.as_str(), said(&spender.project));
        let tier = owed.tier.as_deref();
        let series = metrics.series(SeriesLabels { team, project: project.as_deref(), tier, provider, model });
        if !owed.are_tokens_known {
            series.count_tokens(&bill.usage);
            metrics.count_prompt_tokens(owed.prompt.as_deref().unwrap_or("none"), &bill.usage);
        }
        series.count_cost(cost.0, Source::Reported);
        let told = json!({
            "attempt_id": self.attempt.to_string(), "request_id": self.attempt.request.to_string(), "team": team,
            "key": said(&spender.key), "project": project, "tier": tier, "prompt": owed.prompt, "provider": provider,
            "model": model, "input_tokens": bill.usage.input_tokens, "output_tokens": bill.usage.output_tokens,
            "cost_usd": cost.decimal(),
        });
        self.accounts.log.event("booked_late", &told);
    }
}

impl Bill {
    fn of_object(json: &[u8], habits: Habits) -> Option<Self> {
        let told: Value = serde_json::from_slice(json).ok()?;
        match told["object"].as_str()? {
            "response" => {
                Self::of_response(responses_reply::read(json, habits).ok().filter(|facts| facts.finished > 0)?)
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

    /// <https://platform.openai.com/docs/api-reference/responses-streaming>
    fn of_event(json: &[u8], habits: Habits) -> Option<Self> {
        let facts = responses_reply::read(json, habits).ok()?;
        Self::of_response(facts).filter(|_| facts.ending == Ending::Over || facts.error)
    }

    fn of_response(facts: Facts) -> Option<Self> {
        let usage = facts.usage.filter(|_| facts.beside.is_none())?;
        Some(Self { usage, tier: facts.service_tier, model: None })
    }
}
