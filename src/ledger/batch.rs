//! A stretch of the journal merged into the rows that it ends in.
//!
//! Most requests begin and end within one batch and are then written once, in their final state. What a
//! batch cannot know (an attempt begun in an earlier one) stays absent here; `tables` merges it with
//! the stored row. Pure: records in, changes out.

use foldhash::HashMap;

use crate::ids::{AccessId, AttemptId, RequestId};
use crate::ledger::record::{
    Amended, Cause, Closed, Closing, Comparison, DecisionFacts, Fate, Feedback, Intent, Kept, Outcome, Pricing,
    Reconciled, Record, RequestFacts, Sketch, Transfer,
};
use crate::money::{CostInterval, NanoUsd};
use crate::reply::usage::{Apart, Source};

/// What a batch says about one attempt; at least one part is present.
#[derive(Clone, Debug)]
pub(super) struct AttemptChange<'a> {
    pub(super) id: AttemptId,
    pub(super) intent: Option<Intent<'a>>,
    pub(super) outcome: Option<Outcome<'a>>,
    pub(super) pricing: Pricing<'a>,
}

impl AttemptChange<'_> {
    /// The attempt's cost as far as this batch knows: an open one costs between nothing and its bound.
    pub(super) fn cost(&self) -> CostInterval {
        match (&self.outcome, &self.intent) {
            (Some(outcome), _) => outcome.cost,
            (None, Some(intent)) => CostInterval { low: NanoUsd::ZERO, exact: None, high: intent.bound },
            (None, None) => CostInterval::default(),
        }
    }
}

/// What a batch says about one request.
#[derive(Clone, Debug)]
pub(super) struct RequestChange<'a> {
    pub(super) id: RequestId,
    pub(super) facts: Option<RequestFacts<'a>>,
    pub(super) decision: Option<DecisionFacts<'a>>,
    pub(super) closing: Option<Closing<'a>>,
    pub(super) comparison: Option<Box<Comparison<'a>>>,
    pub(super) sketch: Option<Box<Sketch>>,
    pub(super) cause: Option<Cause<'a>>,
    pub(super) transfer: Option<Transfer<'a>>,
    pub(super) attempts: Vec<AttemptChange<'a>>,
}

impl<'a> RequestChange<'a> {
    /// One of which nothing is known yet.
    pub(super) fn new(id: RequestId) -> Self {
        let (facts, decision, closing, comparison, sketch, cause, transfer) = Default::default();
        Self { id, facts, decision, closing, comparison, sketch, cause, transfer, attempts: Vec::new() }
    }

    /// The sum over this batch's attempts: the request's cost if it was born in this batch.
    pub(super) fn cost(&self) -> CostInterval {
        self.attempts.iter().map(AttemptChange::cost).fold(CostInterval::NOTHING, CostInterval::plus)
    }

    fn attempt(&mut self, id: AttemptId) -> &mut AttemptChange<'a> {
        let found = self.attempts.iter().position(|attempt| attempt.id == id);
        let place = found.unwrap_or_else(|| {
            // Most have one, and a vector that grows by itself begins with room for four.
            self.attempts.reserve_exact(1);
            self.attempts.push(AttemptChange { id, intent: None, outcome: None, pricing: Pricing::default() });
            self.attempts.len() - 1
        });
        &mut self.attempts[place]
    }
}

/// The merged records of one transaction.
#[derive(Default, Debug)]
pub(super) struct Batch<'a> {
    places: HashMap<RequestId, usize>,
    requests: Vec<RequestChange<'a>>,
    /// What exports said, in the journal's order.
    pub(super) reconciled: Vec<Reconciled<'a>>,
    /// What users said, in the journal's order.
    pub(super) feedback: Vec<Feedback<'a>>,
    /// What was found out about requests that an earlier batch ended, in the journal's order.
    pub(super) amended: Vec<Amended<'a>>,
    /// What is priced apart from text, of attempts that begin before or in this batch.
    pub(super) apart: Vec<(AttemptId, Apart)>,
    /// What providers keep, in the journal's order, and by which way it was made.
    pub(super) kept: Vec<(Kept<'a>, Option<AccessId>)>,
    records: u64,
}

impl<'a> Batch<'a> {
    /// Adds the next record of the journal.
    pub(super) fn add(&mut self, record: Record<'a>) {
        self.records += 1;
        match record {
            Record::Intent(intent) => self.begin(intent, None),
            Record::Planned(intent, decision) => self.begin(intent, Some(decision)),
            Record::Outcome(mut outcome) => {
                // Earlier versions said of what failed that the provider had reported nothing to pay.
                if outcome.fate == Fate::Failed && outcome.usage.is_none() {
                    outcome.source = Source::Estimated;
                }
                self.end(outcome, Pricing::default());
            }
            Record::Priced(outcome, pricing) => self.end(outcome, pricing),
            Record::Compared(outcome, pricing, comparison) => {
                self.request(outcome.attempt.request).comparison = Some(comparison);
                self.end(outcome, pricing);
            }
            Record::Sketched(outcome, pricing, comparison, sketch) => {
                let request = self.request(outcome.attempt.request);
                (request.comparison, request.sketch) = (comparison, Some(sketch));
                self.end(outcome, pricing);
            }
            Record::Caused(intent, decision, cause) => {
                self.request(intent.attempt.request).cause = Some(cause);
                self.begin(intent, Some(decision));
            }
            Record::Served(closed, decision, comparison, transfer) => {
                let request = self.request(closed.request.id);
                (request.comparison, request.transfer) = (Some(comparison), transfer);
                self.close(*closed, Some(decision));
            }
            Record::Closed(closed) => self.close(*closed, None),
            Record::Refused(closed, decision) => self.close(*closed, Some(decision)),
            Record::Reconciled(reconciled) => self.reconciled.push(reconciled),
            Record::Feedback(feedback) => self.feedback.push(*feedback),
            Record::Amended(amended) => self.amend(*amended),
            Record::Apart(attempt, apart) => self.apart.push((attempt, apart)),
            Record::Kept(kept) => self.kept.push((*kept, None)),
            Record::KeptBy(kept, access) => self.kept.push((*kept, Some(access))),
        }
    }

    fn begin(&mut self, mut intent: Intent<'a>, decision: Option<DecisionFacts<'a>>) {
        let request = self.request(intent.attempt.request);
        request.facts = intent.request.take().or(request.facts);
        request.decision = decision.or(request.decision);
        request.attempt(intent.attempt).intent = Some(intent);
    }

    fn close(&mut self, closed: Closed<'a>, decision: Option<DecisionFacts<'a>>) {
        let request = self.request(closed.request.id);
        request.facts = Some(closed.request);
        request.decision = decision.or(request.decision);
        request.closing = Some(closed.closing);
    }

    fn end(&mut self, mut outcome: Outcome<'a>, pricing: Pricing<'a>) {
        let request = self.request(outcome.attempt.request);
        request.closing = outcome.closes.take().or(request.closing);
        let attempt = request.attempt(outcome.attempt);
        (attempt.outcome, attempt.pricing) = (Some(outcome), pricing);
    }

    /// What belongs into a row that this batch writes goes with it.
    fn amend(&mut self, mut amended: Amended<'a>) {
        let place = self.places.get(&amended.request).copied();
        if let Some(sketch) = place.and_then(|place| self.requests[place].sketch.as_mut()) {
            sketch.texts = amended.texts.take().or(sketch.texts);
        }
        if amended.texts.is_some() || amended.broke.is_some() {
            self.amended.push(amended);
        }
    }

    fn request(&mut self, id: RequestId) -> &mut RequestChange<'a> {
        let place = *self.places.entry(id).or_insert_with(|| {
            self.requests.push(RequestChange::new(id));
            self.requests.len() - 1
        });
        &mut self.requests[place]
    }

    /// The requests of which anything changes, the oldest first.
    pub(super) fn changed(&self) -> Vec<RequestId> {
        let reconciled = self.reconciled.iter().map(|word| word.attempt.request);
        let amended = self.amended.iter().map(|amended| amended.request);
        let written = self.requests.iter().map(|request| request.id);
        let mut ids: Vec<RequestId> = written.chain(reconciled).chain(amended).collect();
        ids.sort_unstable();
        ids.dedup();
        ids
    }

    /// How many records were added.
    pub(super) fn records(&self) -> u64 {
        self.records
    }

    /// The merged changes in the order of their ids, which keeps inserts at the end of the tables.
    pub(super) fn requests(&mut self) -> &[RequestChange<'a>] {
        self.places.clear();
        self.requests.sort_unstable_by_key(|request| request.id);
        &self.requests
    }
}
