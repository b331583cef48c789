//! What the simulated provider bills: one line for each attempt that it really charged.
//!
//! [`Books`] is the running side; a [`Tab`] is one attempt that the provider has committed to, and
//! closes as completed, or as cut when it is dropped: a client's hang-up, a reset and a crash all end
//! there, and the provider's habit decides what is billed. An [`Invoice`] is a snapshot for readers.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::prices::{BilledTokens, PriceClass, PriceList};
use crate::money::NanoUsd;

/// What a provider bills for an answer that was cut before its end.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum BillsAfterCut {
    /// Nothing.
    None,
    /// The input, and the output that was generated until then.
    #[default]
    SoFar,
    /// Everything, as if the answer had been completed; billed from the moment that it starts.
    All,
}

/// One attempt that was billed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct InvoiceLine {
    /// `x-client-request-id` of the attempt, if it sent one.
    pub client_request_id: Option<String>,
    /// The provider's own `x-request-id`.
    pub request_id: String,
    /// The model that answered.
    pub model: String,
    /// The price class that was applied.
    pub class: PriceClass,
    /// Tokens by kind.
    pub tokens: BilledTokens,
    /// Their price, rounded half to even once.
    pub cost: NanoUsd,
}

/// Every line until now, in the order in which they were billed.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Invoice {
    /// The lines.
    pub lines: Vec<InvoiceLine>,
}

impl Invoice {
    /// The sum of all lines.
    pub fn total(&self) -> NanoUsd {
        self.lines.iter().map(|line| line.cost).sum()
    }

    /// Sums by model, in alphabetical order.
    pub fn by_model(&self) -> BTreeMap<&str, NanoUsd> {
        let mut sums = BTreeMap::new();
        for line in &self.lines {
            *sums.entry(line.model.as_str()).or_insert(NanoUsd::ZERO) += line.cost;
        }
        sums
    }

    /// The lines of one attempt: none or one, unless an id was sent twice.
    pub fn lines_of<'a>(&'a self, client_request_id: &'a str) -> impl Iterator<Item = &'a InvoiceLine> {
        self.lines.iter().filter(move |line| line.client_request_id.as_deref() == Some(client_request_id))
    }

    /// One JSON object a line with the columns `client_request_id`, `model`, `input_tokens`, `cached_input_tokens`,
    /// `cache_write_tokens`, `output_tokens`, `reasoning_tokens`, `cost_nano_usd`.
    pub fn export_jsonl(&self) -> String {
        let mut out = String::new();
        for line in &self.lines {
            let id = serde_json::Value::from(line.client_request_id.as_deref());
            let model = serde_json::Value::from(line.model.as_str());
            let BilledTokens { input, cached_input, cache_write, output, reasoning, .. } = line.tokens;
            // Writing to a string cannot fail.
            let _ = writeln!(
                out,
                "{{\"client_request_id\":{id},\"model\":{model},\"input_tokens\":{input},\
                 \"cached_input_tokens\":{cached_input},\"cache_write_tokens\":{cache_write},\
                 \"output_tokens\":{output},\"reasoning_tokens\":{reasoning},\"cost_nano_usd\":{}}}",
                line.cost.0
            );
        }
        out
    }
}

/// The running invoice. It keeps every line: a provider that forgot one could prove nothing.
#[derive(Debug, Default)]
pub(super) struct Books {
    lines: Mutex<Vec<InvoiceLine>>,
}

impl Books {
    /// A copy of the lines until now.
    pub(super) fn snapshot(&self) -> Invoice {
        Invoice { lines: self.lines.lock().unwrap_or_else(PoisonError::into_inner).clone() }
    }

    fn enter(&self, line: InvoiceLine) {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).push(line);
    }
}

/// Who is billed, and how.
#[derive(Clone, Debug)]
pub(super) struct Account {
    pub(super) client_request_id: Option<String>,
    pub(super) request_id: String,
    pub(super) model: String,
    pub(super) class: PriceClass,
    pub(super) prices: PriceList,
    pub(super) after_cut: BillsAfterCut,
}

/// An attempt that the provider has committed to. Dropping it unfinished is a cut.
#[derive(Debug)]
pub(super) struct Tab {
    books: Arc<Books>,
    account: Account,
    complete: BilledTokens,
    generated: AtomicU64,
    open: bool,
}

impl Tab {
    /// Commits to an answer that will have used `complete` when it is done.
    pub(super) fn open(books: Arc<Books>, account: Account, complete: BilledTokens) -> Self {
        let mut tab = Self { books, account, complete, generated: AtomicU64::new(0), open: true };
        if tab.account.after_cut == BillsAfterCut::All {
            tab.bill_in_full();
        }
        tab
    }

    /// Notes that `tokens` of output exist by now, reasoning included.
    pub(super) fn generated(&self, tokens: u64) {
        self.generated.store(tokens, Ordering::Relaxed);
    }

    /// The answer is complete: bills it in full.
    pub(super) fn bill_in_full(&mut self) {
        if self.open {
            self.enter(self.complete);
        }
    }

    fn enter(&mut self, tokens: BilledTokens) {
        self.open = false;
        let Account { client_request_id, request_id, model, class, prices, .. } = self.account.clone();
        let cost = prices.amount(&tokens, class);
        self.books.enter(InvoiceLine { client_request_id, request_id, model, class, tokens, cost });
    }
}

impl Drop for Tab {
    fn drop(&mut self) {
        if !self.open || self.account.after_cut == BillsAfterCut::None {
            return;
        }
        let output = self.generated.load(Ordering::Relaxed).min(self.complete.output);
        let reasoning = self.complete.reasoning.min(output);
        self.enter(BilledTokens { output, reasoning, ..self.complete });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMPLETE: BilledTokens =
        BilledTokens { input: 100, cached_input: 0, cache_write: 0, cache_write_1h: 0, output: 50, reasoning: 20 };

    fn tab(books: &Arc<Books>, after_cut: BillsAfterCut) -> Tab {
        let account = Account {
            client_request_id: Some("a-1".into()),
            request_id: "req_1".into(),
            model: "gpt-5.6-luna".into(),
            class: PriceClass::Standard,
            prices: PriceList::luna(),
            after_cut,
        };
        Tab::open(Arc::clone(books), account, COMPLETE)
    }

    #[track_caller]
    fn check_cut(after_cut: BillsAfterCut, expected: Option<(u64, i64)>) {
        let books = Arc::new(Books::default());
        let open = tab(&books, after_cut);
        open.generated(30);
        drop(open);
        let billed = books.snapshot().lines.first().map(|line| (line.tokens.output, line.cost.0));
        assert_eq!(billed, expected, "{after_cut:?}");
    }

    #[test]
    fn a_cut_answer_is_billed_by_habit() {
        check_cut(BillsAfterCut::None, None);
        check_cut(BillsAfterCut::SoFar, Some((30, 20_000 + 36_000)));
        check_cut(BillsAfterCut::All, Some((50, 20_000 + 60_000)));
    }

    #[test]
    fn a_completed_answer_is_billed_once() {
        for after_cut in [BillsAfterCut::None, BillsAfterCut::SoFar, BillsAfterCut::All] {
            let books = Arc::new(Books::default());
            let mut open = tab(&books, after_cut);
            open.bill_in_full();
            drop(open);
            assert_eq!(books.snapshot().total(), NanoUsd(80_000), "{after_cut:?}");
        }
    }

    #[test]
    fn the_export_has_the_documented_columns() {
        let books = Arc::new(Books::default());
        tab(&books, BillsAfterCut::All).bill_in_full();
        assert_eq!(
            books.snapshot().export_jsonl(),
            "{\"client_request_id\":\"a-1\",\"model\":\"gpt-5.6-luna\",\"input_tokens\":100,\"cached_input_tokens\":0,\
             \"cache_write_tokens\":0,\"output_tokens\":50,\"reasoning_tokens\":20,\"cost_nano_usd\":80000}\n"
        );
    }
}
