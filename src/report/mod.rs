//! Reports on what was spent and saved: lines of figures, grouped, summed and written.
//!
//! Pure: lines that somebody read off a ledger come in, texts go out. All money is whole nano-dollars until it is written
//! ([`write`], [`focus`]); only a [`forecast`] is a guess, and says so.

pub mod beside;
pub mod causal;
pub mod figures;
pub mod focus;
pub mod forecast;
pub mod losses;
pub mod periods;
pub mod review;
pub mod stated;
pub mod would;
pub mod write;

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

pub use figures::Figures;

/// Length of the slots that figures are kept by. Every zone in use begins its hours at a whole slot.
pub const SLOT_MS: i64 = 15 * 60 * 1000;
/// Slots of a day of UTC.
pub const SLOTS_A_DAY: i64 = 96;

/// What lines are told apart by.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum By {
    /// Who pays.
    Team,
    /// Project.
    Project,
    /// Pipeline.
    Pipeline,
    /// Virtual key.
    Key,
    /// End user.
    User,
    /// Prompt.
    Prompt,
    /// Model that answered, with its provider.
    Model,
    /// Provider row.
    Provider,
    /// Tier.
    Tier,
    /// Task kind.
    Task,
    /// What saved, or cost.
    Cause,
    /// What broke a provider's cached prefix.
    CacheLoss,
    /// Conversation or run.
    Session,
    /// Tier that levers would have chosen where they only watch.
    WouldTier,
    /// Model that they would have chosen, with its provider.
    WouldModel,
    /// Day, in the zone of the configuration.
    Day,
    /// The Monday that the week begins with.
    Week,
    /// Month.
    Month,
}

impl By {
    /// All of them with their words.
    pub const ALL: [(Self, &'static str); 18] = [
        (Self::Team, "team"),
        (Self::Project, "project"),
        (Self::Pipeline, "pipeline"),
        (Self::Key, "key"),
        (Self::User, "user"),
        (Self::Prompt, "prompt"),
        (Self::Model, "model"),
        (Self::Provider, "provider"),
        (Self::Tier, "tier"),
        (Self::Task, "task"),
        (Self::Cause, "cause"),
        (Self::CacheLoss, "cache_loss"),
        (Self::Session, "session"),
        (Self::WouldTier, "would_tier"),
        (Self::WouldModel, "would_model"),
        (Self::Day, "day"),
        (Self::Week, "week"),
        (Self::Month, "month"),
    ];

    /// Reads the word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|(_, known)| *known == word).map(|(by, _)| by)
    }

    /// The word.
    pub fn as_str(self) -> &'static str {
        Self::ALL.into_iter().find(|(by, _)| *by == self).map_or("", |(_, word)| word)
    }

    /// Whether it is a stretch of time.
    pub fn is_time(self) -> bool {
        matches!(self, Self::Day | Self::Week | Self::Month)
    }

    /// Whether it is only known of requests that levers watch.
    pub fn is_of_watched(self) -> bool {
        matches!(self, Self::WouldTier | Self::WouldModel)
    }
}

/// Some requests of one slot, by everything that is no time and no cause, in the order of the report.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Line {
    /// When the slot begins, in milliseconds since the Unix epoch.
    pub at_ms: i64,
    /// One name for each of the report's dimensions that is neither time nor cause; empty: it has none.
    pub names: Vec<String>,
    /// What they cost and saved.
    pub figures: Figures,
}

/// One row of a report.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Row {
    /// One name for each dimension.
    pub names: Vec<String>,
    /// The figures; of a cause, only what it saved.
    pub figures: Figures,
    /// What the cause saved, where rows are causes.
    pub by_cause: Option<ByCause>,
    /// Rows of the ledger that it is the sum of are forgotten: what no sums are kept of is not known any more.
    pub is_forgotten: bool,
}

/// What a cause comes to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ByCause {
    /// A part of what was saved.
    Saved(i64),
    /// What the provider's own cache took off, which is none.
    TakenOff(i64),
}

impl ByCause {
    /// What was saved, and what was taken off; `None`: it is not of that kind.
    pub fn parts(self) -> [Option<i64>; 2] {
        match self {
            Self::Saved(amount) => [Some(amount), None],
            Self::TakenOff(amount) => [None, Some(amount)],
        }
    }
}

/// A report.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Report {
    /// What rows are told apart by.
    pub by: Vec<By>,
    /// The rows, by time and then dearest first.
    pub rows: Vec<Row>,
    /// The sum of all lines.
    pub total: Figures,
    /// Whether rows of any of it are forgotten.
    pub is_forgotten: bool,
}

impl Report {
    /// Groups lines by `by`; days, weeks and months are those of `zone`.
    pub fn of(by: &[By], lines: impl IntoIterator<Item = Line>, zone: &TimeZone) -> Self {
        Self::since(by, lines, zone, None)
    }

    /// The same of lines of which some came before `kept`, the day of the oldest row that is left. Those are the sums of
    /// whole months, which is what stands for their days and weeks.
    pub fn since(by: &[By], lines: impl IntoIterator<Item = Line>, zone: &TimeZone, kept: Option<Date>) -> Self {
        let mut groups = BTreeMap::<Vec<String>, (Figures, bool)>::new();
        let (mut total, mut days) = (Figures::default(), Days { zone, known: BTreeMap::new() });
        let others: Vec<By> = by.iter().copied().filter(|by| *by != By::Cause).collect();
        let has_time = by.iter().any(|by| by.is_time());
        for line in lines {
            let mut named = line.names.into_iter();
            // Lines that no time tells apart have none.
            let is_forgotten = kept.is_some_and(|kept| !has_time || days.date(line.at_ms) < kept);
            let mut time = |by: By| days.name(if is_forgotten { By::Month } else { by }, line.at_ms);
            let name = |by: &By| if by.is_time() { time(*by) } else { named.next().unwrap_or_default() };
            let names: Vec<String> = others.iter().map(name).collect();
            let group = groups.entry(names).or_default();
            group.0.add(&line.figures);
            group.1 |= is_forgotten;
            total.add(&line.figures);
        }
        let cause_at = by.iter().position(|by| *by == By::Cause);
        let row = |(names, (figures, is_forgotten))| Row { names, figures, by_cause: None, is_forgotten };
        let rows = groups.into_iter().map(row);
        let mut rows: Vec<Row> = match cause_at {
            Some(at) => rows.flat_map(|row| by_cause(&row, at)).collect(),
            None => rows.collect(),
        };
        let time_at = by.iter().position(|by| by.is_time());
        // Stable: what is equal keeps the order of its names.
        rows.sort_by(|a, b| {
            let time = time_at.map_or(std::cmp::Ordering::Equal, |at| a.names[at].cmp(&b.names[at]));
            time.then(b.figures.cost.cmp(&a.figures.cost))
        });
        Self { by: by.to_vec(), rows, total, is_forgotten: kept.is_some() }
    }
}

/// A row for each cause, what Farthing's own calls cost among them; the provider's own cache last, which is no part of what
/// was saved.
fn by_cause(row: &Row, at: usize) -> Vec<Row> {
    let causes = figures::CAUSES.into_iter().zip(row.figures.saved_by);
    let overhead = Some(("overhead", -row.figures.overhead)).filter(|(_, amount)| *amount != 0);
    let causes = causes.chain(overhead).map(|(cause, amount)| (cause, ByCause::Saved(amount)));
    let causes = causes.chain([("provider_cache", ByCause::TakenOff(row.figures.provider_cache))]);
    let named = |(cause, amount): (&str, ByCause)| {
        let mut names = row.names.clone();
        names.insert(at, cause.to_owned());
        Row { names, by_cause: Some(amount), ..row.clone() }
    };
    causes.map(named).collect()
}

/// The names of stretches of time. Slots come in their thousands, days do not.
struct Days<'z> {
    zone: &'z TimeZone,
    known: BTreeMap<i64, Date>,
}

impl Days<'_> {
    fn date(&mut self, at_ms: i64) -> Date {
        let zone = self.zone;
        *self.known.entry(at_ms).or_insert_with(|| date_of(at_ms, zone))
    }

    fn name(&mut self, by: By, at_ms: i64) -> String {
        let date = self.date(at_ms);
        match by {
            By::Month => format!("{:04}-{:02}", date.year(), date.month()),
            By::Week => {
                let past = i64::from(date.weekday().to_monday_zero_offset());
                date.saturating_sub(jiff::Span::new().days(past)).to_string()
            }
            _ => date.to_string(),
        }
    }
}

/// The day of a moment.
pub fn date_of(at_ms: i64, zone: &TimeZone) -> Date {
    Timestamp::from_millisecond(at_ms).unwrap_or_default().to_zoned(zone.clone()).date()
}

/// The moment at which a day begins, in milliseconds since the Unix epoch.
pub fn midnight(date: Date, zone: &TimeZone) -> i64 {
    date.to_zoned(zone.clone()).map_or(0, |zoned| zoned.timestamp().as_millisecond())
}

#[cfg(test)]
mod tests;
