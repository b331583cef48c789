"""Attribution: what clients say of a request stands in the ledger's views, within what their key may claim."""

import pytest

CLAIMS = ["team", "key", "project", "pipeline", "user", "run", "task", "prompt"]
METADATA = {
    "team": "search", "project": "orders", "pipeline": "orders_daily", "user": "ann",
    "run": "run-7", "task": "log-parsing", "prompt": "triage.v2",
}  # fmt: skip


def claims(ledger, answer):
    row = ledger.request(answer._request_id)
    return {name: row[name] for name in CLAIMS}


def test_metadata_names_who_pays_and_reaches_the_provider_unchanged(sdk, ledger, behind):
    model = f"seen-{sdk.way}"
    answer = sdk.chat(model, metadata=METADATA, store=True)
    assert claims(ledger, answer) == METADATA | {"key": "agents"}
    assert behind.last(model)["body"]["metadata"] == METADATA


def test_headers_beat_metadata(make_sdk, ledger):
    sdk = make_sdk(default_headers={"x-farthing-pipeline": "orders_hourly", "x-farthing-run": "run-of-client"})
    answer = sdk.chat("chat-plain", metadata=METADATA, extra_headers={"x-farthing-run": "run-of-call"})
    said = {"key": "agents", "pipeline": "orders_hourly", "run": "run-of-call"}
    assert claims(ledger, answer) == METADATA | said


def test_a_claim_beyond_the_grants_is_ignored_and_named(sdk, ledger):
    raw = sdk.raw("chat-plain", metadata={"team": "finance", "project": "payroll", "run": "run-8"})
    row = claims(ledger, raw.parse())
    assert (row["team"], row["project"], row["run"]) == ("data", None, "run-8")
    assert "team" in raw.headers["x-farthing-reason"] and "project" in raw.headers["x-farthing-reason"]


@pytest.mark.parametrize(("field", "value"), [("safety_identifier", "user-hash-1"), ("user", "user-2")])
def test_the_sdks_own_fields_for_users_count(sdk, ledger, field, value):
    answer = sdk.chat("chat-plain", **{field: value})
    assert claims(ledger, answer)["user"] == value


def test_a_row_says_what_was_asked_what_answered_and_what_it_cost(sdk, ledger):
    answer = sdk.chat("lightweight", metadata={"run": "run-9"})
    row = ledger.request(answer._request_id)
    assert (row["model"], row["tier"], row["surface"]) == ("lightweight", "lightweight", "chat.completions")
    assert (row["status"], row["http_status"]) == ("ok", 200)
    assert "model" in row["edits"]
    attempts = ledger.attempts(answer._request_id)
    assert [(a["provider"], a["model"], a["fate"]) for a in attempts][-1] == ("sim", "chat-plain", "completed")
    # A conversation that was answered before stays with the model that answered.
    assert {(a["provider"], a["fate"]) for a in attempts[:-1]} <= {("gone", "failed")}
    last = attempts[-1]
    assert (last["input_tokens"], last["output_tokens"]) == (answer.usage.prompt_tokens, answer.usage.completion_tokens)
    assert last["provider_request_id"].startswith("req_")
    assert row["cost_nano"] == sum(attempt["cost_nano"] for attempt in attempts)
