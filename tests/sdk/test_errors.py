"""Errors: each arrives as the SDK's own class, with the provider's words or our stable code."""

import openai
import pytest
from conftest import NARROW_KEY, OPEN_BASE_URL, ask, text_of


def failure(sdk, model, kind, **more):
    """The error of that class which asking for `model` raises, whole and streamed alike."""
    for stream in (False, True):
        with pytest.raises(kind) as raised:
            sdk.run(lambda client: client.chat.completions.create(**ask(model, stream=stream, **more)))
        assert type(raised.value) is kind
    return raised.value


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (404, openai.NotFoundError),
        (409, openai.ConflictError),
        (422, openai.UnprocessableEntityError),
        (500, openai.InternalServerError),
    ],
)
def test_a_provider_error_keeps_its_class_and_words(sdk, ledger, status, kind):
    error = failure(sdk, f"fails-{status}", kind)
    assert error.status_code == status
    assert f"told to answer with {status}" in error.message
    row = ledger.request(error.request_id)
    assert (row["http_status"], row["cost_nano"]) == (status, 0)


def test_a_bad_request_keeps_the_parameter_that_was_wrong(sdk):
    error = failure(sdk, "fails-400", openai.BadRequestError)
    assert (error.code, error.param, error.type) == ("invalid_value", "reasoning_effort", "invalid_request_error")
    assert "Invalid value: 'loud'." in error.message


@pytest.mark.parametrize("status", [401, 403])
def test_a_provider_that_refuses_our_credential_is_not_the_callers_fault(sdk, status):
    error = failure(sdk, f"fails-{status}", openai.InternalServerError)
    assert (error.status_code, error.code) == (502, "provider_credentials")
    assert "told to answer" not in error.message


def test_a_rate_limit_says_when_to_come_back(sdk, behind):
    error = failure(sdk, "fails-429", openai.RateLimitError)
    assert error.code == "rate_limit_exceeded"
    assert error.response.headers["retry-after"] == "7"


def test_an_exhausted_account_is_told_apart_and_asked_once(sdk, behind):
    model = f"fails-quota-{sdk.way}"
    with pytest.raises(openai.RateLimitError) as raised:
        sdk.chat(model)
    assert (raised.value.code, raised.value.type) == ("insufficient_quota", "insufficient_quota")
    assert len(behind.requests(model)) == 1


def test_a_page_of_a_load_balancer_is_wrapped_and_not_quoted(sdk):
    error = failure(sdk, "fails-page", openai.InternalServerError)
    assert (error.status_code, error.code) == (503, "provider_error")
    assert "10.1.2.3" not in str(error) and "<html>" not in str(error)


def test_an_unreachable_provider_is_an_error_of_the_server(sdk, ledger):
    error = failure(sdk, "gone/gone-light", openai.InternalServerError)
    assert (error.status_code, error.code) == (502, "provider_error")
    attempts = ledger.attempts(error.request_id)
    assert [(attempt["fate"], attempt["cost_nano"]) for attempt in attempts] == [("failed", 0)] * 2


def test_an_unreachable_gateway_is_a_connection_error(make_sdk, unused_port):
    sdk = make_sdk(base_url=f"http://127.0.0.1:{unused_port}/v1")
    with pytest.raises(openai.APIConnectionError):
        sdk.chat("chat-plain")


def test_a_wrong_key_is_an_authentication_error(make_sdk, behind):
    seen = len(behind.requests("chat-plain"))
    sdk = make_sdk(api_key="fk-nobody-knows")
    error = failure(sdk, "chat-plain", openai.AuthenticationError)
    assert (error.status_code, error.code) == (401, "invalid_api_key")
    assert "fk-nobody-knows" not in str(error)
    with pytest.raises(openai.AuthenticationError):
        sdk.collect_models()
    assert len(behind.requests("chat-plain")) == seen


def test_what_a_key_may_not_ask_for_is_a_permission_error(make_sdk, behind):
    sdk = make_sdk(api_key=NARROW_KEY)
    seen = len(behind.requests("json-verdict"))
    error = failure(sdk, "json-verdict", openai.PermissionDeniedError)
    assert (error.status_code, error.code, error.param) == (403, "not_granted", "model")
    assert sdk.chat("chat-plain").model == "chat-plain"
    assert len(behind.requests("json-verdict")) == seen


def test_a_body_that_is_wrong_names_what_is_wrong(sdk):
    error = failure(sdk, 7, openai.BadRequestError)
    assert (error.code, error.param) == ("invalid_body", "model")
    error = failure(sdk, "chat-plain", openai.BadRequestError, messages="hi")
    assert (error.code, error.param) == ("invalid_body", "messages")


def test_a_path_that_is_not_served_is_not_found(sdk):
    with pytest.raises(openai.NotFoundError) as raised:
        sdk.run(lambda client: client.post("/no/such/path", cast_to=object, body={}))
    assert raised.value.code == "not_found"


def test_without_keys_any_credential_will_do(make_sdk):
    sdk = make_sdk(base_url=OPEN_BASE_URL, api_key="anything")
    assert sdk.chat("chat-plain").choices[0].message.content == "Partition 14 is late."


@pytest.mark.parametrize(
    ("model", "code"),
    [
        ("fails-within", None),
        ("resets-within", "provider_error"),
        ("ends-within", "provider_error"),
        ("hasty/hasty-falls-silent", "provider_timeout"),
    ],
)
def test_a_stream_that_breaks_raises_after_what_had_arrived(sdk, ledger, model, code):
    arrived = []
    with pytest.raises(openai.APIError) as raised:
        for chunk in sdk.each(lambda client: client.chat.completions.create(**ask(model, stream=True))):
            arrived.append(chunk)
    assert type(raised.value) is openai.APIError
    assert (raised.value.code, raised.value.type) == (code, "server_error")
    assert text_of(arrived) == "The first"
    row = ledger.closed(model)[-1]
    assert (row["status"], row["cost_nano"]) == (code or "provider_error", None)
    assert [attempt["fate"] for attempt in ledger.attempts(row["request_id"])] == ["interrupted"]


@pytest.mark.parametrize("model", ["fails-within", "resets-within"])
def test_the_stream_helper_raises_too(sdk, model):
    def use(stream):
        if sdk.way == "sync":
            return list(stream)

        async def awaited():
            return [event async for event in stream]

        return awaited()

    with pytest.raises(openai.APIError):
        sdk.within(lambda client: client.chat.completions.stream(**ask(model)), use)
