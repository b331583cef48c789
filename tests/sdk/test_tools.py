"""Tools and structured output: calls come back whole, a loop closes, models of pydantic are filled."""

import json

import openai
import pytest
from conftest import ask
from pydantic import BaseModel, ValidationError

TOOLS = [
    {"type": "function", "function": {"name": name, "parameters": {"type": "object", "properties": {key: {"type": "string"}}}}}
    for name, key in [("task_log", "task"), ("row_count", "table")]
]
CALLED = [("task_log", {"task": "load_orders"}), ("row_count", {"table": "orders"})]


class Verdict(BaseModel):
    task: str
    retry: bool
    after_minutes: int


def test_calls_made_at_once_all_come_back(sdk, behind):
    answer = sdk.chat("tools-parallel", tools=TOOLS, tool_choice="auto", parallel_tool_calls=True)
    calls = answer.choices[0].message.tool_calls
    assert answer.choices[0].finish_reason == "tool_calls"
    assert [(call.function.name, json.loads(call.function.arguments)) for call in calls] == CALLED
    assert len({call.id for call in calls}) == 2
    body = behind.last("tools-parallel")["body"]
    assert (body["tools"], body["tool_choice"], body["parallel_tool_calls"]) == (TOOLS, "auto", True)


def test_streamed_calls_add_up(sdk):
    names, arguments = {}, {}
    for chunk in sdk.stream("tools-parallel", tools=TOOLS):
        for call in (call for choice in chunk.choices for call in choice.delta.tool_calls or []):
            names[call.index] = names.get(call.index, "") + (call.function.name or "")
            arguments[call.index] = arguments.get(call.index, "") + (call.function.arguments or "")
    assert [(names[i], json.loads(arguments[i])) for i in sorted(names)] == CALLED


def test_the_stream_helper_tells_when_each_call_is_complete(sdk):
    def use(stream):
        if sdk.way == "sync":
            return list(stream)

        async def awaited():
            return [event async for event in stream]

        return awaited()

    # The SDK's previous major streams strict tools alone.
    strict = [{**tool, "function": tool["function"] | {"strict": True}} for tool in TOOLS]
    events = sdk.within(lambda client: client.chat.completions.stream(**ask("tools-parallel", tools=strict)), use)
    done = [event for event in events if event.type == "tool_calls.function.arguments.done"]
    assert [(event.name, json.loads(event.arguments)) for event in done] == CALLED


def test_a_loop_of_tools_closes(sdk, behind, ledger):
    model = f"tools-loop-{sdk.way}"
    results = {"task_log": "no new files", "row_count": "0"}
    messages = [{"role": "system", "content": "You triage pipelines."}, {"role": "user", "content": "Why is it late?"}]
    turns = 0
    while True:
        turns += 1
        answer = sdk.chat(model, messages=messages, tools=TOOLS, metadata={"run": f"loop-{sdk.way}"})
        message = answer.choices[0].message
        if not message.tool_calls:
            break
        messages.append(message)
        messages += [
            {"role": "tool", "tool_call_id": call.id, "content": results[call.function.name]}
            for call in message.tool_calls
        ]
    assert (turns, message.content) == (2, "Retry load_orders: 0 rows.")
    sent = behind.last(model)["body"]["messages"]
    assert [turn["role"] for turn in sent] == ["system", "user", "assistant", "tool", "tool"]
    assert [call["id"] for call in sent[2]["tool_calls"]] == [turn["tool_call_id"] for turn in sent[3:]]
    rows = ledger.closed(model, count=2)
    assert {row["run"] for row in rows} == {f"loop-{sdk.way}"}
    assert len({row["prompt"] for row in rows}) == 1, "one system prompt is one prompt"


def test_a_model_of_pydantic_is_filled(sdk, behind):
    answer = sdk.run(
        lambda client: client.chat.completions.parse(**ask("json-verdict"), response_format=Verdict)
    )
    assert answer.choices[0].message.parsed == Verdict(task="load_orders", retry=True, after_minutes=5)
    wanted = behind.last("json-verdict")["body"]["response_format"]
    assert (wanted["type"], wanted["json_schema"]["strict"]) == ("json_schema", True)


def test_a_model_of_pydantic_is_filled_from_a_stream(sdk):
    def use(stream):
        if sdk.way == "sync":
            return [event for event in stream if event.type == "content.done"]

        async def awaited():
            return [event async for event in stream if event.type == "content.done"]

        return awaited()

    call = lambda client: client.chat.completions.stream(**ask("json-verdict"), response_format=Verdict)  # noqa: E731
    [done] = sdk.within(call, use)
    assert done.parsed == Verdict(task="load_orders", retry=True, after_minutes=5)


def test_output_that_is_cut_at_its_limit_is_told_from_output_that_is_wrong(sdk, ledger):
    def parse(model, **more):
        return sdk.run(lambda client: client.chat.completions.parse(**ask(model, **more), response_format=Verdict))

    with pytest.raises(openai.LengthFinishReasonError) as cut:
        parse("json-verdict", max_completion_tokens=3)
    assert cut.value.completion.usage.completion_tokens == 3
    of_three = "select * from attempts_v1 where model = 'json-verdict' and output_tokens = 3 and fate = 'completed'"
    assert ledger.until(of_three)
    with pytest.raises(ValidationError):
        parse("json-wrong")


def test_a_refusal_leaves_nothing_parsed(sdk):
    answer = sdk.run(lambda client: client.chat.completions.parse(**ask("chat-refusal"), response_format=Verdict))
    message = answer.choices[0].message
    assert (message.parsed, message.refusal) == (None, "I cannot help with that.")
