//! One request read, attributed, decided and written down.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use clap::Args;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::app::{read_book, read_keys, read_policies};
use crate::call::{CallFacts, Surface};
use crate::config::{Config, Key};
use crate::cost::Book;
use crate::gateway::conversations::Place;
use crate::gateway::routing::{Asking, Decided, Routing};
use crate::gateway::state::State;
use crate::ids::RequestId;
use crate::limits::COUNTED_BODY_BYTES_MAX;
use crate::money::NanoUsd;
use crate::plan::ModelRef;
use crate::problem::Problem;
use crate::prompt::json::{JsonError, Scanner, WholeNumber};
use crate::prompt::view::Claims;
use crate::reply::usage::Usage;
use crate::route::warm::{Held, OUTPUT_TOKENS_EXPECTED};
use crate::server::{Said, asides, attribute};
use crate::telemetry::log::now_ms;
use crate::tokens::{Memo, PromptSize, count_request, encoding_for};
use crate::wire::openai_chat;

use super::found::Classifier;

/// What holds for all requests of one run.
#[derive(Args, Default)]
pub struct Settings {
    /// The policies, instead of those that the configuration names
    #[arg(long, value_name = "DIR")]
    policies: Option<PathBuf>,
    /// Who asks: the name of a key in the configuration, with its grants
    #[arg(long, value_name = "NAME")]
    key: Option<String>,
    /// Who pays, as `x-farthing-team` would say
    #[arg(long, value_name = "NAME")]
    team: Option<String>,
    /// As `x-farthing-project` would say
    #[arg(long, value_name = "NAME")]
    project: Option<String>,
    /// As `x-farthing-pipeline` would say
    #[arg(long, value_name = "NAME")]
    pipeline: Option<String>,
    /// The kind of work, as `x-farthing-task` would say
    #[arg(long, value_name = "ID")]
    task: Option<String>,
    /// A pinned tier, as `x-farthing-tier` would say
    #[arg(long, value_name = "TIER")]
    tier: Option<String>,
    /// Also say what the classifier found, and what would change it
    #[arg(long)]
    verbose: bool,
}

/// Explains requests; shared by threads.
pub struct Explainer {
    routing: Routing,
    config: Arc<Config>,
    book: Book,
    said: Said,
    key: Option<Key>,
    state: State,
    held: Held,
    verbose: bool,
}

/// A line of output.
pub struct Answer {
    /// The line.
    pub json: String,
    /// Whether it is a decision, and not an error.
    pub is_good: bool,
}

/// A decision, as `farthing explain` prints it.
#[derive(Serialize)]
struct Decision<'a> {
    id: Option<&'a RawValue>,
    task: Option<&'a str>,
    tier: Option<&'static str>,
    model: Option<String>,
    confidence: Option<f64>,
    needs_strong: Option<f64>,
    reason: String,
    policy: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    not_granted: Vec<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    would_tier: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    would_model: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    would_reason: Option<String>,
    tokens: Tokens,
    estimated_usd: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    classifier: Option<Classifier<'a>>,
}

#[derive(Serialize)]
struct Tokens {
    prompt: u64,
}

#[derive(Serialize)]
struct Refused<'a> {
    id: Option<&'a RawValue>,
    error: &'a str,
}

impl Explainer {
    /// Reads what is read once.
    ///
    /// # Errors
    ///
    /// What is wrong with the prices, the policies, the state, or the name of the key.
    pub fn new(config: &Arc<Config>, settings: &Settings, state: Option<&Path>) -> Result<Self, Vec<Problem>> {
        let book = read_book(config.prices.as_deref())?;
        let folder = settings.policies.as_deref().or(config.policies.as_deref());
        let (policies, _) = read_policies(folder)?;
        let state = state.map(read_state).transpose().map_err(|problem| vec![problem])?.unwrap_or_default();
        let (state, held) = state;
        let key = settings.key.as_deref().map(|name| {
            let key = config.keys.iter().find(|key| key.id.as_str() == name).cloned();
            let key = match key {
                Some(key) => Some(key),
                None => {
                    let (keys, _) = read_keys(config).map_err(|error| about("--key", error.to_string()))?;
                    keys.ring().keys().into_iter().find(|key| key.id.as_str() == name).cloned()
                }
            };
            key.ok_or_else(|| about("--key", format!("`{name}` is the name of no key that is in force")))
        });
        let key = key.transpose().map_err(|problem| vec![problem])?;
        let claims = Claims {
            team: settings.team.clone(),
            project: settings.project.clone(),
            pipeline: settings.pipeline.clone(),
            task: settings.task.clone(),
            ..Claims::default()
        };
        let said = Said { claims, tier: settings.tier.clone(), ..Said::default() };
        let routing = Routing::new(Arc::clone(config), policies);
        Ok(Self { routing, config: Arc::clone(config), book, said, key, state, held, verbose: settings.verbose })
    }

    /// Explains requests, one a line. `memo` has the tokens of messages that were counted before.
    pub fn explain(&self, lines: &[Vec<u8>], memo: &mut Memo) -> Vec<Answer> {
        lines.iter().map(|line| self.explain_one(line, memo)).collect()
    }

    fn explain_one(&self, line: &[u8], memo: &mut Memo) -> Answer {
        let top = Top::read(line);
        let id = top.as_ref().ok().and_then(|top| top.id);
        let decided = match &top {
            Ok(top) => self.decide(&top.body),
            Err(error) => Err(format!("the line is not a JSON object: {error}")),
        };
        let json = match (&decided, &top) {
            (Ok((call, decided)), Ok(top)) => self.decision(id, call, decided, &top.body, memo),
            (Err(error), _) => serde_json::to_string(&Refused { id, error }),
            (Ok(_), Err(_)) => Ok(String::new()),
        };
        Answer { json: json.unwrap_or_default(), is_good: decided.is_ok() }
    }

    fn decide(&self, body: &Bytes) -> Result<(CallFacts, Decided), String> {
        let view = openai_chat::read(body).map_err(|error| error.to_string())?;
        let (who, pinned_tier) = attribute(&self.said, &view, body, self.key.as_ref());
        let call = CallFacts {
            id: RequestId::new(),
            arrived: Instant::now(),
            read: Instant::now(),
            at_ms: now_ms(),
            surface: Surface::ChatCompletions,
            body_bytes: body.len(),
            view,
            who,
            pinned_tier,
            session: None,
            deadline: None,
            on_short: None,
        };
        let asking = Asking { call: &call, body, key: self.key.as_ref(), book: &self.book, downgrade: false };
        let decided =
            self.routing.decide_at(asking, Place::nowhere(), self.held.clone()).map_err(|error| error.message)?;
        Ok((call, decided))
    }

    fn decision(
        &self,
        id: Option<&RawValue>,
        call: &CallFacts,
        decided: &Decided,
        body: &[u8],
        memo: &mut Memo,
    ) -> serde_json::Result<String> {
        let plan = &decided.plan;
        let model = self.first_up(&plan.targets);
        let prompt = model
            .and_then(|model| self.count(model, body, memo))
            .unwrap_or_else(|| PromptSize::of(&call.view, body.len()).about());
        let finding = plan.finding.as_ref();
        let share = |ppm: u32| f64::from(ppm) / 1e6;
        let asking = Asking { call, body, key: self.key.as_ref(), book: &self.book, downgrade: false };
        // What it looks like is known even where a name decides.
        let explanation = (self.verbose || decided.classified.is_none()).then(|| decided.explanation(asking));
        let needs_strong = decided.classified.or(explanation.as_ref().map(|found| found.classified));
        let needs_strong = needs_strong.map(|found| share((found.needs_strong * 1e6).round() as u32));
        serde_json::to_string(&Decision {
            id,
            task: plan.task(),
            tier: plan.tier.map(|tier| tier.as_str()),
            model: model.map(ToString::to_string),
            confidence: finding.map(|finding| share(finding.confidence_ppm)),
            needs_strong,
            reason: format!("{}{}", plan.reason, asides(&call.who)),
            policy: finding.map(|finding| &*finding.policy),
            not_granted: call.who.ignored.clone(),
            would_tier: plan.would.as_ref().and_then(|would| would.tier).map(|tier| tier.as_str()),
            would_model: plan.would.as_ref().map(|would| would.model.to_string()),
            would_reason: plan.would.as_ref().map(|would| would.reason.to_string()),
            tokens: Tokens { prompt },
            estimated_usd: model.and_then(|model| self.cost(call, model, prompt)).and_then(number),
            classifier: explanation
                .as_ref()
                .filter(|_| self.verbose)
                .map(|explanation| Classifier::of(explanation, decided)),
        })
    }

    /// The target that was less busy than those that it is as good as, else the first; of these one that does not rest, or the
    /// last.
    fn first_up<'p>(&self, targets: &'p [ModelRef]) -> Option<&'p ModelRef> {
        let rests = |target: &ModelRef| self.state.resting.contains(&target.to_string());
        let is_less_busy =
            |target: &&ModelRef| self.state.less_busy.as_ref().is_some_and(|name| *name == target.spelt());
        let first = targets.iter().find(is_less_busy);
        first.into_iter().chain(targets).find(|target| !rests(target)).or(targets.last())
    }

    fn count(&self, model: &ModelRef, body: &[u8], memo: &mut Memo) -> Option<u64> {
        let vendor = self.config.provider(model.provider.as_str()).map_or("", |row| row.vendor.as_str());
        let (encoding, _) = encoding_for(vendor, model.model.as_str());
        (body.len() <= COUNTED_BODY_BYTES_MAX).then(|| count_request(encoding, body, memo).ok()).flatten()
    }

    fn cost(&self, call: &CallFacts, model: &ModelRef, prompt: u64) -> Option<NanoUsd> {
        let output_tokens = match call.view.output_limit {
            WholeNumber::Is(limit) => limit.min(OUTPUT_TOKENS_EXPECTED),
            WholeNumber::Absent | WholeNumber::Odd => OUTPUT_TOKENS_EXPECTED,
        };
        let usage = Usage { input_tokens: prompt, output_tokens, ..Usage::default() };
        self.routing.price(&self.book, call.at_ms, model, &usage)
    }
}

/// Dollars as a number, exact to the nano-dollar.
fn number(amount: NanoUsd) -> Option<Box<RawValue>> {
    RawValue::from_string(amount.decimal().as_str().to_owned()).ok()
}

/// A line of input: the body with a model, and the id beside it.
struct Top<'l> {
    id: Option<&'l RawValue>,
    body: Bytes,
}

impl<'l> Top<'l> {
    fn read(line: &'l [u8]) -> Result<Self, JsonError> {
        let mut scanner = Scanner::from_bytes(line)?;
        let (mut id, mut has_model, mut members) = (None, false, 0);
        let object = scanner.object::<JsonError>(|s, key| {
            members += 1;
            has_model |= key.decode() == "model";
            let is_id = key.decode() == "id";
            let at = s.skip()?;
            if is_id {
                id = Some(s.text(at));
            }
            Ok(())
        })?;
        scanner.end()?;
        let body = if has_model {
            Bytes::copy_from_slice(line)
        } else {
            let comma = if members == 0 { "" } else { "," };
            let (before, after) = line.split_at(object.start + 1);
            Bytes::from([before, br#""model":"auto""#, comma.as_bytes(), after].concat())
        };
        Ok(Self { id: id.and_then(|id| serde_json::from_str(id).ok()), body })
    }
}

fn read_state(file: &Path) -> Result<(State, Held), Problem> {
    let name = file.display().to_string();
    let text = std::fs::read_to_string(file).map_err(|error| about(&name, format!("cannot be read: {error}")))?;
    let state: State = serde_json::from_str(&text).map_err(|error| about(&name, error.to_string()))?;
    let held = state.held().map_err(|message| about(&name, message))?;
    Ok((state, held))
}

fn about(file: &str, message: String) -> Problem {
    Problem { file: file.to_owned(), line: 0, column: 0, message }
}
