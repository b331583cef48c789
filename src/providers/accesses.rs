//! The ways into one provider row: what each needs for a call, which of them rest, and which one a call takes.
//!
//! A row with one way has nothing to choose and nothing to rest. Of several, one whose key is dead rests altogether, one
//! whose key is limited rests for the model that it was asked for, and one that is down rests as a circuit does.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderName, HeaderValue};
use xxhash_rust::xxh3::xxh3_64;

use super::auth::header;
use super::balance::{Candidate, Peak, choose};
use super::connect::{HttpClient, Lanes, Place};
use super::failure::Failure;
use super::paths::Paths;
use super::places::Places;
use super::signer::Signer;
use crate::config::{Circuit, ProviderConfig};
use crate::ids::{AccessId, ModelId};
use crate::limits::{DEAD_KEY_REST, DEAD_KEY_REST_MAX, LIMITED_KEY_REST, LIMITED_KEY_REST_MAX, RESTING_MODELS_MAX};

/// So many refusals of one key for one model in a row, none of them for want of a valid key, and it rests for that model:
/// one alone may be about what was asked.
const FORBIDDEN_IN_A_ROW: u32 = 3;

/// The ways into a row.
pub struct Accesses {
    all: Box<[Access]>,
    /// One of them rests, or has failed: else nobody needs to look.
    any_failed: AtomicBool,
}

/// One of them.
pub struct Access {
    /// Which one it is, in every order of the configuration.
    pub id: AccessId,
    /// Where it is called.
    pub paths: Paths,
    /// What shows who calls, where that is made for each call.
    pub signer: Option<Signer>,
    /// What shows it where each way has its own key.
    header: Option<(HeaderName, HeaderValue)>,
    /// There are others: what goes on here is counted.
    is_one_of_several: bool,
    lanes: Arc<Lanes>,
    weight: u32,
    hash: u64,
    in_flight: Arc<AtomicUsize>,
    peak: Mutex<Peak>,
    rest: Mutex<Rest>,
}

#[derive(Default)]
struct Rest {
    /// For all models until then.
    until: Option<Instant>,
    /// How often in a row its key was dead, and how often the way was down.
    dead: u32,
    down: u32,
    models: HashMap<ModelId, OfModel>,
}

#[derive(Clone, Copy, Default)]
struct OfModel {
    until: Option<Instant>,
    forbidden: u32,
}

impl Accesses {
    /// Those of a row; nothing is connected yet.
    pub fn of(config: &ProviderConfig, places: &Places) -> Self {
        let several = config.accesses.len() > 1;
        let mut lanes: Vec<(&http::Uri, Arc<Lanes>)> = Vec::new();
        let all = config.accesses.iter().enumerate().map(|(number, access)| {
            let url = &access.base_url;
            let same = lanes.iter().find(|(known, _)| *known == url).map(|(_, lanes)| Arc::clone(lanes));
            let lanes = same.unwrap_or_else(|| {
                let tls = url.scheme_str() == Some("https");
                let new = Arc::new(Lanes::new(config.dispatch.connect_timeout, tls, places.clone()));
                lanes.push((url, Arc::clone(&new)));
                new
            });
            let reference = access.from.as_deref().unwrap_or_default();
            Access {
                id: AccessId(xxh3_64(format!("{url} {reference}").as_bytes())),
                paths: Paths::under(url),
                signer: Signer::of(&access.credential),
                header: header(&access.credential).filter(|_| several),
                is_one_of_several: several,
                lanes,
                weight: access.weight,
                // The reference of its key, and not its place: a conversation stays where it is when others come.
                hash: xxh3_64(
                    format!("{url} {}", access.from.as_ref().map_or(number.to_string(), String::clone)).as_bytes(),
                ),
                in_flight: Arc::default(),
                peak: Mutex::default(),
                rest: Mutex::default(),
            }
        });
        Self { all: all.collect(), any_failed: AtomicBool::new(false) }
    }

    /// The one of that number, or else the first.
    pub fn get(&self, number: usize) -> &Access {
        self.all.get(number).unwrap_or(&self.all[0])
    }

    /// The number of the one with that id, if there still is one.
    pub fn find(&self, id: AccessId) -> Option<usize> {
        self.all.iter().position(|access| access.id == id)
    }

    /// Whether there is more than one.
    pub fn are_several(&self) -> bool {
        self.all.len() > 1
    }

    /// The way that a call of a conversation takes: one that was not `tried` (a bit each) and does not rest, else one that
    /// does not rest, else the one that rests shortest.
    pub fn pick(&self, conversation: u64, model: &ModelId, tried: u64, now: Instant) -> usize {
        if !self.are_several() {
            return 0;
        }
        let resting = self.resting(model, now);
        let among =
            |left_out: u64| choose(self.candidates().filter(|one| left_out & (1 << one.number) == 0), conversation);
        let longest = now + DEAD_KEY_REST_MAX;
        among(resting | tried).or_else(|| among(resting)).unwrap_or_else(|| {
            let ends = |number: &usize| self.all[*number].rest_of(model, now).unwrap_or(longest);
            (0..self.all.len()).min_by_key(ends).unwrap_or_default()
        })
    }

    /// Whether a call of that model has a way left that was not `tried`.
    pub fn has_another(&self, model: &ModelId, tried: u64, now: Instant) -> bool {
        let all = u64::MAX >> (64 - self.all.len().min(64));
        self.are_several() && all & !(self.resting(model, now) | tried) != 0
    }

    /// One of them answered: whatever it had done before is forgotten.
    pub fn succeeded(&self, number: usize, model: &ModelId) {
        if self.any_failed.load(Ordering::Relaxed) {
            let mut rest = self.get(number).lock();
            (rest.until, rest.dead, rest.down) = (None, 0, 0);
            rest.models.remove(model);
        }
    }

    /// One of them failed at `now`: for how long it rests, if that says something about its key, or about one way of several.
    pub fn failed(
        &self,
        number: usize,
        model: &ModelId,
        failure: &Failure,
        circuit: Option<Circuit>,
        now: Instant,
    ) -> Option<Duration> {
        self.any_failed.store(true, Ordering::Relaxed);
        let mut rest = self.get(number).lock();
        let rest = &mut *rest;
        let (until, time) = match failure {
            Failure::Refused(refusal) if failure.is_of_dead_key() => {
                let asked = refusal.retry_after.unwrap_or_default().min(DEAD_KEY_REST_MAX);
                let time = DEAD_KEY_REST.saturating_mul(1 << rest.dead.min(10)).min(DEAD_KEY_REST_MAX).max(asked);
                rest.dead = rest.dead.saturating_add(1);
                (&mut rest.until, time)
            }
            Failure::Refused(refusal) if refusal.status == 429 => {
                let asked = refusal.retry_after.unwrap_or_default();
                (&mut rest.model(model).until, asked.clamp(LIMITED_KEY_REST, LIMITED_KEY_REST_MAX))
            }
            Failure::Refused(refusal) if refusal.credential => {
                let of_model = rest.model(model);
                of_model.forbidden += 1;
                if of_model.forbidden < FORBIDDEN_IN_A_ROW {
                    return None;
                }
                of_model.forbidden = 0;
                (&mut of_model.until, DEAD_KEY_REST)
            }
            failure if failure.is_ill_health() && self.are_several() => {
                rest.down = rest.down.saturating_add(1);
                let circuit = circuit.filter(|circuit| rest.down >= circuit.failures)?;
                (&mut rest.until, circuit.cool_down)
            }
            _ => return None,
        };
        *until = (*until).max(Some(now + time));
        Some(time)
    }

    /// Until when all of them rest for a model, if they do.
    pub fn all_rest_until(&self, model: &ModelId, now: Instant) -> Option<Instant> {
        let ends: Option<Vec<Instant>> = self.all.iter().map(|access| access.rest_of(model, now)).collect();
        ends?.into_iter().min()
    }

    /// Whether a text holds a token that one of them was shown by.
    pub fn tokens_are_in(&self, text: &[u8]) -> bool {
        self.all.iter().filter_map(|access| access.signer.as_ref()).any(|signer| signer.is_in(text))
    }

    /// Those that rest, a bit each.
    fn resting(&self, model: &ModelId, now: Instant) -> u64 {
        if !self.any_failed.load(Ordering::Relaxed) {
            return 0;
        }
        let rests = |(number, access): (usize, &Access)| u64::from(access.rest_of(model, now).is_some()) << number;
        self.all.iter().enumerate().take(64).map(rests).sum()
    }

    fn candidates(&self) -> impl Iterator<Item = Candidate> {
        self.all.iter().enumerate().take(64).map(|(number, access)| Candidate {
            number,
            hash: access.hash,
            weight: access.weight,
            in_flight: access.in_flight.load(Ordering::Relaxed),
            first_byte: lock(&access.peak).seconds(),
        })
    }
}

impl Access {
    /// The client for a call, and the call's place.
    pub fn connect(&self) -> (&HttpClient, Place) {
        let (client, place) = self.lanes.pick();
        match self.is_one_of_several {
            true => (client, place.and_in(&self.in_flight)),
            false => (client, place),
        }
    }

    /// Shows its key, where each way has its own.
    pub fn show_key(&self, headers: &mut HeaderMap) {
        if let Some((name, value)) = &self.header {
            headers.insert(name.clone(), value.clone());
        }
    }

    /// When a call begins whose first byte is waited for: nobody asks where there is nothing to choose.
    pub fn begins(&self) -> Option<Instant> {
        self.is_one_of_several.then(Instant::now)
    }

    /// A stream's head is here of a call that began then. How long a whole answer takes says more of its length.
    pub fn answered_since(&self, began: Option<Instant>) {
        if let Some(began) = began {
            let now = Instant::now();
            lock(&self.peak).took(now.saturating_duration_since(began), now);
        }
    }

    /// Until when it rests for a model.
    fn rest_of(&self, model: &ModelId, now: Instant) -> Option<Instant> {
        let rest = self.lock();
        let of_model = rest.models.get(model).and_then(|of_model| of_model.until);
        rest.until.max(of_model).filter(|until| now < *until)
    }

    fn lock(&self) -> MutexGuard<'_, Rest> {
        lock(&self.rest)
    }
}

impl Rest {
    fn model(&mut self, model: &ModelId) -> &mut OfModel {
        if self.models.len() >= RESTING_MODELS_MAX && !self.models.contains_key(model) {
            self.models.clear();
        }
        self.models.entry(model.clone()).or_default()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::super::failure::Refusal;
    use super::*;
    use crate::config;

    const CIRCUIT: Option<Circuit> = Some(Circuit { failures: 2, cool_down: Duration::from_secs(30) });

    /// Ways by `keys`, whose number is that of the weights.
    fn accesses(weights: &[u32]) -> Accesses {
        let keys =
            weights.iter().enumerate().map(|(number, weight)| format!("{{ key: env:KEY_{number}, weight: {weight} }}"));
        let text = format!(
            "providers: {{ x: {{ protocol: openai, base_url: http://127.0.0.1:9/v1, models: ['*'], keys: [{}] }} }}",
            keys.collect::<Vec<_>>().join(", ")
        );
        let env = |name: &str| Some(format!("sk-{name}"));
        let config = config::parse("farthing.yaml", &text, std::path::Path::new(""), &env).expect("a good file");
        Accesses::of(&config.providers[0], &Places::new(4))
    }

    fn refused(status: StatusCode, retry_after: Option<u64>) -> Failure {
        let status = status.as_u16();
        let refusal = super::super::refusal::read(status, HeaderMap::new(), None, crate::dialect::Dialect::Chat);
        Failure::Refused(Refusal { retry_after: retry_after.map(Duration::from_secs), ..refusal })
    }

    /// The ways that a hundred conversations take.
    fn taken(accesses: &Accesses, model: &str, now: Instant) -> Vec<usize> {
        let mut taken: Vec<_> = (0..100).map(|it| accesses.pick(it, &ModelId::from(model), 0, now)).collect();
        taken.sort_unstable();
        taken.dedup();
        taken
    }

    #[test]
    fn a_dead_key_rests_for_all_models_and_twice_as_long_each_further_time() {
        let (ways, start) = (accesses(&[1, 1]), Instant::now());
        let at = |minutes: u64| start + Duration::from_secs(60 * minutes);
        let (luna, dead) = (ModelId::from("luna"), refused(StatusCode::UNAUTHORIZED, None));
        assert_eq!(taken(&ways, "luna", at(0)), [0, 1]);
        assert_eq!(ways.failed(0, &luna, &dead, CIRCUIT, at(0)), Some(DEAD_KEY_REST));
        assert_eq!((taken(&ways, "luna", at(4)), taken(&ways, "sol", at(4))), (vec![1], vec![1]));
        assert_eq!(taken(&ways, "luna", at(5)), [0, 1]);
        assert_eq!(ways.failed(0, &luna, &dead, CIRCUIT, at(5)), Some(DEAD_KEY_REST * 2));
        assert_eq!((taken(&ways, "luna", at(14)), taken(&ways, "luna", at(15))), (vec![1], vec![0, 1]));
        for _ in 0..20 {
            ways.failed(0, &luna, &dead, CIRCUIT, at(15));
        }
        assert_eq!(ways.all_rest_until(&luna, at(15)), None, "the other is well");
        ways.failed(1, &luna, &dead, CIRCUIT, at(16));
        assert_eq!(ways.all_rest_until(&luna, at(16)), Some(at(21)));
        assert_eq!(taken(&ways, "luna", at(16)), [1], "the one whose rest ends first");
        ways.succeeded(0, &luna);
        assert_eq!(taken(&ways, "luna", at(16)), [0]);
    }

    #[test]
    fn a_limited_key_rests_for_that_model_as_long_as_it_is_told() {
        let (ways, start) = (accesses(&[1, 1]), Instant::now());
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        let luna = ModelId::from("luna");
        let limited = |retry_after| refused(StatusCode::TOO_MANY_REQUESTS, retry_after);
        assert_eq!(ways.failed(1, &luna, &limited(Some(7)), CIRCUIT, at(0)), Some(Duration::from_secs(7)));
        assert_eq!((taken(&ways, "luna", at(6)), taken(&ways, "sol", at(6))), (vec![0], vec![0, 1]));
        assert_eq!(taken(&ways, "luna", at(7)), [0, 1]);
        assert_eq!(ways.failed(1, &luna, &limited(Some(86_400)), CIRCUIT, at(8)), Some(LIMITED_KEY_REST_MAX));
        assert_eq!(ways.failed(0, &luna, &limited(None), CIRCUIT, at(8)), Some(LIMITED_KEY_REST));
        assert!(!ways.has_another(&luna, 0, at(8)) && ways.has_another(&luna, 0, at(9)));
        assert!(!ways.has_another(&luna, 1, at(9)));
    }

    #[test]
    fn one_refusal_of_what_was_asked_rests_no_key_and_three_in_a_row_do_for_that_model() {
        let (ways, now) = (accesses(&[1, 1]), Instant::now());
        let (luna, forbidden) = (ModelId::from("luna"), refused(StatusCode::FORBIDDEN, None));
        let times = |times: usize| (0..times).map(|_| ways.failed(0, &luna, &forbidden, CIRCUIT, now)).last().flatten();
        assert_eq!(times(2), None);
        ways.succeeded(0, &luna);
        assert_eq!(times(2), None);
        assert_eq!(times(1), Some(DEAD_KEY_REST));
        assert_eq!((taken(&ways, "luna", now), taken(&ways, "sol", now)), (vec![1], vec![0, 1]));
    }

    #[test]
    fn a_way_that_is_down_rests_as_a_circuit_does_and_the_only_one_does_not() {
        let (ways, now) = (accesses(&[1, 1]), Instant::now());
        let (luna, down) = (ModelId::from("luna"), Failure::Connect { why: "the connection was refused" });
        assert_eq!(ways.failed(0, &luna, &down, CIRCUIT, now), None);
        assert_eq!(ways.failed(0, &luna, &down, None, now), None, "there is no circuit");
        assert_eq!(ways.failed(0, &luna, &down, CIRCUIT, now), Some(Duration::from_secs(30)));
        assert_eq!(taken(&ways, "luna", now), [1]);
        let one = accesses(&[1]);
        assert!((0..9).all(|_| one.failed(0, &luna, &down, CIRCUIT, now).is_none()));
        assert_eq!(one.pick(7, &luna, 0, now), 0);
    }

    #[test]
    fn a_way_is_found_by_its_address_and_reference_in_every_order_and_not_by_its_place() {
        let ids = |ways: &Accesses| ways.all.iter().map(|way| way.id).collect::<Vec<_>>();
        let (two, three) = (accesses(&[1, 1]), accesses(&[9, 1, 1]));
        assert_eq!(ids(&two)[..], ids(&three)[..2], "weights and others do not matter");
        assert_eq!(ids(&three).into_iter().map(|id| three.find(id)).collect::<Vec<_>>(), [Some(0), Some(1), Some(2)]);
        assert_eq!(two.find(ids(&three)[2]), None, "it is gone");
        let id = ids(&two)[0];
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(id.to_string().len(), 16);
    }

    #[test]
    fn what_was_tried_is_left_for_what_was_not() {
        let (ways, now, luna) = (accesses(&[5, 1]), Instant::now(), ModelId::from("luna"));
        for conversation in 0..100 {
            let first = ways.pick(conversation, &luna, 0, now);
            assert_eq!(ways.pick(conversation, &luna, 1 << first, now), 1 - first);
            assert_eq!(ways.pick(conversation, &luna, 0b11, now), first, "all were tried");
        }
    }
}
