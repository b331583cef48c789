"""OpenAI's SDK at a row that is called in Messages: its own types, stops, counts and errors all the same."""

import asyncio

import openai
import pytest
from conftest import BASE_URL, KEY, chat, check_cut, failure
from eyes import PATIENCE
from openai import AsyncOpenAI
from pydantic import BaseModel

PARAMETERS = {"task_log": "task", "row_count": "table"}


def tool(name, key):
    """A strict one, as the helper for streams wants it."""
    parameters = {"type": "object", "properties": {key: {"type": "string"}}, "required": [key], "additionalProperties": False}
    return {"type": "function", "function": {"name": name, "strict": True, "parameters": parameters}}


TOOLS = [tool(name, key) for name, key in PARAMETERS.items()]
CALLED = [("task_log", '{"task":"load_orders"}'), ("row_count", '{"table":"orders"}')]


class Verdict(BaseModel):
    task: str
    retry: bool
    after_minutes: int


def calls_of(answer):
    return [(call.function.name, call.function.arguments) for call in answer.choices[0].message.tool_calls]


def test_a_completion_comes_back_with_what_it_cost(gpt, ledger):
    raw, answer = gpt.raw("claude-opus-5-plain", temperature=0.5, seed=7)
    [choice] = answer.choices
    assert (choice.message.content, choice.finish_reason, answer.model) == ("Partition 14 is late.", "stop", "claude-opus-5-plain")
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens > 0
    assert {"seed", "temperature"} <= set(raw.headers["x-farthing-dropped"].split(", "))
    assert ledger.request(answer._request_id)["cost_nano"] > 0


def test_a_stream_adds_up_by_hand_and_by_the_helper(gpt):
    chunks = gpt.stream("claude-opus-5-many", stream_options={"include_usage": True})
    said = "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)
    assert len(said.split()) == 40 and chunks[-1].usage.completion_tokens >= 40 and chunks[-1].choices == []
    assert [choice.finish_reason for chunk in chunks for choice in chunk.choices if choice.finish_reason] == ["stop"]
    assert len({chunk.id for chunk in chunks}) == 1
    assert gpt.helped("claude-opus-5-many").choices[0].message.content == said
    assert gpt.helped("claude-opus-5-awkward").choices[0].message.content == "before\u2028after, naïve ✓ 🦀 done"


def test_calls_made_at_once_all_come_back(gpt):
    answer = gpt.create("claude-opus-5-tools", tools=TOOLS, tool_choice="auto", parallel_tool_calls=True)
    assert (calls_of(answer), answer.choices[0].finish_reason) == (CALLED, "tool_calls")
    streamed = gpt.helped("claude-opus-5-tools", tools=TOOLS)
    assert (calls_of(streamed), streamed.choices[0].finish_reason) == (CALLED, "tool_calls")


def test_a_loop_of_tools_closes(gpt, behind):
    model = f"claude-opus-5-loop-of-chat-{gpt.way}"
    said = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "why is it late?"}]
    first = gpt.create(model, tools=TOOLS, messages=said).choices[0].message
    results = [{"role": "tool", "tool_call_id": call.id, "content": "no new files"} for call in first.tool_calls]
    last = gpt.helped(model, tools=TOOLS, messages=[*said, first, *results])
    assert last.choices[0].message.content == "Retry load_orders: 0 rows."
    turns = behind.last(model)["body"]["messages"]
    assert [turn["role"] for turn in turns] == ["user", "assistant", "user"]
    assert [block["type"] for block in turns[2]["content"]] == ["tool_result"] * 2


def test_a_schema_is_filled_and_what_went_wrong_is_told_apart(gpt):
    parse = lambda model, **more: gpt.run(  # noqa: E731
        lambda client: client.chat.completions.parse(**chat(model, response_format=Verdict, **more))
    )
    wanted = Verdict(task="load_orders", retry=True, after_minutes=5)
    assert parse("claude-opus-5-verdict").choices[0].message.parsed == wanted
    assert gpt.helped("claude-opus-5-verdict", response_format=Verdict).choices[0].message.parsed == wanted
    failure(openai.LengthFinishReasonError, lambda: parse("claude-opus-5-verdict", max_completion_tokens=3))
    # As at OpenAI itself: a refusal is an answer, which says why nothing was parsed.
    for refused in (parse("claude-opus-5-refusal"), gpt.helped("claude-opus-5-refusal", response_format=Verdict)):
        [choice] = refused.choices
        assert (choice.finish_reason, choice.message.parsed) == ("stop", None)
        assert choice.message.refusal == "I cannot help with that."


@pytest.mark.parametrize(
    ("status", "told", "kind"),
    [
        (400, 400, openai.BadRequestError),
        (401, 502, openai.InternalServerError),
        (403, 502, openai.InternalServerError),
        (404, 404, openai.NotFoundError),
        (409, 409, openai.ConflictError),
        (422, 422, openai.UnprocessableEntityError),
        (500, 500, openai.InternalServerError),
        (503, 503, openai.InternalServerError),
        (504, 504, openai.InternalServerError),
        (529, 503, openai.InternalServerError),
    ],
)
def test_a_provider_error_has_the_class_that_the_client_knows(gpt, ledger, status, told, kind):
    failure(kind, lambda: gpt.create(f"claude-opus-5-fails-{status}", stream=True))
    error = failure(kind, lambda: gpt.create(f"claude-opus-5-fails-{status}"))
    assert (error.status_code, error.body.keys()) == (told, {"message", "type", "param", "code"})
    # One that was too slow may be billed all the same.
    assert ledger.request(error.request_id)["cost_nano"] == (None if status == 504 else 0)


def test_a_rate_limit_says_when_to_come_back(gpt):
    error = failure(openai.RateLimitError, lambda: gpt.create("claude-opus-5-fails-429"))
    assert (error.code, error.response.headers["retry-after"]) == ("rate_limit_exceeded", "7")


@pytest.mark.parametrize("case", ["fails-within", "resets-within", "ends-within"])
def test_a_stream_that_breaks_raises_once_after_what_had_arrived(gpt, case):
    arrived = []
    with pytest.raises(openai.APIError) as raised:
        for chunk in gpt.each(lambda client: client.chat.completions.create(**chat(f"claude-opus-5-{case}", stream=True))):
            arrived.append(chunk)
    assert (type(raised.value), raised.value.type) == (openai.APIError, "server_error")
    assert arrived and not any(choice.finish_reason for chunk in arrived for choice in chunk.choices)


def test_failures_are_retried_by_whom_they_should_be(gpt, behind, ledger):
    soon, late = f"claude-opus-5-recovers-soon-of-chat-{gpt.way}", f"claude-opus-5-recovers-late-of-chat-{gpt.way}"
    answer = gpt.create(soon)
    assert answer.choices[0].message.content == "Here I am."
    assert [attempt["provider_status"] for attempt in ledger.attempts(answer._request_id)] == [503, 200]
    raw, answer = gpt.raw(late, retries=2)
    assert (answer.choices[0].message.content, raw.retries_taken, len(behind.requests(late))) == ("Here I am.", 1, 3)


def test_a_closed_stream_reaches_the_provider_and_is_settled_as_cut(gpt, behind, ledger):
    model = f"claude-opus-5-stalls-within-of-chat-{gpt.way}"
    stream = gpt.run(lambda client: client.chat.completions.create(**chat(model, stream=True)))
    first = next(iter(stream)) if gpt.way == "sync" else gpt.finish(anext(stream.__aiter__()))
    assert first.choices[0].delta.role == "assistant"
    gpt.finish(stream.close())
    check_cut(behind, ledger, model)


def test_a_cancelled_task_hangs_up(behind, ledger):
    model = "claude-opus-5-stalls-whole-of-chat-async"

    async def cancelled():
        async with AsyncOpenAI(base_url=BASE_URL, api_key=KEY, max_retries=0, timeout=PATIENCE) as client:
            task = asyncio.create_task(client.chat.completions.create(**chat(model)))
            await asyncio.to_thread(behind.arrived, model)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(cancelled())
    check_cut(behind, ledger, model)
