//! Rows of the FinOps Open Cost and Usage Specification, version 1.2: one a day, team, project and model.
//! <https://focus.finops.org/focus-specification/v1-2/>
//!
//! Quantities are thousands of tokens, input and output together. A model has several unit prices, so that none is
//! stated. What was priced at a service tier of its own (batch, flex, priority) is a row of its own, with a SKU of its own
//! and the pricing category `Other`: it varies with nothing and is committed to by nobody, and it is not the standard price. `ListCost` is without
//! discounts. Costs that are not known are no costs: `x_UncertainLow` and `x_UncertainHigh` have their interval. What
//! Farthing saved is beside them: it is no discount that somebody gives. `BilledCost` is what the provider bills, as
//! re-rating has it; `EffectiveCost` what the team is to pay, with what it is charged for cache hits (`x_Transfer`), or
//! credited with for those of others: the sums of both are the same.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::write::escaped;
use super::{Figures, midnight};
use crate::money::NanoUsd;

/// Every column that is written: the mandatory ones of version 1.2, the recommended and conditional ones that say
/// something here, and ours, which begin with `x_` as the specification wants.
pub const COLUMNS: [&str; 60] = [
    "BilledCost",
    "BillingAccountId",
    "BillingAccountName",
    "BillingAccountType",
    "BillingCurrency",
    "BillingPeriodEnd",
    "BillingPeriodStart",
    "ChargeCategory",
    "ChargeClass",
    "ChargeDescription",
    "ChargeFrequency",
    "ChargePeriodEnd",
    "ChargePeriodStart",
    "ConsumedQuantity",
    "ConsumedUnit",
    "ContractedCost",
    "EffectiveCost",
    "InvoiceId",
    "InvoiceIssuerName",
    "ListCost",
    "PricingCategory",
    "PricingQuantity",
    "PricingUnit",
    "ProviderName",
    "PublisherName",
    "ResourceId",
    "ResourceName",
    "ResourceType",
    "ServiceCategory",
    "ServiceName",
    "ServiceSubcategory",
    "SkuId",
    "SubAccountId",
    "SubAccountName",
    "SubAccountType",
    "Tags",
    "x_Adjusted",
    "x_AudioInputTokens",
    "x_AudioOutputTokens",
    "x_CachedAudioInputTokens",
    "x_CodeInterpreterCalls",
    "x_Estimated",
    "x_EstimatedHigh",
    "x_EstimatedLow",
    "x_Fees",
    "x_FileSearchCalls",
    "x_ImageInputTokens",
    "x_ImageOutputTokens",
    "x_Overhead",
    "x_Refused",
    "x_Requests",
    "x_Saved",
    "x_ServiceTier",
    "x_Transfer",
    "x_Unbounded",
    "x_UncertainHigh",
    "x_UncertainLow",
    "x_UnpricedCalls",
    "x_WebFetchCalls",
    "x_WebSearchCalls",
];

/// What a row is of.
#[derive(Clone, Copy, Debug)]
pub struct Charge<'a> {
    /// The day.
    pub day: Date,
    /// Who pays.
    pub team: &'a str,
    /// Project; empty: none.
    pub project: &'a str,
    /// Model, with its provider row before it; empty: no call was made.
    pub model: &'a str,
    /// Who makes, sells and bills the model; empty: no call was made.
    pub vendor: &'a str,
    /// Service tier that it was priced at; empty: the standard one.
    pub service_tier: &'a str,
    /// The figures.
    pub figures: &'a Figures,
}

/// All charges as CSV with a header; days and months are those of `zone`.
pub fn csv<'a>(charges: impl IntoIterator<Item = Charge<'a>>, zone: &TimeZone) -> String {
    let mut out = csv::Writer::from_writer(Vec::new());
    // What is written to memory is written.
    let _ = out.write_record(COLUMNS);
    charges.into_iter().for_each(|charge| drop(out.write_record(row(&charge, zone))));
    String::from_utf8(out.into_inner().unwrap_or_default()).unwrap_or_default()
}

fn row(charge: &Charge<'_>, zone: &TimeZone) -> Vec<String> {
    let Charge { day, team, project, model, vendor, service_tier, figures } = *charge;
    let name = model.split_once('/').map_or(model, |(_, name)| name);
    let at_tier = |name: &str, between: &str| match service_tier {
        "" => name.to_owned(),
        tier => format!("{name}{between}{tier}"),
    };
    let name = at_tier(name, " at ");
    let moment = |date: Date| Timestamp::from_millisecond(midnight(date, zone)).unwrap_or_default().to_string();
    let month = day.first_of_month();
    let next_month = month.saturating_add(jiff::Span::new().months(1));
    let tomorrow = day.saturating_add(jiff::Span::new().days(1));
    let cost = amount(figures.cost.saturating_add(figures.adjusted));
    let tokens = figures.input_tokens.saturating_add(figures.output_tokens);
    COLUMNS
        .iter()
        .map(|column| match *column {
            "BilledCost" | "ContractedCost" => cost.clone(),
            "ListCost" => amount(figures.list()),
            "EffectiveCost" => amount(figures.charged()),
            "BillingAccountId" | "BillingAccountName" => "farthing".to_owned(),
            "BillingAccountType" => "Gateway".to_owned(),
            "BillingCurrency" => "USD".to_owned(),
            "BillingPeriodStart" => moment(month),
            "BillingPeriodEnd" => moment(next_month),
            "ChargeCategory" => "Usage".to_owned(),
            "ChargeDescription" => escaped(&match figures.uncertain {
                0 => format!("{name}: {} requests", figures.requests),
                unknown => {
                    format!("{name}: {} requests; {unknown} attempts of unknown cost left out", figures.requests)
                }
            }),
            "ChargeFrequency" => "Usage-Based".to_owned(),
            "ChargePeriodStart" => moment(day),
            "ChargePeriodEnd" => moment(tomorrow),
            "ConsumedQuantity" => tokens.to_string(),
            "ConsumedUnit" => "Tokens".to_owned(),
            "InvoiceIssuerName" | "ProviderName" | "PublisherName" => {
                escaped(if vendor.is_empty() { "farthing" } else { vendor })
            }
            "PricingCategory" => if service_tier.is_empty() { "Standard" } else { "Other" }.to_owned(),
            "PricingQuantity" => thousandths(tokens),
            "PricingUnit" => "1000 Tokens".to_owned(),
            "ResourceId" | "ResourceName" => escaped(model),
            "SkuId" => escaped(&at_tier(model, ":")),
            "ResourceType" => "Model".to_owned(),
            "ServiceCategory" => "AI and Machine Learning".to_owned(),
            "ServiceName" => "Large language models".to_owned(),
            "ServiceSubcategory" => "Generative AI".to_owned(),
            "SubAccountId" | "SubAccountName" => escaped(team),
            "SubAccountType" => "Team".to_owned(),
            "Tags" => serde_json::json!({ "project": project }).to_string(),
            "x_Requests" => figures.requests.to_string(),
            "x_Saved" => amount(figures.saved()),
            "x_ServiceTier" => escaped(service_tier),
            "x_Adjusted" => amount(figures.adjusted),
            "x_AudioInputTokens" => figures.beside.tokens[0].to_string(),
            "x_CachedAudioInputTokens" => figures.beside.tokens[1].to_string(),
            "x_AudioOutputTokens" => figures.beside.tokens[2].to_string(),
            "x_ImageInputTokens" => figures.beside.tokens[3].to_string(),
            "x_ImageOutputTokens" => figures.beside.tokens[4].to_string(),
            "x_WebSearchCalls" => figures.beside.calls[0].to_string(),
            "x_WebFetchCalls" => figures.beside.calls[1].to_string(),
            "x_CodeInterpreterCalls" => figures.beside.calls[2].to_string(),
            "x_FileSearchCalls" => figures.beside.calls[3].to_string(),
            "x_Fees" => amount(figures.beside.fees),
            "x_Refused" => figures.beside.refused.to_string(),
            "x_UnpricedCalls" => figures.beside.unpriced_calls.to_string(),
            "x_Estimated" => amount(figures.estimated),
            "x_EstimatedHigh" => amount(figures.estimated_high),
            "x_EstimatedLow" => amount(figures.estimated_low),
            "x_Overhead" => amount(figures.overhead),
            "x_Transfer" => amount(figures.transfer),
            "x_UncertainLow" => amount(figures.uncertain_low),
            "x_UncertainHigh" => amount(figures.uncertain_high),
            "x_Unbounded" => figures.unbounded.to_string(),
            // `ChargeClass`: nothing here corrects an invoice; `InvoiceId`: statements have their own.
            _ => String::new(),
        })
        .collect()
}

fn amount(nano: i64) -> String {
    NanoUsd(nano).to_string()
}

fn thousandths(number: i64) -> String {
    format!("{}.{:03}", number / 1000, number % 1000)
}
