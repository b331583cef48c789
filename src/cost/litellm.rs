//! Price rows from LiteLLM's list, `model_prices_and_context_window.json`, which many tools and people keep.
//! <https://github.com/BerriAI/litellm/blob/main/model_prices_and_context_window.json>
//!
//! Dollars a token, however they are spelt (`2.5e-07`), become dollars per million without a float in between. In that
//! list zero often stands for what nobody knows, so it is taken for unknown, never for free. What is billed by more than
//! tokens of text is left out with the reason, since its cost would come out too low. docs/money.md has the fields.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use jiff::civil::Date;
use serde_json::value::RawValue;

use crate::money::{PicoUsdPerToken, scaled};

use super::book::{Row, Rows};
use super::fees::Fees;
use super::price::{ApartRates, Maker, Metered, Price, Rates, Schedule, StatedRates, Step, Terms, TokenLimits};

/// Pico-dollars of a dollar, as a power of ten.
const PICO: i32 = 12;
/// What a model may do and be billed by tokens alone.
const MODES: [&str; 4] = ["chat", "completion", "responses", "embedding"];
/// Parts of the names of what is billed by more than tokens of text.
const BILLED_OTHERWISE: [&str; 5] = ["-tts", "-search", "-omni", "-multimodal", "/flux-"];
/// Output that is no text, or input that is billed by the piece.
const OTHER_CHARGES: [&str; 4] = [
    "output_cost_per_image_token",
    "output_cost_per_audio_token",
    "output_cost_per_video_token",
    "input_cost_per_image",
];
/// What is charged by the request or the second, beside the tokens.
const BY_THE_REQUEST: [&str; 3] = ["input_cost_per_request", "output_cost_per_second", "input_cost_per_second"];
/// Fees that no row of the list is taken with: the field, the kind of call that a book may know the fee of, and what is said.
const FEES: [(&str, &str, &str); 3] = [
    ("search_context_cost_per_query", "web_search", "its fee for searches: an answer with any is of unknown cost"),
    (
        "code_interpreter_cost_per_session",
        "code_interpreter",
        "its fee for running code: an answer with any is of unknown cost",
    ),
    ("citation_cost_per_token", "", "its price of citations: an answer with any is of unknown cost"),
];
/// Vendors whose models search the web for every request that they answer.
const SEARCHES_ALWAYS: [&str; 1] = ["perplexity"];
/// Vendors whose usage tells sound and images from text, so that they can be priced.
const TELLS_SOUND: [&str; 2] = ["openai", "azure"];
/// What the list's names of rates of service tiers end in, and what is said of such rates that cannot be taken.
const TIERS: [(&str, &str); 3] = [
    ("_batches", "its `batch` rates: no price of both input and output that is known"),
    ("_flex", "its `flex` rates: no price of both input and output that is known"),
    ("_priority", "its `priority` rates: no price of both input and output that is known"),
];
/// The rates of text, which steps and service tiers may have of their own.
const STEPPED: [&str; 6] = [
    "input_cost_per_token",
    "output_cost_per_token",
    "cache_read_input_token_cost",
    "input_cost_per_token_cache_hit",
    "cache_creation_input_token_cost",
    "output_cost_per_reasoning_token",
];

/// What a list says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Imported {
    /// What can be priced by the token, by vendor and model.
    pub rows: Rows,
    /// What cannot, by the list's names: whole entries, and parts of those that can.
    pub left_out: Vec<LeftOut>,
}

/// An entry, or a part of one, that is not taken, and why.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LeftOut {
    /// Its name in the list.
    pub name: String,
    /// `vendor/model`, as far as it is known.
    pub key: String,
    /// Why.
    pub why: &'static str,
}

/// Reads a list whose prices hold from `from` on.
///
/// # Errors
///
/// What the text is, if it is no such list.
pub fn import_litellm(text: &str, from: Date) -> Result<Imported, String> {
    let entries: BTreeMap<String, Box<RawValue>> =
        serde_json::from_str(text).map_err(|error| format!("is no list of LiteLLM's: {error}"))?;
    let mut imported = Imported { rows: Rows::default(), left_out: Vec::new() };
    let mut seen = HashSet::new();
    let mut any = false;
    for (name, entry) in entries {
        // The list begins with an entry that says what the others look like.
        if name == "sample_spec" {
            continue;
        }
        let Ok(fields) = serde_json::from_str::<BTreeMap<String, &RawValue>>(entry.get()) else {
            let why = "is no map of fields";
            imported.left_out.push(LeftOut { key: name.clone(), name, why });
            continue;
        };
        let entry = Entry(fields);
        any |= entry.text("litellm_provider").is_some();
        let (vendor, model) = key_of(&name, entry.text("litellm_provider").as_deref().unwrap_or_default());
        let key = format!("{vendor}/{model}");
        let row = match entry.row(&vendor, &model, from) {
            _ if !seen.insert(key.clone()) => Err("a second entry for the same model"),
            row => row,
        };
        match row {
            Ok((price, missing)) => {
                let out = missing.into_iter().map(|why| LeftOut { name: name.clone(), key: key.clone(), why });
                imported.left_out.extend(out);
                imported.rows.0.push(Row { vendor, model, price });
            }
            Err(why) => imported.left_out.push(LeftOut { name, key, why }),
        }
    }
    if any { Ok(imported) } else { Err("is no list of LiteLLM's: no entry has `litellm_provider`".to_owned()) }
}

/// Vendor and model of an entry: the list's names of providers are longer than ours, and may stand in the model's too.
fn key_of(name: &str, provider: &str) -> (String, String) {
    let family = provider.split('-').next().unwrap_or_default();
    let vendor = match provider {
        "text-completion-openai" => "openai",
        "azure_text" => "azure",
        "cohere_chat" => "cohere",
        "together_ai" => "together",
        "text-completion-codestral" | "codestral" => "mistral",
        _ if family == "vertex_ai" => "vertex",
        _ if family == "fireworks_ai" => "fireworks",
        _ if provider.starts_with("bedrock") => "bedrock",
        _ => provider,
    };
    let prefixes = [provider, family, if vendor == "bedrock" { "bedrock" } else { vendor }];
    let model = prefixes.iter().find_map(|prefix| name.strip_prefix(prefix)?.strip_prefix('/')).unwrap_or(name);
    (vendor.to_owned(), model.to_owned())
}

/// The fields of one entry, values as they were spelt.
struct Entry<'a>(BTreeMap<String, &'a RawValue>);

impl Entry<'_> {
    fn text(&self, field: &str) -> Option<String> {
        serde_json::from_str(self.0.get(field)?.get()).ok()
    }

    /// A rate; zero and absent both mean that it is not known. What a float left behind its digits is rounded away.
    fn rate(&self, field: &str) -> Option<PicoUsdPerToken> {
        let number = scaled(self.0.get(field)?.get(), PICO)?;
        Some(PicoUsdPerToken(number.whole)).filter(|rate| rate.0 > 0)
    }

    /// Whether a field says that anything is charged: an amount, or a map or a list of some.
    fn charges(&self, field: &str) -> bool {
        let Some(value) = self.0.get(field).map(|value| value.get()) else { return false };
        match value.as_bytes().first() {
            Some(b'{' | b'[') => value.bytes().any(|byte| matches!(byte, b'1'..=b'9')),
            _ => self.rate(field).is_some(),
        }
    }

    fn limit(&self, field: &str) -> Option<u64> {
        let number = scaled(self.0.get(field)?.get(), 0)?;
        Some(number.whole).filter(|tokens| *tokens > 0)
    }

    fn embeds(&self) -> bool {
        self.text("mode").as_deref() == Some("embedding")
    }

    /// The row, and why parts of the entry are not in it.
    fn row(&self, vendor: &str, model: &str, from: Date) -> Result<(Price, Vec<&'static str>), &'static str> {
        if vendor.is_empty() || model.is_empty() || model.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return Err("no provider, or no name that a model can have");
        }
        if self.text("mode").is_some_and(|mode| !MODES.contains(&mode.as_str())) {
            return Err("billed otherwise than by tokens of text");
        }
        let tells = TELLS_SOUND.contains(&vendor);
        let is_named_so = BILLED_OTHERWISE.iter().any(|part| model.contains(part))
            || model.starts_with("lyria")
            || (vendor == "gemini" && model.starts_with("deep-research"));
        let is_named_for_sound =
            model.contains("-audio") && !(tells && self.rate("input_cost_per_audio_token").is_some());
        let by_the_token = |field: &str| tells && (field.contains("audio_token") || field.contains("image_token"));
        let charges_more = OTHER_CHARGES.iter().any(|field| self.rate(field).is_some() && !by_the_token(field));
        let dearer_images = !tells && self.rate("input_cost_per_image_token") > self.rate("input_cost_per_token");
        if is_named_so || is_named_for_sound || charges_more || dearer_images {
            return Err("billed by more than tokens of text");
        }
        let by_the_request = BY_THE_REQUEST.iter().any(|field| self.rate(field).is_some())
            || (SEARCHES_ALWAYS.contains(&vendor) && self.charges("search_context_cost_per_query"));
        if by_the_request {
            return Err("billed by the request or the second as well");
        }
        if self.charges("tiered_pricing") {
            return Err("its prices by length of the input are in a list that is not read");
        }
        if model.starts_with("together-ai-") {
            return Err("a class of models, and no model");
        }
        let maker = Maker::of(vendor, model);
        let standard = self.block("", "", (tells, maker)).ok_or("no price that is known; zero is none")?;
        if standard.output.is_none() && !self.embeds() {
            return Err("no price of output that is known; zero is none");
        }
        let needs_output = standard.output.is_some();
        let steps = self.steps("", (tells, maker), &standard);
        let standard = Schedule { base: standard, steps };
        let inherited = standard.steps.first().map(|step| step.above);
        let mut missing = Vec::new();
        let [batch, flex, priority] = TIERS.map(|(tier, why)| {
            let base = self.block("", tier, (tells, maker)).filter(|rates| !needs_output || rates.output.is_some());
            let Some(base) = base else {
                missing.extend(Some(why).filter(|_| self.states_any(tier)));
                return None;
            };
            let mut steps = self.steps(tier, (tells, maker), &base);
            if steps.is_empty() {
                steps.extend(inherited.map(|above| Step { above, rates: None }));
            }
            Some(Schedule { base, steps })
        });
        if self.lacks_cached_step() {
            missing.push("the price of cached input in a long-context step: that of the input stands for it");
        }
        if self.has_odd_step() {
            missing.push("a long-context step whose length is no number of thousands");
        }
        let fees = Fees::usual(vendor);
        let knows = |kind: &str| fees.named().any(|(known, _)| known == kind);
        missing
            .extend(FEES.iter().filter(|(field, kind, _)| self.charges(field) && !knows(kind)).map(|(.., why)| *why));
        if self.0.keys().any(|field| field.starts_with("regional_processing_uplift") && self.charges(field)) {
            missing.push("its surcharge for processing in a region");
        }
        let price = Price {
            version: format!("{vendor}/{model}@litellm:{from}"),
            from: Some(from),
            terms: Terms::Metered(Box::new(Metered { standard, batch, flex, priority, fees })),
            hours: Vec::new(),
            limits: TokenLimits {
                input: self.limit("max_input_tokens"),
                output: self.limit("max_output_tokens").filter(|_| !self.embeds()),
            },
            deprecated: self.text("deprecation_date").and_then(|day| day.parse().ok()),
        };
        Ok((price, missing))
    }

    /// Whether there is any rate of text for a service tier.
    fn states_any(&self, tier: &str) -> bool {
        STEPPED.iter().any(|kind| self.rate(&format!("{kind}{tier}")).is_some())
    }

    /// Long-context steps of a tier, ascending. What a step does not state stays as it is in the step before, and in `base` at
    /// the first: the input's rates without one of the input, the output's without one of the output.
    fn steps(&self, tier: &str, of: (bool, Maker), base: &Rates) -> Vec<Step> {
        let ending = format!("k_tokens{tier}");
        let thousands = self.0.keys().filter_map(|field| {
            let (_, step) = field.split_once("_above_").filter(|(kind, _)| STEPPED.contains(kind))?;
            self.rate(field)?;
            step.strip_suffix(&ending)?.parse::<u64>().ok()
        });
        // In order, and each once.
        let thousands: BTreeSet<u64> = thousands.collect();
        let mut before = *base;
        let steps = thousands.into_iter().filter_map(|thousands| {
            before = self.step(&format!("_above_{thousands}k_tokens"), tier, of, &before)?;
            Some(Step { above: thousands.checked_mul(1000)?, rates: Some(before) })
        });
        steps.collect()
    }

    fn step(&self, step: &str, tier: &str, of: (bool, Maker), base: &Rates) -> Option<Rates> {
        let stated = self.stated(step, tier, of.0);
        let is_of_output = stated.output.is_some();
        let mut rates = match stated.input {
            Some(_) => Rates::filled(stated, of.1)?,
            None => Rates {
                cached_input: stated.cached_input.unwrap_or(base.cached_input),
                cache_write_5m: stated.cache_write_5m.unwrap_or(base.cache_write_5m),
                cache_write_1h: stated.cache_write_1h.or(base.cache_write_1h),
                output: stated.output,
                reasoning: stated.output.and(stated.reasoning.or(stated.output)),
                apart: stated.apart,
                ..*base
            },
        };
        if !is_of_output {
            (rates.output, rates.reasoning) = (base.output, base.output.and(stated.reasoning.or(base.reasoning)));
        }
        Some(rates)
    }

    /// Whether there is a step of the input without a price of what is cached, though there is one below it.
    fn lacks_cached_step(&self) -> bool {
        let has = |field: &str| self.rate(field).is_some();
        let mut steps = self.0.keys().filter_map(|field| field.strip_prefix("input_cost_per_token_above_"));
        has("cache_read_input_token_cost")
            && steps.any(|step| {
                has(&format!("input_cost_per_token_above_{step}"))
                    && !has(&format!("cache_read_input_token_cost_above_{step}"))
            })
    }

    /// Whether the entry has a step whose length this cannot read.
    fn has_odd_step(&self) -> bool {
        let is_read = |step: &str| {
            let step = step.strip_prefix("1hr_above_").unwrap_or(step);
            let step = TIERS.iter().find_map(|(tier, _)| step.strip_suffix(tier)).unwrap_or(step);
            step.strip_suffix("k_tokens").is_some_and(|thousands| thousands.parse::<u64>().is_ok())
        };
        self.0.keys().any(|field| {
            let of_text = field.split_once("_above_").filter(|(kind, _)| STEPPED.contains(kind));
            of_text.is_some_and(|(_, step)| step != "1hr" && !is_read(step)) && self.rate(field).is_some()
        })
    }

    fn block(&self, step: &str, tier: &str, (tells, maker): (bool, Maker)) -> Option<Rates> {
        Rates::filled(self.stated(step, tier, tells), maker)
    }

    fn stated(&self, step: &str, tier: &str, tells: bool) -> StatedRates {
        let of = |kind: &str| self.rate(&format!("{kind}{step}{tier}"));
        let of_other = |kind: &str| of(kind).filter(|_| tells);
        let input = of("input_cost_per_token");
        StatedRates {
            input,
            cached_input: of("cache_read_input_token_cost").or_else(|| of("input_cost_per_token_cache_hit")),
            // What is listed below the input's rate is a slip: nobody writes for less than it costs to read.
            cache_write_5m: of("cache_creation_input_token_cost").filter(|written| Some(*written) >= input),
            cache_write_1h: of("cache_creation_input_token_cost_above_1hr"),
            output: of("output_cost_per_token").filter(|_| !self.embeds()),
            reasoning: of("output_cost_per_reasoning_token"),
            apart: ApartRates {
                audio_input: of_other("input_cost_per_audio_token"),
                cached_audio_input: of_other("cache_read_input_audio_token_cost"),
                audio_output: of_other("output_cost_per_audio_token"),
                image_input: of_other("input_cost_per_image_token"),
                image_output: of_other("output_cost_per_image_token"),
            },
        }
    }
}

#[cfg(test)]
#[path = "litellm/tests.rs"]
mod tests;
