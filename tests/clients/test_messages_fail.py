"""Anthropic's SDK where something goes wrong: its own class of error, retries that multiply nothing, clients that leave."""

import asyncio

import anthropic
import pytest
from anthropic import AsyncAnthropic
from conftest import KEY, ROOT_URL, Claude, check_cut, failure, message
from eyes import PATIENCE


# Statuses of providers, and the class that a client knows each by.
TOLD = [
    (400, anthropic.BadRequestError),
    (404, anthropic.NotFoundError),
    (409, anthropic.ConflictError),
    (422, anthropic.UnprocessableEntityError),
    (500, anthropic.InternalServerError),
]


def refused(claude, kind, model, **more):
    """The error of that class, whole and streamed alike."""
    failure(kind, lambda: claude.create(model, stream=True, **more))
    return failure(kind, lambda: claude.create(model, **more))


@pytest.mark.parametrize(("status", "kind"), TOLD)
def test_a_provider_error_keeps_its_class_and_words(claude, ledger, row, status, kind):
    error = refused(claude, kind, f"{row}-fails-{status}")
    assert error.status_code == status and f"told to answer with {status}" in str(error)
    assert error.body["type"] == "error" and error.body["error"]["type"]
    booked = ledger.request(error.request_id)
    assert (booked["http_status"], booked["cost_nano"]) == (status, 0)


def test_a_rate_limit_says_when_to_come_back(claude, row):
    error = refused(claude, anthropic.RateLimitError, f"{row}-fails-429")
    assert (error.body["error"]["type"], error.response.headers["retry-after"]) == ("rate_limit_error", "7")


# The classes of these came one major after the other.
@pytest.mark.parametrize(
    ("status", "told", "kind"),
    [(413, 413, "request_too_large"), (503, 529, "overloaded_error"), (504, 504, "timeout_error"), (529, 529, "overloaded_error")],
)
def test_what_is_too_much_or_too_slow_is_told_as_that(claude, row, status, told, kind):
    error = status_error(lambda: claude.create(f"{row}-fails-{status}"))
    # A row of Anthropic's says its own.
    told, kind = (503, "api_error") if (row, status) == ("claude-opus-5", 503) else (told, kind)
    assert (error.status_code, error.body["error"]["type"]) == (told, kind)
    assert type(error) is not anthropic.APIStatusError and type(error).__mro__.count(anthropic.APIStatusError) == 1


def status_error(call):
    with pytest.raises(anthropic.APIStatusError) as raised:
        call()
    return raised.value


@pytest.mark.parametrize("status", [401, 403])
def test_a_provider_that_refuses_our_credential_is_not_the_callers_fault(claude, row, status):
    error = refused(claude, anthropic.InternalServerError, f"{row}-fails-{status}")
    assert error.status_code == 502 and "told to answer" not in str(error)
    assert error.body["error"]["details"]["error_code"] == "provider_credentials"


def test_a_wrong_key_is_an_authentication_error():
    sdk = Claude("sync", api_key="fk-nobody-knows")
    error = refused(sdk, anthropic.AuthenticationError, "claude-opus-5-plain")
    sdk.close()
    assert error.body["error"]["type"] == "authentication_error" and "fk-nobody-knows" not in str(error)


def test_a_model_that_nobody_has_is_not_found(claude):
    error = refused(claude, anthropic.NotFoundError, "nobody-knows")
    assert error.body["error"]["type"] == "not_found_error"


def test_a_body_that_is_wrong_is_a_bad_request(claude, row):
    error = refused(claude, anthropic.BadRequestError, f"{row}-plain", messages="hi")
    assert error.body["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize("case", ["fails-within", "resets-within", "ends-within"])
def test_a_stream_that_breaks_raises_once_after_what_had_arrived(claude, row, case):
    arrived = []
    with pytest.raises(anthropic.APIStatusError) as raised:
        for event in claude.each(lambda client: client.messages.create(**message(f"{row}-{case}", stream=True))):
            arrived.append(event)
    assert raised.value.body["error"]["type"] == "api_error"
    assert arrived[0].type == "message_start" and arrived[-1].type != "message_stop"
    with pytest.raises(anthropic.APIStatusError):
        claude.helped(f"{row}-{case}")


def test_a_passing_failure_is_ours_to_retry(claude, behind, ledger, row):
    model = f"{row}-recovers-soon-{claude.way}"
    answer = claude.create(model)
    assert answer.content[-1].text == "Here I am." and len(behind.requests(model)) == 2
    attempts = ledger.attempts(answer._request_id)
    assert [(attempt["fate"], attempt["provider_status"]) for attempt in attempts] == [("failed", 503), ("completed", 200)]


def test_a_longer_failure_is_retried_by_the_sdk_as_a_request_of_its_own(claude, behind, ledger, row):
    model = f"{row}-recovers-late-{claude.way}"
    raw, answer = claude.raw(model, retries=2)
    assert (answer.content[-1].text, raw.retries_taken) == ("Here I am.", 1)
    assert len(behind.requests(model)) == 3
    rows = ledger.closed(model, count=2)
    assert [(booked["status"], booked["cost_nano"] == 0) for booked in rows] == [("provider_error", True), ("ok", False)]


def test_a_failure_for_good_is_retried_by_nobody(claude, behind, row):
    model = f"{row}-fails-for-good-{claude.way}"
    failure(anthropic.InternalServerError, lambda: claude.raw(model, retries=2))
    assert len(behind.requests(model)) == 1


def test_the_sdks_own_timeout_ends_the_call_everywhere(claude, behind, ledger, row):
    model = f"{row}-stalls-timeout-{claude.way}"
    call = lambda client: client.with_options(timeout=0.15).messages.create(**message(model))  # noqa: E731
    failure(anthropic.APITimeoutError, lambda: claude.run(call))
    check_cut(behind, ledger, model)


def test_a_closed_stream_reaches_the_provider_and_is_settled_as_cut(claude, behind, ledger, row):
    model = f"{row}-stalls-within-{claude.way}"
    stream = claude.run(lambda client: client.messages.create(**message(model, stream=True)))
    first = next(iter(stream)) if claude.way == "sync" else claude.finish(anext(stream.__aiter__()))
    assert first.type == "message_start"
    claude.finish(stream.close())
    check_cut(behind, ledger, model)


@pytest.mark.parametrize("row", ["claude-opus-5", "gpt-4o", "o3"])
def test_a_cancelled_task_hangs_up(behind, ledger, row):
    model = f"{row}-stalls-whole-async"

    async def cancelled():
        async with AsyncAnthropic(base_url=ROOT_URL, api_key=KEY, max_retries=0, timeout=PATIENCE) as client:
            task = asyncio.create_task(client.messages.create(**message(model)))
            await asyncio.to_thread(behind.arrived, model)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            # The client is as good as before.
            return await client.messages.create(**message(f"{row}-plain"))

    assert asyncio.run(cancelled()).stop_reason == "end_turn"
    check_cut(behind, ledger, model)
