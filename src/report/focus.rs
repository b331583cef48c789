//! Rows of the FinOps Open Cost and Usage Specification, version 1.2: one a day, team, project and model.
//! <https://focus.finops.org/focus-specification/v1-2/>
//!
//! Quantities are thousands of tokens, input and output together. A model has several unit prices, so that none is
//! stated. What was priced at a service tier of its own (batch, flex, priority) is a row of its own, with a SKU of its own
//! and the pricing category `Other`: it varies with nothing and is committed to by nobody, and it is not the standard price. `ListCost` is without
//! discounts. Costs that are not known are no costs: `x_UncertainLow` and `x_UncertainHigh` have their interval. What
//! Farthing saved is beside them: it is no discount that somebody gives. `BilledCost` is what the provider bills, as
//! re-rating has it; `EffectiveCost` what the team is to pay, with what it is charged for cache hits (`x_Transfer`), or
//! credited with for those of others: the sums of both are the same. What a month came to stays once its statement is
//! closed ([`super::stated`]): what is corrected later is billed in the month whose statement has it.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::write::escaped;
use super::{Figures, midnight};
use crate::money::NanoUsd;

/// Every column that is written: the mandatory ones of version 1.2, the recommended and conditional ones that say
/// something here, and ours, which begin with `x_` as the specification wants.
pub const COLUMNS: [&str; 62] = [
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
    "x_OvershootInput",
    "x_OvershootOutput",
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
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Charge {
    /// The first day, and the one behind the last: a day, or what is left of a month whose days are not known.
    pub days: (Date, Date),
    /// The first day of the month that it is billed in.
    pub billed: Date,
    /// It corrects what was billed in an earlier month.
    pub is_correction: bool,
    /// Who pays.
    pub team: String,
    /// Project; empty: none.
    pub project: String,
    /// Model, with its provider row before it; empty: no call was made.
    pub model: String,
    /// Service tier that it was priced at; empty: the standard one.
    pub service_tier: String,
    /// The figures.
    pub figures: Figures,
    /// What no sums are kept of is not known any more.
    pub is_forgotten: bool,
}

impl Charge {
    /// The provider row of its model; empty: no call was made.
    pub fn provider(&self) -> &str {
        self.model.split_once('/').map_or("", |(provider, _)| provider)
    }
}

/// All charges as CSV with a header; days and months are those of `zone`. `vendor` is who makes, sells and bills what a
/// provider row has.
pub fn csv<'v>(
    charges: impl IntoIterator<Item = Charge>,
    zone: &TimeZone,
    vendor: impl Fn(&str) -> Option<&'v str>,
) -> String {
    let mut out = csv::Writer::from_writer(Vec::new());
    // What is written to memory is written.
    let _ = out.write_record(COLUMNS);
    charges.into_iter().for_each(|charge| {
        // A row of which the configuration knows no longer is called what it was.
        let of_vendor = vendor(charge.provider()).unwrap_or(charge.provider());
        drop(out.write_record(row(&charge, of_vendor, zone)));
    });
    String::from_utf8(out.into_inner().unwrap_or_default()).unwrap_or_default()
}

fn row(charge: &Charge, vendor: &str, zone: &TimeZone) -> Vec<String> {
    let Charge { days, billed, team, project, model, service_tier, figures, .. } = charge;
    let name = model.split_once('/').map_or(model.as_str(), |(_, name)| name);
    let at_tier = |name: &str, between: &str| match service_tier.as_str() {
        "" => name.to_owned(),
        tier => format!("{name}{between}{tier}"),
    };
    let no_model = if figures.transfer == 0 { "no-call" } else { "cache-transfer" };
    let name = if model.is_empty() { no_model.replace('-', " ") } else { at_tier(name, " at ") };
    let moment = |date: Date| Timestamp::from_millisecond(midnight(date, zone)).unwrap_or_default().to_string();
    let next_month = billed.saturating_add(jiff::Span::new().months(1));
    let off_rows = |number: i64| if charge.is_forgotten { String::new() } else { number.to_string() };
    let amount_off_rows = |nano: i64| if charge.is_forgotten { String::new() } else { amount(nano) };
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
            "BillingPeriodStart" => moment(*billed),
            "BillingPeriodEnd" => moment(next_month),
            "ChargeCategory" => "Usage".to_owned(),
            // Null: it corrects nothing that was billed before.
            "ChargeClass" => if charge.is_correction { "Correction" } else { "" }.to_owned(),
            "ChargeDescription" if charge.is_correction => {
                escaped(&format!("{name}: correction of {}", of_days(*days)))
            }
            "ChargeDescription" => escaped(&match figures.uncertain {
                0 => format!("{name}: {} requests", figures.requests),
                unknown => {
                    format!("{name}: {} requests; {unknown} attempts of unknown cost left out", figures.requests)
                }
            }),
            "ChargeFrequency" => "Usage-Based".to_owned(),
            "ChargePeriodStart" => moment(days.0),
            "ChargePeriodEnd" => moment(days.1),
            "ConsumedQuantity" => tokens.to_string(),
            "ConsumedUnit" => "Tokens".to_owned(),
            "InvoiceIssuerName" | "ProviderName" | "PublisherName" => {
                escaped(if vendor.is_empty() { "farthing" } else { vendor })
            }
            "PricingCategory" => if service_tier.is_empty() { "Standard" } else { "Other" }.to_owned(),
            "PricingQuantity" => thousandths(tokens),
            "PricingUnit" => "1000 Tokens".to_owned(),
            "ResourceId" | "ResourceName" => escaped(model),
            // Every charge of usage has one, also of requests that no model answered.
            "SkuId" if model.is_empty() => no_model.to_owned(),
            "SkuId" => escaped(&at_tier(model, ":")),
            // Null where the resource is.
            "ResourceType" => if model.is_empty() { "" } else { "Model" }.to_owned(),
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
            "x_AudioInputTokens" => off_rows(figures.beside.tokens[0]),
            "x_CachedAudioInputTokens" => off_rows(figures.beside.tokens[1]),
            "x_AudioOutputTokens" => off_rows(figures.beside.tokens[2]),
            "x_ImageInputTokens" => off_rows(figures.beside.tokens[3]),
            "x_ImageOutputTokens" => off_rows(figures.beside.tokens[4]),
            "x_WebSearchCalls" => off_rows(figures.beside.calls[0]),
            "x_WebFetchCalls" => off_rows(figures.beside.calls[1]),
            "x_CodeInterpreterCalls" => off_rows(figures.beside.calls[2]),
            "x_FileSearchCalls" => off_rows(figures.beside.calls[3]),
            "x_Fees" => amount_off_rows(figures.beside.fees),
            "x_OvershootInput" => amount_off_rows(figures.beside.overshoot[0]),
            "x_OvershootOutput" => amount_off_rows(figures.beside.overshoot[1]),
            "x_Refused" => off_rows(figures.beside.refused),
            "x_UnpricedCalls" => off_rows(figures.beside.unpriced_calls),
            "x_Estimated" => amount(figures.estimated),
            "x_EstimatedHigh" => figures.estimated_most().map(amount).unwrap_or_default(),
            "x_EstimatedLow" => amount(figures.estimated_low),
            "x_Overhead" => amount(figures.overhead),
            "x_Transfer" => amount(figures.transfer),
            "x_UncertainLow" => amount(figures.uncertain_low),
            "x_UncertainHigh" => figures.uncertain_most().map(amount).unwrap_or_default(),
            "x_Unbounded" => figures.unbounded.to_string(),
            // `InvoiceId`: statements have their own.
            _ => String::new(),
        })
        .collect()
}

/// A day, or a month.
fn of_days((first, beyond): (Date, Date)) -> String {
    match first.saturating_add(jiff::Span::new().days(1)) == beyond {
        true => first.to_string(),
        false => first.strftime("%Y-%m").to_string(),
    }
}

fn amount(nano: i64) -> String {
    NanoUsd(nano).to_string()
}

fn thousandths(number: i64) -> String {
    let sign = if number < 0 { "-" } else { "" };
    format!("{sign}{}.{:03}", number.unsigned_abs() / 1000, number.unsigned_abs() % 1000)
}
