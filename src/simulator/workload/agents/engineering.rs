//! Agents that plan and change: unclear business rules, backfills, code fixes. Long contexts, high stakes.

use serde_json::json;

use super::super::Label;
use super::super::chance::Chance;
use super::super::conversation::{Conversation, Wants};
use super::super::logs::{KNOWN, git_log, patch, source_file, test_run, traceback};
use super::super::tables::{query, run_history};
use crate::task::Tier;

const BUSINESS: Label = Label { task: "interpreting-business-rules", tier: Tier::Frontier };
const SUSTAINED: Label = Label { task: "reasoning-in-many-steps-over-a-sustained-context", tier: Tier::Frontier };

/// What does a word in a requirement mean? A conversation between an analyst and the model.
pub(super) fn settle_business_logic(talk: &mut Conversation<'_>, chance: &mut Chance) {
    const CASES: &[(&str, &str, &str)] = &[
        (
            "net revenue should exclude refunds",
            "whether a refund counts on the day of the order or on the day of the refund",
            "the day of the refund, since closed months must not change",
        ),
        (
            "active customers are those with a recent order",
            "how long recent is, and whether a cancelled order keeps a customer active",
            "ninety days, cancelled orders excluded, as in the board report",
        ),
        (
            "test orders must not appear in totals",
            "whether orders of employees at full price are test orders",
            "no: they are paid for; only is_test marks a test",
        ),
        (
            "late orders are the ones delivered after the promise",
            "which promise counts when it was changed after checkout",
            "the first promise that the customer was shown, or the figure could be improved by promising later",
        ),
    ];
    let (requirement, doubt, advice) = chance.pick(CASES);
    let view = query("mart_daily_totals");
    talk.system(
        "You help analysts to turn business requirements into definitions of metrics. Requirements are often ambiguous: say so, list the \
         readings, what each does to the figure, and which one the existing code implements. Recommend one and say what it would cost to \
         be wrong. Never invent a rule that nobody stated.",
    );
    talk.user(&format!("Finance writes: \"{requirement}\". This is the view that we have:\n```sql\n{view}```\nWhat do they mean, and is it what we compute?"));
    talk.asks(
        Wants::StreamWithUsage,
        BUSINESS,
        &format!(
            "The sentence leaves open {doubt}. Reading A follows the order, reading B follows the later event. The view implements A, by \
             grouping on order_day. The difference is small over a year and large at the end of a month, which is when finance looks.\n\nI \
             would take {advice}. If that is wrong, published figures of the current month move once; the other way round they move every month."
        ),
    );
    for (question, answer) in [
        (
            "They say that both readings were used in the past. Does that change your advice?",
            "No, but it changes the migration: publish both columns for one close, with the difference explained, and retire the old one afterwards. Otherwise every comparison with last year mixes two definitions.",
        ),
        (
            "What about orders in yen, which have no decimals?",
            "They are stored with four decimals like the rest, so sums are right. Rounding belongs in the presentation, once, per currency; rounding each row first would move the total by up to half a yen an order.",
        ),
        (
            "Write the definition in two sentences that finance can sign.",
            "Net amount is the price paid minus discounts, counted on the UTC day on which it was paid. A refund reduces the net amount of the day on which it was granted, never that of the original order.",
        ),
        (
            "And the SQL condition for it, please.",
            "WHERE NOT s.is_test\n  AND e.event_day >= DATEADD('day', -400, CURRENT_DATE)\n-- events: one row for a payment (+net_amount) and one for each refund (-amount), each with its own day",
        ),
    ] {
        talk.user(question);
        talk.asks(Wants::StreamWithUsage, BUSINESS, answer);
    }
}

/// A backfill of months, planned in steps that depend on each other.
pub(super) fn plan_backfill(talk: &mut Conversation<'_>, chance: &mut Chance) {
    let months = chance.between(3, 14);
    let per_day = chance.between(38, 61);
    talk.system(
        "You plan backfills of orders_daily. A plan has steps with preconditions, a check after each step, a way back, and a total of \
         time and warehouse credits. Keep the constraints that were stated earlier in the conversation: they all hold until withdrawn.",
    );
    talk.tools(&[
        ("run_history", "Lists past runs.", &[("pipeline", "Name of the pipeline"), ("limit", "How many, as digits")]),
        ("estimate_query", "Estimates scanned bytes and credits of a statement.", &[("sql", "The statement")]),
        ("free_slots", "Lists when the warehouse has capacity.", &[("week", "ISO week")]),
    ]);
    talk.user(&format!("We need net_amount recomputed for the last {months} months. The nightly run must not be late, finance closes on the 3rd, and the warehouse budget is 900 credits. Plan it."));
    let history = run_history(chance, 12);
    talk.calls(
        Wants::Document,
        SUSTAINED,
        vec![
            ("run_history", json!({"pipeline": "orders_daily", "limit": "12"}), history),
            ("estimate_query", json!({"sql": query("backfill_candidate")}), json!({"scanned_gb": per_day * 3, "credits": per_day}).to_string()),
            ("free_slots", json!({"week": "2026-W48"}), json!({"slots": [{"from": "06:00", "to": "14:00", "days": ["Mon", "Tue", "Thu"]}, {"from": "20:00", "to": "23:30", "days": ["Sat", "Sun"]}]}).to_string()),
        ],
    );
    talk.asks(
        Wants::StreamWithUsage,
        SUSTAINED,
        &format!(
            "1. Freeze the definition and tag it. Check: the view's text equals the signed one.\n2. Write into fct_orders_v2, a month at a \
             time, newest first, in the morning slots: about {} credits a month, {} in total. Check: counts equal, sums differ only by \
             refunds.\n3. Stop from the 1st to the 3rd for the close.\n4. Compare 30 days side by side; finance signs.\n5. Swap the names \
             in one transaction. Way back: swap again, the old table stays for 30 days.\n\nThe nightly run ends at 05:00 and slots begin \
             at 06:00, so it is never late.",
            per_day / 2 + 12,
            months * (per_day / 2 + 12)
        ),
    );
    for (question, answer) in [
        (
            "Operations takes the Thursday slots away. Does it still fit before the close?",
            "Yes, with one change: two slots of eight hours a week are left, which is four months a week. Start with the months that the close compares, and move the rest behind the 3rd. The budget is unaffected.",
        ),
        (
            "A month in the middle fails its check. What happens to the steps after it?",
            "Later months do not depend on it, so the writing goes on; step 4 cannot start. Drop that month from fct_orders_v2, find the difference by region first and by currency second, and write it again. Nothing was swapped, so readers notice nothing.",
        ),
        (
            "Which of the constraints that I gave you is the tightest now?",
            "The close on the 3rd. The budget has room, the nightly run is safe by an hour, but without Thursday only one spare slot is left before the 1st.",
        ),
    ] {
        talk.user(question);
        talk.asks(Wants::StreamWithUsage, SUSTAINED, answer);
    }
}

/// A fix with tests, written with tools.
pub(super) fn mend_code(talk: &mut Conversation<'_>, chance: &mut Chance) {
    let failure = chance.pick(KNOWN);
    let component = failure.component;
    talk.system(
        "You mend components of orders_daily and open pull requests. Read before you write. Make the smallest change that passes the \
         tests, add the test that failed before, and leave unrelated code alone. Every pull request says cause, change, evidence and \
         risk. You cannot merge.",
    );
    talk.tools(&[
        ("read_source", "Reads the source file of a component.", &[("component", "Name of the component")]),
        ("git_history", "Lists the last commits to a component.", &[("component", "Name of the component")]),
        ("apply_patch", "Applies a unified diff to the working copy.", &[("diff", "The diff")]),
        ("run_tests", "Runs the tests of a component in staging.", &[("component", "Name of the component")]),
        (
            "open_pull_request",
            "Opens a draft pull request.",
            &[("title", "At most 72 characters"), ("body", "Markdown")],
        ),
    ]);
    talk.user(&format!("Mend this and open a pull request:\n```\n{}```", traceback(chance, &failure)));
    let history = git_log(chance, component);
    talk.calls(
        Wants::StreamWithUsage,
        SUSTAINED,
        vec![
            ("read_source", json!({"component": component}), source_file(&failure)),
            ("git_history", json!({"component": component}), history),
        ],
    );
    let failing = test_run(chance, component, 2);
    talk.calls(Wants::StreamWithUsage, SUSTAINED, vec![("run_tests", json!({"component": component}), failing)]);
    talk.calls(
        Wants::StreamWithUsage,
        SUSTAINED,
        vec![("apply_patch", json!({"diff": patch(&failure)}), "applied, 1 file changed".to_owned())],
    );
    let passing = test_run(chance, component, 0);
    talk.calls(Wants::StreamWithUsage, SUSTAINED, vec![("run_tests", json!({"component": component}), passing)]);
    let title = format!("{component}: normalise {} before the cast", failure.column);
    let body = format!(
        "**Cause**: {}.\n\n**Change**: normalise on read, name the partition in the error.\n\n**Evidence**: two tests failed before and pass now.\n\n**Risk**: low, one read path.",
        failure.cause
    );
    talk.calls(
        Wants::StreamWithUsage,
        SUSTAINED,
        vec![(
            "open_pull_request",
            json!({"title": title, "body": body}),
            json!({"number": chance.between(400, 990), "state": "draft"}).to_string(),
        )],
    );
    talk.asks(
        Wants::StreamWithUsage,
        SUSTAINED,
        &format!("The draft is open: `{title}`. Two tests failed before and all pass now in staging. Please look at the error's wording: it names the partition and the columns that were found."),
    );
    talk.user("A reviewer asks why the column is not simply made nullable. Answer in the pull request's tone.");
    talk.asks(
        Wants::StreamWithUsage,
        SUSTAINED,
        &format!(
            "A null in `{}` would pass the merge and surface as a gap in the totals two stages later, where nobody can tell it from a \
             day without orders. Failing on read costs a page in the morning; a silent gap costs a corrected report.",
            failure.column
        ),
    );
}
