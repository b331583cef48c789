//! The bytes of the journal, kept: a newer version must read what an older one left, or say that it cannot.
//!
//! `FARTHING_GOLDEN=write cargo test --lib golden` writes the kept bytes anew.

use std::fmt::Write as _;

use super::*;
use crate::ids::AccessId;
use crate::ledger::frame::{FRAME_BYTES_MAX, FRAME_HEAD_BYTES, encode};
use crate::ledger::record::{
    Amended, Broke, CacheLoss, Cause, Comparison, Feedback, Kept, KnownTokens, Pricing, Reconciled, Sketch,
    SketchedTexts, Transfer,
};
use crate::ledger::segment::VERSION;
use crate::reply::usage::{Apart, Calls, WhyUnknown};

const KEPT: &str = include_str!("golden.txt");

/// An id whose every byte is another one.
fn id() -> RequestId {
    RequestId(uuid::Uuid::from_u128(0x0102_0304_0506_7708_890a_0b0c_0d0e_0f10))
}

fn all_usage() -> Usage {
    Usage {
        input_tokens: 100,
        cached_input_tokens: 21,
        cache_write_tokens: 22,
        cache_write_1h_tokens: 23,
        output_tokens: 50,
        reasoning_tokens: 24,
        ..Usage::default()
    }
}

fn all_closing<'a>() -> Closing<'a> {
    let cost = CostInterval { low: NanoUsd(5), exact: Some(NanoUsd(6)), high: Some(NanoUsd(7)) };
    Closing { status: "ok", http_status: 200, cost, duration_ms: 812, first_byte_ms: Some(130), edits: "model,usage" }
}

/// A record of each kind, its figures all different, with everything that it can say and with as little as it can.
fn records<'a>() -> Vec<(&'static str, Record<'a>)> {
    let full = RequestFacts { user: Some("ann"), ..facts(id()) };
    let watched = DecisionFacts {
        would_tier: Some("reasoning"),
        would_model: Some("openai/gpt-5.6-terra"),
        state: Some("{}"),
        ..decision()
    };
    let undecided = DecisionFacts {
        reason: "refused",
        confidence_ppm: None,
        needs_strong_ppm: None,
        session: None,
        would_tier: None,
        would_model: None,
        state: None,
    };
    let bare = RequestFacts {
        project: None,
        pipeline: None,
        user: None,
        run: None,
        prompt: None,
        task: None,
        tier: None,
        policy: None,
        ..full
    };
    let (Record::Intent(intent), Record::Outcome(outcome)) =
        (intent(attempt(id(), 1)), outcome(attempt(id(), 1), 3, Some(all_closing())))
    else {
        unreachable!("that is what they are")
    };
    let outcome = Outcome {
        usage: Some(all_usage()),
        cost: CostInterval { low: NanoUsd(2), exact: Some(NanoUsd(3)), high: Some(NanoUsd(4)) },
        price_version: Some("openai/gpt-5.6-luna@2026-11-01"),
        tokenizer: Some("bytes/4"),
        overshoot: Some(NanoUsd(8)),
        ..outcome
    };
    let ended = |fate, source| Record::Outcome(Outcome { fate, source, ..outcome });
    let nothing_known = Outcome {
        fate: Fate::Interrupted,
        provider_status: None,
        usage: None,
        source: Source::Unknown,
        cost: CostInterval::default(),
        price_version: None,
        service_tier: None,
        discount_ppm: 0,
        tokenizer: None,
        provider_request_id: None,
        overshoot: None,
        closes: None,
        ..outcome
    };
    let word = Reconciled {
        attempt: attempt(id(), 2),
        at_ms: 1_790_000_000_950,
        tokens: KnownTokens::from(all_usage()),
        cost: NanoUsd(9),
        export: "usage.jsonl",
    };
    let closing = Closing { first_byte_ms: None, ..all_closing() };
    let compared = Comparison {
        model: Some("openai/gpt-5.6-sol"),
        baseline: Some(NanoUsd(11)),
        fallback: Some(NanoUsd(-12)),
        retry: Some(NanoUsd(-13)),
        compress: NanoUsd(14),
        cache: NanoUsd(15),
        provider_cache: Some(NanoUsd(16)),
        arm: Some("holdout"),
        lost: Some(CacheLoss { culprit: "model", cost: NanoUsd(17) }),
    };
    let texts =
        SketchedTexts { masked: Some(27), masked_system: Some(28), masks: 29, read_bytes: 30, repeated_bytes: 31 };
    let sketch = Sketch {
        head_bytes: 21,
        opening_bytes: 22,
        messages_bytes: 23,
        common_tokens: Some(24),
        prefix: 25,
        exact: 26,
        texts: Some(texts),
    };
    let said = Feedback {
        team: "data-platform",
        key: "ops",
        request: Some(id()),
        run: "run-7",
        at_ms: 1_790_000_000_960,
        outcome: "success",
        score_ppm: Some(18),
        resolved_incidents: Some(19),
        saved_milli_hours: Some(20),
        note: Some("it was right"),
    };
    let amended = Amended {
        request: id(),
        texts: sketch.texts,
        broke: Some(Broke { culprit: "tool_order", at_tokens: Some(21) }),
    };
    vec![
        ("the first intent", Record::Intent(Intent { request: Some(full), ..intent })),
        (
            "a later intent, unbounded",
            Record::Intent(Intent {
                request: None,
                attempt: attempt(id(), 2),
                input_tokens_bound: None,
                output_tokens_bound: None,
                bound: None,
                price_version: None,
                ..intent
            }),
        ),
        ("completed, reported", ended(Fate::Completed, Source::Reported)),
        ("failed, reported", ended(Fate::Failed, Source::Reported)),
        ("completed, estimated", ended(Fate::Completed, Source::Estimated)),
        ("cut, unknown", ended(Fate::Cut, Source::Unknown)),
        ("interrupted, unknown", Record::Outcome(nothing_known)),
        ("closed", Record::Closed(Box::new(Closed { request: full, closing: all_closing() }))),
        ("closed, bare", Record::Closed(Box::new(Closed { request: bare, closing }))),
        ("reconciled", Record::Reconciled(word)),
        ("priced", Record::Priced(outcome, Pricing { tier: Some("flex"), unknown: None })),
        ("priced, unknown", Record::Priced(nothing_known, Pricing { tier: None, unknown: Some(WhyUnknown::Price) })),
        ("reconciled, without tokens", Record::Reconciled(Reconciled { tokens: KnownTokens::default(), ..word })),
        ("planned", Record::Planned(Intent { request: Some(full), ..intent }, watched)),
        ("compared", Record::Compared(outcome, Pricing { tier: Some("flex"), unknown: None }, Box::new(compared))),
        ("compared, unknown", Record::Compared(nothing_known, Pricing::default(), Box::default())),
        ("sketched", Record::Sketched(outcome, Pricing::default(), Some(Box::new(compared)), Box::new(sketch))),
        ("sketched, bare", Record::Sketched(nothing_known, Pricing::default(), None, Box::default())),
        ("feedback", Record::Feedback(Box::new(said))),
        ("refused", Record::Refused(Box::new(Closed { request: bare, closing }), undecided)),
        (
            "caused",
            Record::Caused(
                Intent { request: Some(full), ..intent },
                watched,
                Cause { purpose: "shadow", request: Some(id()) },
            ),
        ),
        (
            "served",
            Record::Served(
                Box::new(Closed { request: full, closing: all_closing() }),
                watched,
                Box::new(compared),
                Some(Transfer { amount: NanoUsd(32), to: "platform" }),
            ),
        ),
        ("served, free", Record::Served(Box::new(Closed { request: bare, closing }), undecided, Box::default(), None)),
        ("amended", Record::Amended(Box::new(amended))),
        (
            "apart",
            Record::Apart(
                attempt(id(), 1),
                Apart {
                    audio_input_tokens: 41,
                    cached_audio_input_tokens: Some(42),
                    audio_output_tokens: 43,
                    image_input_tokens: 44,
                    image_output_tokens: 45,
                    calls: Calls::of([46, 47, 48, 49]),
                },
            ),
        ),
        (
            "kept",
            Record::Kept(Box::new(Kept {
                id: "resp_1",
                kind: "response",
                provider: "openai",
                team: "data",
                at_ms: 51,
                expires_ms: Some(52),
                is_gone: false,
            })),
        ),
        (
            "kept by",
            Record::KeptBy(
                Box::new(Kept {
                    id: "file-1",
                    kind: "file",
                    provider: "openai",
                    team: "data",
                    at_ms: 53,
                    expires_ms: None,
                    is_gone: false,
                }),
                AccessId(0x5455_5657_5859_5a5b),
            ),
        ),
    ]
}

fn frame(record: &Record<'_>) -> Vec<u8> {
    encode(record, &mut vec![0; FRAME_BYTES_MAX]).expect("the record is small").to_vec()
}

#[test]
fn the_bytes_of_a_journal_change_only_with_its_version() {
    let mut written = format!("version {VERSION}\n");
    for (name, record) in records() {
        let hex = frame(&record).iter().fold(String::new(), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}");
            hex
        });
        let _ = write!(written, "\n{name}\n{hex}\n");
    }
    if std::env::var("FARTHING_GOLDEN").is_ok_and(|word| word == "write") {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/ledger/tests/golden.txt");
        std::fs::write(file, &written).expect("the kept bytes are written");
        return;
    }
    for (kept, written) in KEPT.split("\n\n").zip(written.split("\n\n")) {
        assert_eq!(
            kept.trim_end(),
            written.trim_end(),
            "a record's shape has changed: journals of version {VERSION} that are still to be replayed would be \
             misread. Raise `VERSION` in `segment.rs`, then write `golden.txt` anew (how: at the top of `golden.rs`)"
        );
    }
    assert_eq!(KEPT.len(), written.len(), "records were added or taken away: write `golden.txt` anew");
}

#[test]
fn a_record_reads_back_as_it_was_written() {
    for (name, record) in records() {
        let frame = frame(&record);
        assert_eq!(postcard::from_bytes::<Record<'_>>(&frame[FRAME_HEAD_BYTES..]).as_ref(), Ok(&record), "{name}");
    }
}
