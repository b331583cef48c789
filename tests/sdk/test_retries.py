"""Retries and timeouts: ours and the SDK's together neither lose an answer nor multiply a bill."""

import openai
import pytest
from conftest import ask


def retrying(sdk, model, times, **more):
    return sdk.run(
        lambda client: client.with_options(max_retries=times).chat.completions.with_raw_response.create(
            **ask(model, **more)
        )
    )


def test_a_passing_failure_is_ours_to_retry(sdk, behind, ledger):
    model = f"recovers-soon-{sdk.way}"
    answer = sdk.chat(model)
    assert answer.choices[0].message.content == "Here I am."
    assert len(behind.requests(model)) == 2
    attempts = ledger.attempts(answer._request_id)
    assert [(attempt["fate"], attempt["provider_status"]) for attempt in attempts] == [("failed", 503), ("completed", 200)]
    assert ledger.request(answer._request_id)["cost_nano"] == attempts[1]["cost_nano"] > 0


def test_a_longer_failure_is_retried_by_the_sdk_as_a_request_of_its_own(sdk, behind, ledger):
    model = f"recovers-late-{sdk.way}"
    raw = retrying(sdk, model, 2)
    assert raw.parse().choices[0].message.content == "Here I am."
    assert raw.retries_taken == 1
    tries = [seen["headers"]["x-stainless-retry-count"] for seen in behind.requests(model)]
    assert tries == ["0", "0", "1"]
    rows = ledger.closed(model, count=2)
    assert [(row["status"], row["cost_nano"] == 0) for row in rows] == [("provider_error", True), ("ok", False)]
    ids = [seen["headers"]["x-client-request-id"] for seen in behind.requests(model)]
    assert len(set(ids)) == 3


def test_a_failure_for_good_is_retried_by_nobody(sdk, behind):
    seen = len(behind.requests("fails-for-good"))
    with pytest.raises(openai.InternalServerError):
        retrying(sdk, "fails-for-good", 2)
    assert len(behind.requests("fails-for-good")) == seen + 1


def test_a_timeout_that_may_be_billed_is_repeated_by_nobody(sdk, behind, ledger):
    model = f"hasty-counted-{sdk.way}"
    for asked, stream in [(1, True), (2, False)]:
        with pytest.raises(openai.InternalServerError) as raised:
            retrying(sdk, f"hasty/{model}", 2, stream=stream)
        assert (raised.value.status_code, raised.value.code) == (504, "provider_timeout")
        assert len(behind.requests(model)) == asked
        attempts = ledger.attempts(raised.value.request_id)
        assert [(attempt["fate"], attempt["cost_nano"]) for attempt in attempts] == [("interrupted", None)]


def test_the_sdks_own_timeout_ends_the_call_everywhere(sdk, behind, ledger):
    model = f"stalls-timeout-{sdk.way}"
    with pytest.raises(openai.APITimeoutError):
        sdk.run(lambda client: client.with_options(timeout=0.15).chat.completions.create(**ask(model)))
    assert len(behind.hung_up(model)) == 1
    row = ledger.closed(model)[0]
    assert (row["status"], row["http_status"], row["cost_nano"]) == ("client_closed", 499, None)
    assert [attempt["fate"] for attempt in ledger.attempts(row["request_id"])] == ["cut"]


def test_a_deadline_in_a_header_ends_the_call_in_time(sdk):
    with pytest.raises(openai.InternalServerError) as raised:
        sdk.chat(f"stalls-timeout-{sdk.way}", extra_headers={"x-farthing-deadline": "100"})
    assert raised.value.code == "provider_timeout"
