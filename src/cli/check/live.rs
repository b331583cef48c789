//! `check --live`: one call for each key of each provider row, so that a wrong key is found before traffic finds it.

use std::sync::Arc;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use tokio::task::JoinHandle;

use crate::config::{Config, ProviderConfig, presets};
use crate::cost::{Book, cost_of};
use crate::ids::ModelId;
use crate::providers::probe::{Found, Question};
use crate::providers::{Providers, Row};
use crate::reply::usage::{ServiceTier, Usage};
use crate::task::Tier;

/// Connections at a time: one for each call, of which there are few.
const CONNECTIONS_MAX: usize = 256;

/// Asks all of them: a line for each that answered, and one for each that did not.
///
/// # Errors
///
/// Nothing could be asked at all.
pub fn ask(config: &Config, book: &Book) -> Result<(Vec<String>, Vec<String>), String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("nothing can be called: {error}"))?;
    Ok(runtime.block_on(ask_all(config, book)))
}

/// A call that goes on: what it is told by, what is asked, and what comes of it.
type Asked<'a> = (&'a ProviderConfig, String, Question, JoinHandle<(Found, std::time::Duration)>);

async fn ask_all(config: &Config, book: &Book) -> (Vec<String>, Vec<String>) {
    let providers = Providers::new(&config.providers, CONNECTIONS_MAX);
    let (mut good, mut bad) = (Vec::new(), Vec::new());
    let mut asked: Vec<Asked<'_>> = Vec::new();
    for (row, called) in config.providers.iter().zip(providers.rows()) {
        let Some(question) = question(config, row, book) else {
            good.push(format!("provider {}: not called, since it lists no models and none is known of it", row.id));
            continue;
        };
        for (number, access) in row.accesses.iter().enumerate() {
            let key = access.from.as_ref().map_or_else(String::new, |from| format!(" with {from}"));
            let name = format!("{} at {}{key}", row.id, access.base_url);
            asked.push((row, name, question.clone(), probe(called, number, &question)));
        }
    }
    for (row, name, question, found) in asked {
        let told = match found.await {
            Ok((found, took)) => {
                told(row, &question, found, book).map(|told| format!("{told}, {} ms", took.as_millis()))
            }
            Err(_) => Err("asking broke off".to_owned()),
        };
        match told {
            Ok(told) => good.push(format!("provider {name}: {told}")),
            Err(why) => bad.push(format!("provider {name}: {why}")),
        }
    }
    (good, bad)
}

fn probe(row: &Arc<Row>, access: usize, question: &Question) -> JoinHandle<(Found, std::time::Duration)> {
    let (row, question) = (Arc::clone(row), question.clone());
    tokio::spawn(async move { row.probe(access, &question).await })
}

/// The list where there is one, which is free; else an answer of a model of a tier, or of any that has a price.
fn question(config: &Config, row: &ProviderConfig, book: &Book) -> Option<Question> {
    let preset = row.preset.and_then(presets::named);
    let lists = preset.map_or(Some("/models"), |(_, preset)| preset.lists.as_deref());
    if let Some(path) = lists {
        return Some(Question::List(path.to_owned()));
    }
    let of_tiers = Tier::ALL.iter().rev().flat_map(|tier| config.tiers.models(*tier));
    let of_tier = of_tiers.filter(|model| model.provider == row.id).map(|model| model.model.clone()).next();
    let priced = || book.rows_of(&row.vendor).map(|(model, _)| model).filter(|model| row.serves(model)).min();
    of_tier.or_else(|| priced().map(ModelId::from)).map(Question::Answer)
}

/// What came of one call, for people.
fn told(row: &ProviderConfig, question: &Question, found: Found, book: &Book) -> Result<String, String> {
    match (found, question) {
        (Found::Models(models), _) => {
            let served = models.iter().filter(|model| row.serves(model)).count();
            Ok(format!("lists {} models, {served} of them served", models.len()))
        }
        (Found::Answered(usage), Question::Answer(model)) => {
            Ok(format!("{model} answers, for {}", cost(row, model, usage, book)))
        }
        (Found::Answered(_), Question::List(_)) => Ok("answers".to_owned()),
        (Found::Failed { status: Some(status), why }, _) => Err(format!("status {status}, {why}")),
        (Found::Failed { status: None, why }, _) => Err(why),
    }
}

fn cost(row: &ProviderConfig, model: &ModelId, usage: Option<Usage>, book: &Book) -> String {
    let now = Timestamp::now().to_zoned(TimeZone::UTC);
    let price = book.price_at(&row.vendor, model.as_str(), &now);
    let cost = price
        .zip(usage)
        .and_then(|(price, usage)| cost_of(price, &usage, ServiceTier::Standard, row.discount_ppm).ok());
    cost.map_or_else(|| "an unknown cost".to_owned(), |cost| format!("${cost}"))
}
