//! One row of the price book: what a model's tokens cost, by kind, length of input and service tier.
//!
//! A row states some rates and leaves others out. The gaps are filled once, when the row is read, by the
//! rules on [`Rates`]; what they cannot fill stays unknown. The arithmetic is in `arithmetic`.

use std::fmt;
use std::sync::Arc;

use jiff::civil::Date;

use super::fees::Fees;
use crate::money::PicoUsdPerToken;
use crate::reply::usage::ServiceTier;

/// The price of one model from one date on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Price {
    /// Which row this is, for the ledger: `openai/gpt-5.6-luna@builtin-2026-11` for a built-in row, and
    /// `openai/gpt-x@prices.yaml:2026-11-01#1c291ca3` for a user's, where the last part is a checksum of
    /// its rates, so that a row edited in place is a new version.
    pub version: String,
    /// The first day on which it holds; `None`: from the beginning.
    pub from: Option<Date>,
    /// What is charged.
    pub terms: Terms,
    /// What is charged instead to requests that arrive in these hours; no two overlap.
    pub hours: Vec<(Hours, Arc<Price>)>,
    /// The most tokens that the model reads and writes.
    pub limits: TokenLimits,
    /// The day on which the provider withdraws the model, if announced. Prices are not affected.
    pub deprecated: Option<Date>,
}

/// A time of every day, UTC. It may go past midnight.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hours {
    /// The first minute of the day that belongs to it.
    pub from: u16,
    /// The first one that does not any more.
    pub until: u16,
}

impl Hours {
    /// Reads `16:30-00:30`; `None` for what is no time of the day, and for a whole one or nothing.
    pub(super) fn read(text: &str) -> Option<Self> {
        let (from, until) = text.split_once('-')?;
        let minute = |text: &str| {
            let (hours, minutes) = text.split_once(':').filter(|_| text.len() == 5)?;
            let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse::<u16>().ok());
            let (hours, minutes) = (digits(hours)??, digits(minutes)??);
            (hours < 24 && minutes < 60).then_some(hours * 60 + minutes)
        };
        let hours = Self { from: minute(from)?, until: minute(until)? };
        (hours.from != hours.until).then_some(hours)
    }

    /// Whether a minute of the day belongs to it.
    pub fn has(self, minute: u16) -> bool {
        if self.from < self.until {
            (self.from..self.until).contains(&minute)
        } else {
            minute >= self.from || minute < self.until
        }
    }

    /// Whether any minute belongs to both.
    pub(super) fn overlaps(self, other: Self) -> bool {
        self.has(other.from) || other.has(self.from)
    }
}

impl fmt::Display for Hours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { from, until } = self;
        write!(f, "{:02}:{:02}-{:02}:{:02}", from / 60, from % 60, until / 60, until % 60)
    }
}

impl Price {
    /// What holds at a minute of the day, UTC.
    pub(super) fn at(self: &Arc<Self>, minute: u16) -> &Arc<Self> {
        self.hours.iter().find(|(hours, _)| hours.has(minute)).map_or(self, |(_, price)| price)
    }

    /// Whether it has a rate for sound that is heard, in all of these tiers and at every length.
    pub fn knows_sound(&self, tiers: &[ServiceTier]) -> bool {
        let Terms::Metered(metered) = &self.terms else { return true };
        tiers.iter().all(|tier| {
            let rates = metered.schedule(*tier).map(|schedule| schedule.reachable(u64::MAX));
            rates.is_some_and(|mut rates| {
                rates.all(|rates| rates.is_some_and(|rates| rates.apart.audio_input.is_some()))
            })
        })
    }

    /// Whether writing to the provider's cache costs more than reading does, so that usage says what was written.
    pub fn charges_writes(&self) -> bool {
        let Terms::Metered(metered) = &self.terms else { return false };
        metered.standard.base.cache_write_5m > metered.standard.base.input
    }

    /// Whether it came with the program, and not from a user's file.
    pub fn is_built_in(&self) -> bool {
        self.version.contains("@builtin")
    }
}

/// What a model's use is charged by.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Terms {
    /// Nothing, in every service tier: somebody wrote `price: free`.
    Free,
    /// By the token.
    Metered(Box<Metered>),
}

/// Rates by service tier. A tier that is `None` exists without a known price, or not at all.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Metered {
    /// List price.
    pub standard: Schedule,
    /// Asynchronous batches.
    pub batch: Option<Schedule>,
    /// Slower and cheaper.
    pub flex: Option<Schedule>,
    /// Faster and dearer.
    pub priority: Option<Schedule>,
    /// Calls of tools that the provider runs, in every tier.
    pub fees: Fees,
}

impl Metered {
    /// The rates of one service tier; `None` if they are unknown, which [`ServiceTier::Other`] always is.
    pub fn schedule(&self, tier: ServiceTier) -> Option<&Schedule> {
        match tier {
            ServiceTier::Standard => Some(&self.standard),
            ServiceTier::Batch => self.batch.as_ref(),
            ServiceTier::Flex => self.flex.as_ref(),
            ServiceTier::Priority => self.priority.as_ref(),
            ServiceTier::Other => None,
        }
    }

    /// The tiers besides the standard one whose rates are known, by the names that a row gives them.
    pub fn tiers(&self) -> impl Iterator<Item = (&'static str, &Schedule)> {
        let tiers = [("batch", &self.batch), ("flex", &self.flex), ("priority", &self.priority)];
        tiers.into_iter().filter_map(|(name, schedule)| Some((name, schedule.as_ref()?)))
    }
}

/// Rates of one service tier by length of the input.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Schedule {
    /// Up to the first step.
    pub base: Rates,
    /// Long-context steps, ascending; each re-prices the whole request.
    pub steps: Vec<Step>,
}

impl Schedule {
    /// The rates of a request with so many input tokens (cached and cache-write ones included).
    ///
    /// `None` where a service tier states no rates for inputs of this length.
    pub fn rates(&self, input_tokens: u64) -> Option<&Rates> {
        match self.steps.iter().rev().find(|step| input_tokens > step.above) {
            Some(step) => step.rates.as_ref(),
            None => Some(&self.base),
        }
    }

    /// Every rate set that a request with at most `most` input tokens can meet.
    pub(super) fn reachable(&self, most: u64) -> impl Iterator<Item = Option<&Rates>> {
        let steps = self.steps.iter().filter(move |step| most > step.above).map(|step| step.rates.as_ref());
        std::iter::once(Some(&self.base)).chain(steps)
    }
}

/// A long-context step.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Step {
    /// It applies to inputs of more tokens than this.
    pub above: u64,
    /// What applies then; `None`: unknown, because the service tier states no rates beyond the model's own step.
    pub rates: Option<Rates>,
}

/// What tokens of each kind cost.
///
/// A rate that a block leaves out is taken from the same block and never from another one:
///
/// * `cached_input`: the input rate, which is dearer; a discount must be stated to be believed;
/// * `cache_write_5m`: 1.25 times the input rate for Anthropic's models, wherever they run; else the input rate;
/// * `cache_write_1h`: twice the input rate for Anthropic's models; else nothing, it stays unknown;
/// * `reasoning`: the output rate;
/// * `output`: nothing, it stays unknown;
/// * `image_input`: nothing, images are text where a row does not say otherwise;
/// * `cached_audio_input`: the rate of `audio_input`;
/// * `audio_input`, `audio_output`, `image_output`: nothing, they stay unknown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rates {
    /// Input that is neither read from nor written to the provider's cache.
    pub input: PicoUsdPerToken,
    /// Input read from the provider's cache.
    pub cached_input: PicoUsdPerToken,
    /// Input written to the cache for five minutes, or its only kind of write.
    pub cache_write_5m: PicoUsdPerToken,
    /// Input written to the cache for an hour; `None`: unknown, and any such input makes the cost unknown.
    pub cache_write_1h: Option<PicoUsdPerToken>,
    /// Visible output; `None`: the model has no priced output (embeddings), and any output makes the cost unknown.
    pub output: Option<PicoUsdPerToken>,
    /// Reasoning output; `None` only together with `output`.
    pub reasoning: Option<PicoUsdPerToken>,
    /// What is no text.
    pub apart: ApartRates,
}

/// What tokens of sound and of images cost; `None`: unknown, but for `image_input`, which is then priced as text.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ApartRates {
    /// Sound that is heard.
    pub audio_input: Option<PicoUsdPerToken>,
    /// Sound that is read from the provider's cache.
    pub cached_audio_input: Option<PicoUsdPerToken>,
    /// Sound that is made.
    pub audio_output: Option<PicoUsdPerToken>,
    /// Images that are seen.
    pub image_input: Option<PicoUsdPerToken>,
    /// Images that are made.
    pub image_output: Option<PicoUsdPerToken>,
}

impl ApartRates {
    /// By the names that a row gives them.
    fn named(self) -> [(&'static str, Option<PicoUsdPerToken>); 5] {
        [
            ("audio_input", self.audio_input),
            ("cached_audio_input", self.cached_audio_input),
            ("audio_output", self.audio_output),
            ("image_input", self.image_input),
            ("image_output", self.image_output),
        ]
    }
}

impl Rates {
    /// Fills the gaps of one block by the rules above; `None` without an input rate.
    pub(super) fn filled(stated: StatedRates, maker: Maker) -> Option<Self> {
        let input = stated.input?;
        let (written_5m, written_1h) = match maker {
            Maker::Anthropic => {
                let quarters = |quarters: u64| PicoUsdPerToken(input.0.saturating_mul(quarters).div_ceil(4));
                (quarters(5), Some(quarters(8)))
            }
            Maker::Other => (input, None),
        };
        Some(Self {
            input,
            cached_input: stated.cached_input.unwrap_or(input),
            cache_write_5m: stated.cache_write_5m.unwrap_or(written_5m),
            cache_write_1h: stated.cache_write_1h.or(written_1h),
            output: stated.output,
            reasoning: stated.output.and(stated.reasoning.or(stated.output)),
            apart: stated.apart,
        })
    }

    /// The rates by the names that a row gives them; `None`: not known.
    pub fn named(&self) -> impl Iterator<Item = (&'static str, Option<PicoUsdPerToken>)> + use<> {
        let inputs =
            [("input", self.input), ("cached_input", self.cached_input), ("cache_write_5m", self.cache_write_5m)];
        let others = [("cache_write_1h", self.cache_write_1h), ("output", self.output), ("reasoning", self.reasoning)];
        inputs.into_iter().map(|(name, rate)| (name, Some(rate))).chain(others).chain(self.apart.named())
    }

    /// The dearest rate that an input token can meet, sound included where some may be among them.
    pub(super) fn dearest_input_of(&self, hears: bool) -> PicoUsdPerToken {
        let apart = &self.apart;
        let heard = apart.audio_input.max(apart.cached_audio_input).filter(|_| hears);
        self.dearest_input().max(heard.max(apart.image_input).unwrap_or_default())
    }

    /// The dearest rate that an output token can meet, whatever it is of, if known.
    pub(super) fn dearest_output_of_any(&self) -> Option<PicoUsdPerToken> {
        self.dearest_output()
            .map(|rate| rate.max(self.apart.audio_output.max(self.apart.image_output).unwrap_or_default()))
    }

    /// The dearest rate that an input token of text can meet.
    pub fn dearest_input(&self) -> PicoUsdPerToken {
        let known = self.input.max(self.cached_input).max(self.cache_write_5m);
        self.cache_write_1h.map_or(known, |written| known.max(written))
    }

    /// The dearest rate that an output token of text can meet, if known.
    pub fn dearest_output(&self) -> Option<PicoUsdPerToken> {
        self.output.max(self.reasoning)
    }

    /// Whether nothing is charged for anything.
    pub(super) fn is_zero(&self) -> bool {
        self.named().all(|(_, rate)| rate.is_none_or(|rate| rate == PicoUsdPerToken(0)))
    }
}

/// Who made a model, where that says more of its price than a row does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Maker {
    /// What is written to the cache costs so many times the input, at every host:
    /// <https://docs.claude.com/en/docs/build-with-claude/prompt-caching#pricing>
    Anthropic,
    /// Everyone else.
    Other,
}

impl Maker {
    /// That of a model; hosts put a region, a path or a version around its name.
    pub(super) fn of(vendor: &str, model: &str) -> Self {
        if vendor == "anthropic" || model.contains("claude") { Self::Anthropic } else { Self::Other }
    }
}

/// Whether the provider of a model caches only what a request marks with `cache_control`:
/// <https://docs.claude.com/en/docs/build-with-claude/prompt-caching>
pub fn caches_what_is_marked(vendor: &str, model: &str) -> bool {
    Maker::of(vendor, model) == Maker::Anthropic
}

/// One block of rates as written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct StatedRates {
    pub(super) input: Option<PicoUsdPerToken>,
    pub(super) cached_input: Option<PicoUsdPerToken>,
    pub(super) cache_write_5m: Option<PicoUsdPerToken>,
    pub(super) cache_write_1h: Option<PicoUsdPerToken>,
    pub(super) output: Option<PicoUsdPerToken>,
    pub(super) reasoning: Option<PicoUsdPerToken>,
    pub(super) apart: ApartRates,
}

/// The most tokens that a model reads and writes in one request, where known.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct TokenLimits {
    /// Input, cached tokens included.
    pub input: Option<u64>,
    /// Output, reasoning included.
    pub output: Option<u64>,
}

/// Checksum of everything that is charged (CRC-32), for the version of rows that people edit in place.
pub(super) fn checksum(terms: &Terms, hours: &[(Hours, Terms)], stated: Fees) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hash_terms(&mut hasher, terms);
    for (hours, terms) in hours {
        hasher.update(hours.to_string().as_bytes());
        hash_terms(&mut hasher, terms);
    }
    // Rows that state none keep the versions that they had before there were any.
    for (name, fee) in stated.named() {
        hasher.update(name.as_bytes());
        hasher.update(&fee.0.to_le_bytes());
    }
    hasher.finalize()
}

fn hash_terms(hasher: &mut crc32fast::Hasher, terms: &Terms) {
    if let Terms::Metered(metered) = terms {
        let tiers = [Some(&metered.standard), metered.batch.as_ref(), metered.flex.as_ref(), metered.priority.as_ref()];
        for (ordinal, schedule) in (0u64..).zip(tiers) {
            let Some(schedule) = schedule else { continue };
            hasher.update(&ordinal.to_le_bytes());
            hash_rates(hasher, 0, Some(&schedule.base));
            schedule.steps.iter().for_each(|step| hash_rates(hasher, step.above, step.rates.as_ref()));
        }
    }
}

fn hash_rates(hasher: &mut crc32fast::Hasher, above: u64, rates: Option<&Rates>) {
    hasher.update(&above.to_le_bytes());
    let Some(rates) = rates else { return hasher.update(&[0]) };
    let inputs = [rates.input, rates.cached_input, rates.cache_write_5m].map(Some);
    for rate in inputs.into_iter().chain([rates.cache_write_1h, rates.output, rates.reasoning]) {
        // One more than the rate, so that an unknown rate differs from zero.
        hasher.update(&rate.map_or(0, |rate| rate.0.saturating_add(1)).to_le_bytes());
    }
    // Rows without such rates keep the versions that they had before there were any.
    for (name, rate) in rates.apart.named().into_iter().filter_map(|(name, rate)| Some((name, rate?))) {
        hasher.update(name.as_bytes());
        hasher.update(&rate.0.to_le_bytes());
    }
}
