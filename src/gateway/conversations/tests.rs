use std::time::Duration;

use super::*;
use crate::call::{Attribution, Surface};
use crate::gateway::live::Live;
use crate::ids::{ModelId, ProviderId, RequestId, TeamId};
use crate::policy::{Set, Who};
use crate::wire::openai_chat;

fn call(team: &str, texts: &[&str]) -> CallFacts {
    let messages: Vec<_> = texts.iter().map(|text| serde_json::json!({"role": "user", "content": text})).collect();
    let body = serde_json::json!({"model": "auto", "messages": messages}).to_string();
    CallFacts {
        id: RequestId::new(),
        arrived: Instant::now(),
        read: Instant::now(),
        at_ms: 0,
        surface: Surface::ChatCompletions,
        body_bytes: body.len(),
        view: openai_chat::read(body.as_bytes()).expect("a chat body"),
        who: Attribution::of_team(TeamId::from(team)),
        pinned_tier: None,
        session: None,
        deadline: None,
        on_short: None,
    }
}

fn model() -> ModelRef {
    ModelRef { provider: ProviderId::from("p"), model: ModelId::from("m") }
}

struct Test {
    conversations: Conversations,
    policy: Arc<InForce>,
    start: Instant,
}

impl Test {
    fn new() -> Self {
        let policy = Live::new(Set::builtin()).select(Who::default());
        Self { conversations: Conversations::default(), policy, start: Instant::now() }
    }

    fn at(&self, seconds: u64) -> Instant {
        self.start + Duration::from_secs(seconds)
    }

    /// The call is answered by the frontier; gives its conversation, and the tokens that were warm before.
    fn answered(&self, call: &CallFacts, seconds: u64) -> (u64, u64) {
        let place = self.conversations.locate(call, self.at(seconds));
        let (id, held) = (place.id.expect("a conversation"), self.conversations.held(&place, self.at(seconds)));
        let tokens = held.of(Tier::Frontier).map_or(0, |warm| warm.tokens);
        let tier = Some(Tier::Frontier);
        self.conversations.answered(place, &self.policy, tier, (&model(), 5_000), self.at(seconds));
        (id, tokens)
    }

    fn moment(&self, seconds: u64) -> Moment {
        self.conversations.moment(self.at(seconds))
    }

    fn is_under_way(&self, call: &CallFacts, seconds: u64) -> bool {
        self.conversations.locate(call, self.at(seconds)).policy().is_some()
    }
}

#[test]
fn a_prefix_is_warm_for_minutes_and_a_conversation_known_for_half_an_hour() {
    let test = Test::new();
    let (first, cold) = test.answered(&call("t", &["a"]), 0);
    assert_eq!(cold, 0);
    assert_eq!(test.answered(&call("t", &["a", "b"]), 60), (first, 5_000));
    assert_eq!(test.answered(&call("t", &["a", "b", "c"]), 60 + 301), (first, 0), "the prefix has grown cold");
    let next = call("t", &["a", "b", "c", "d"]);
    assert!(test.is_under_way(&next, 361 + 1_799));
    assert!(!test.is_under_way(&next, 361 + 1_800));
}

#[test]
fn a_named_session_whose_beginning_changed_has_no_warm_prefix() {
    let test = Test::new();
    let named = |texts: &[&str]| CallFacts { session: Some("s".to_owned()), ..call("t", texts) };
    let (first, _) = test.answered(&named(&["a"]), 0);
    assert_eq!(test.answered(&named(&["other"]), 1), (first, 0));
    assert_eq!(test.answered(&named(&["other", "b"]), 2), (first, 5_000));
}

#[test]
fn a_conversation_that_never_pauses_keeps_its_policy_version_for_hours_and_no_longer() {
    let test = Test::new();
    let call = CallFacts { session: Some("a run that never ends".to_owned()), ..call("t", &["a"]) };
    let hours = |hours: u64| hours * 3_600;
    let keeps = |seconds| test.conversations.locate(&call, test.at(seconds)).policy().is_some();
    for step in 0..9 {
        assert_eq!(keeps(step * 1_700), step > 0, "{step}");
        test.answered(&call, step * 1_700);
    }
    let end = hours(4);
    test.answered(&call, end - 1);
    assert!(keeps(end - 1) && !keeps(end));
    // From then on with whatever version it takes.
    test.answered(&call, end);
    assert!(keeps(end + 1));
}

#[test]
fn nobody_is_in_somebody_elses_conversation() {
    let test = Test::new();
    test.answered(&call("t", &["a"]), 0);
    assert!(!test.is_under_way(&call("u", &["a", "b"]), 1));
    let named = |team| CallFacts { session: Some("s".to_owned()), ..call(team, &["a"]) };
    test.answered(&named("t"), 0);
    assert!(test.is_under_way(&named("t"), 1) && !test.is_under_way(&named("u"), 1));
    // Even where the key is the same.
    let place = test.conversations.locate(&named("t"), test.at(1));
    assert!(test.conversations.get(place.key, place.tenant, test.moment(1)).is_some());
    assert!(test.conversations.get(place.key, place.tenant ^ 1, test.moment(1)).is_none());
}

#[test]
fn conversations_without_end_take_bounded_room_and_the_newest_stay() {
    let test = Test::new();
    for n in 0..u64::try_from(CONVERSATIONS_MAX).expect("it fits") * 3 {
        let place = Place {
            id: Some(n),
            key: n << 44 ^ n,
            tenant: 1,
            anchor: 0,
            entry: None,
            ruled: None,
            reached: None,
            is_long: false,
        };
        test.conversations.answered(place, &test.policy, None, (&model(), 1), test.at(0));
    }
    let shards = test.conversations.shards.iter().map(|shard| shard.lock().expect("it is free"));
    let held: usize = shards.map(|shard| shard.young.len() + shard.old.len()).sum();
    assert!(held <= CONVERSATIONS_MAX, "{held}");
    let last = u64::try_from(CONVERSATIONS_MAX).expect("it fits") * 3 - 1;
    assert!(test.conversations.get(last << 44 ^ last, 1, test.moment(0)).is_some());
}
