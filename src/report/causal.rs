//! What levers really save, measured: sessions that had them against sessions that were held out.
//!
//! The effect is the difference of the mean costs of a session. Its interval is an asymptotic confidence sequence (one an
//! arm, each at half of the error): it holds at every moment at once, so that one may look every day and stop when one
//! likes. <https://arxiv.org/abs/2103.06476>

use std::collections::BTreeMap;

/// Fewest sessions an arm whose mean and scatter are believed.
pub const SESSIONS_MIN: usize = 50;
/// What the interval may get wrong.
const ERROR: f64 = 0.05;
const DAY_MS: f64 = 86_400_000.0;
/// Sessions an arm at which the interval is tightest for its size.
const TIGHTEST_AT: f64 = 500.0;

/// One session of one policy.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Session {
    /// The policy, without its version.
    pub policy: String,
    /// The task that it began with; empty: none.
    pub task: String,
    /// When it began, in milliseconds since the Unix epoch.
    pub begun_ms: i64,
    /// Whether it had no levers.
    pub is_held_out: bool,
    /// What it cost in nano-dollars; `None`: not all of it is known.
    pub cost: Option<i64>,
    /// What was computed that it saved.
    pub saved: i64,
}

/// What a policy's sessions say. Amounts are nano-dollars a session.
#[derive(Clone, PartialEq, Debug)]
pub struct Effect {
    /// The policy.
    pub policy: String,
    /// The task that they began with, where it has sessions enough of its own; `None`: all of the policy.
    pub task: Option<String>,
    /// Tasks of the policy that have too few of their own, and are told as a part of it only.
    pub pooled: Vec<String>,
    /// When the first of them began, in milliseconds since the Unix epoch.
    pub since_ms: i64,
    /// Sessions with levers, and without.
    pub sessions: (usize, usize),
    /// Sessions that are left out, as their cost is not known.
    pub unknown: usize,
    /// Their mean costs; `None`: there are none.
    pub means: (Option<f64>, Option<f64>),
    /// What was computed that a session with levers saved.
    pub computed: Option<f64>,
    /// What was measured, with its interval; `None`: too few.
    pub measured: Option<Interval>,
}

/// A figure with the interval that it lies in, at 95 %.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Interval {
    /// At least.
    pub low: f64,
    /// The best guess.
    pub value: f64,
    /// At most.
    pub high: f64,
}

/// What it takes until there is anything to say.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Wanted {
    /// Sessions that the smaller arm has.
    pub found: usize,
    /// Sessions that it is to have.
    pub of: usize,
    /// How many days that will be at the pace so far; `None`: there is no pace.
    pub days: Option<u64>,
    /// What the sessions that are still to be held out go without, as computed; `None`: nothing was computed.
    pub forgone: Option<f64>,
}

impl Effect {
    /// The policy, with the task.
    pub fn name(&self) -> String {
        match &self.task {
            Some(task) => format!("{} {task}", self.policy),
            None => self.policy.clone(),
        }
    }

    /// What it takes until there is anything to say, at a moment. The pace is that since the first session began: days before
    /// the policy held any out say nothing.
    pub fn wanted(&self, now_ms: i64) -> Wanted {
        let days = now_ms.saturating_sub(self.since_ms).max(0) as f64 / DAY_MS;
        let (found, missing) = (self.sessions.0.min(self.sessions.1), self.missing());
        let pace = found as f64 / days.max(1.0);
        let held_out = SESSIONS_MIN.saturating_sub(self.sessions.1) as f64;
        Wanted {
            found,
            of: SESSIONS_MIN,
            days: (found > 0 || missing == 0)
                .then(|| if missing == 0 { 0 } else { (missing as f64 / pace).ceil() as u64 }),
            forgone: self.computed.map(|computed| computed.max(0.0) * held_out),
        }
    }

    /// Sessions that are wanted in the smaller arm before anything is said.
    pub fn missing(&self) -> usize {
        SESSIONS_MIN.saturating_sub(self.sessions.0.min(self.sessions.1))
    }
}

#[derive(Default)]
struct Arms {
    costs: [Vec<f64>; 2],
    saved: f64,
    unknown: usize,
    since_ms: Option<i64>,
}

impl Arms {
    fn add(&mut self, session: &Session) {
        self.since_ms = Some(self.since_ms.map_or(session.begun_ms, |since_ms| since_ms.min(session.begun_ms)));
        match session.cost {
            None => self.unknown += 1,
            Some(cost) => {
                self.costs[usize::from(session.is_held_out)].push(cost as f64);
                self.saved += if session.is_held_out { 0.0 } else { session.saved as f64 };
            }
        }
    }
}

/// What each policy's sessions say, and behind it those of each of its tasks that has enough of its own: a task that has
/// not is pooled with the policy's others.
pub fn effects(sessions: impl IntoIterator<Item = Session>) -> Vec<Effect> {
    let mut policies = BTreeMap::<String, (Arms, BTreeMap<String, Arms>)>::new();
    for session in sessions {
        let (all, tasks) = policies.entry(session.policy.clone()).or_default();
        all.add(&session);
        tasks.entry(session.task.clone()).or_default().add(&session);
    }
    let of_policy = |(policy, (all, tasks)): (String, (Arms, BTreeMap<String, Arms>))| {
        let tasks = tasks.into_iter().filter(|(task, _)| !task.is_empty());
        let tasks = tasks.map(|(task, arms)| Effect { task: Some(task), ..effect(policy.clone(), &arms) });
        let (own, few): (Vec<Effect>, Vec<Effect>) = tasks.partition(|effect| effect.measured.is_some());
        let pooled = few.into_iter().filter_map(|effect| effect.task).collect();
        std::iter::once(Effect { pooled, ..effect(policy, &all) }).chain(own)
    };
    policies.into_iter().flat_map(of_policy).collect()
}

fn effect(policy: String, arms: &Arms) -> Effect {
    let [with, without] = &arms.costs;
    let (a, b) = (Moments::of(with), Moments::of(without));
    let enough = with.len().min(without.len()) >= SESSIONS_MIN;
    let measured = a.zip(b).filter(|_| enough).map(|(a, b)| {
        let (value, width) = (b.mean - a.mean, a.width() + b.width());
        Interval { low: value - width, value, high: value + width }
    });
    Effect {
        policy,
        task: None,
        pooled: Vec::new(),
        since_ms: arms.since_ms.unwrap_or_default(),
        sessions: (with.len(), without.len()),
        unknown: arms.unknown,
        means: (a.map(|a| a.mean), b.map(|b| b.mean)),
        computed: a.map(|a| arms.saved / a.count),
        measured,
    }
}

#[derive(Clone, Copy)]
struct Moments {
    count: f64,
    mean: f64,
    variance: f64,
}

impl Moments {
    fn of(values: &[f64]) -> Option<Self> {
        if values.is_empty() {
            return None;
        }
        let count = values.len() as f64;
        let mean = values.iter().sum::<f64>() / count;
        let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (count - 1.0).max(1.0);
        Some(Self { count, mean, variance })
    }

    /// Half of the confidence sequence for the mean.
    fn width(self) -> f64 {
        let error = ERROR / 2.0;
        let scale = (-2.0 * error.ln() + (-2.0 * error.ln()).ln() + 1.0) / TIGHTEST_AT;
        let grown = self.count * scale + 1.0;
        let root = 2.0 * grown / (self.count * self.count * scale) * (grown.sqrt() / error).ln();
        (self.variance * root).sqrt()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400_000;

    fn session(is_held_out: bool, cost: i64) -> Session {
        Session {
            policy: "p".to_owned(),
            task: String::new(),
            begun_ms: 7 * DAY,
            is_held_out,
            cost: Some(cost),
            saved: 4,
        }
    }

    fn one(sessions: Vec<Session>) -> Effect {
        let mut found = effects(sessions);
        assert_eq!(found.len(), 1);
        found.remove(0)
    }

    #[test]
    fn the_effect_is_the_difference_of_means_with_an_interval_that_narrows() {
        let arms = |count: usize| {
            let costs = (0..count as i64).flat_map(|n| [session(false, 80 + n % 5), session(true, 90 + n % 5)]);
            one(costs.collect())
        };
        let (few, many) = (arms(100), arms(2_000));
        let (few, many) = (few.measured.expect("enough"), many.measured.expect("enough"));
        assert!((few.value - 10.0).abs() < 1e-9 && (many.value - 10.0).abs() < 1e-9);
        assert!(few.low < many.low && many.low > 0.0 && many.high < few.high);
        assert_eq!(arms(100).computed, Some(4.0));
    }

    #[test]
    fn too_few_sessions_say_nothing_and_how_many_are_missing() {
        let effect = one((0..60).map(|n| session(n % 6 == 0, 5)).collect());
        assert_eq!((effect.sessions, effect.measured, effect.missing()), ((50, 10), None, 40));
        let alone = one(vec![session(false, 5)]);
        assert_eq!((alone.means, alone.missing()), ((Some(5.0), None), SESSIONS_MIN));
    }

    #[test]
    fn what_is_missing_is_told_with_its_days_and_its_dollars() {
        let effect = one((0..60).map(|n| session(n % 6 == 0, 5)).collect());
        let wanted = Wanted { found: 10, of: SESSIONS_MIN, days: Some(20), forgone: Some(160.0) };
        assert_eq!(effect.wanted(12 * DAY), wanted);
        let alone = one(vec![session(false, 5)]);
        assert_eq!((alone.wanted(12 * DAY).days, alone.wanted(12 * DAY).forgone), (None, Some(200.0)));
    }

    #[test]
    fn a_task_has_an_effect_of_its_own_once_it_has_sessions_enough_and_is_pooled_until_then() {
        let of = |task: &str, count: i64| {
            let task = task.to_owned();
            (0..count).map(move |n| Session { task: task.clone(), ..session(n % 2 == 0, 5) })
        };
        let found = effects(of("logs", 100).chain(of("sql", 40)).chain(of("", 10)));
        let told: Vec<(String, usize)> =
            found.iter().map(|effect| (effect.name(), effect.sessions.0 + effect.sessions.1)).collect();
        assert_eq!(told, [("p".to_owned(), 150), ("p logs".to_owned(), 100)]);
        assert_eq!((&found[0].pooled[..], found[1].pooled.len()), (&["sql".to_owned()][..], 0));
    }

    #[test]
    fn sessions_whose_cost_is_not_known_are_left_out_and_counted() {
        let unknown = Session { cost: None, ..session(true, 0) };
        assert_eq!((one(vec![unknown.clone()]).unknown, one(vec![unknown]).sessions), (1, (0, 0)));
    }

    /// The interval is looked at after every session, and none of the looks may exclude the truth more often than said.
    #[test]
    fn the_interval_holds_at_every_look_at_once() {
        let mut random = 0x2545_f491_4f6c_dd1d_u64;
        let mut next = || {
            // xorshift64*
            random ^= random >> 12;
            random ^= random << 25;
            random ^= random >> 27;
            // Skewed, as costs are: the square of a uniform figure.
            (f64::from((random.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 40) as u32) / f64::from(1 << 24)).powi(2)
        };
        let wrong = (0..200).filter(|_| {
            let mut arms = Arms::default();
            (0..600).any(|look| {
                arms.costs[0].push(next());
                arms.costs[1].push(next());
                let found = if look % 10 == 0 { effect(String::new(), &arms).measured } else { None };
                found.is_some_and(|found| found.low > 0.0 || found.high < 0.0)
            })
        });
        assert!(wrong.count() <= 10);
    }
}
