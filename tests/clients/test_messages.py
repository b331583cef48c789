"""Anthropic's SDK: whatever its row speaks, a client of Messages finds its own types, stops and counts."""

import anthropic
import pytest
from conftest import KEY, Claude, failure
from pydantic import BaseModel

PARAMETERS = {"task_log": "task", "row_count": "table"}
TOOLS = [
    {"name": name, "input_schema": {"type": "object", "properties": {key: {"type": "string"}}}}
    for name, key in PARAMETERS.items()
]
CALLED = [("task_log", {"task": "load_orders"}), ("row_count", {"table": "orders"})]


class Verdict(BaseModel):
    task: str
    retry: bool
    after_minutes: int


def text_of(message):
    return "".join(block.text for block in message.content if block.type == "text")


def calls_of(message):
    return [(block.name, block.input) for block in message.content if block.type == "tool_use"]


def test_a_message_comes_back_with_what_it_cost(claude, ledger, row):
    raw, answer = claude.raw(f"{row}-plain", system="Be brief.")
    assert (text_of(answer), answer.stop_reason, answer.model) == ("Partition 14 is late.", "end_turn", f"{row}-plain")
    assert answer.usage.input_tokens > 0 < answer.usage.output_tokens
    booked = ledger.request(answer._request_id)
    assert (booked["status"], booked["key"]) == ("ok", "agents")
    assert float(raw.headers["x-farthing-cost-usd"]) * 1e9 == pytest.approx(booked["cost_nano"])


def test_the_beginning_of_the_rules_reaches_the_model(claude, behind, row):
    model = f"{row}-plain"
    claude.create(model, system=[{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}])
    assert "Be brief." in str(behind.last(model)["body"])


def test_a_stream_adds_up_by_hand_and_by_the_helper(claude, row):
    events = claude.stream(f"{row}-many")
    assert (events[0].type, events[-1].type) == ("message_start", "message_stop")
    said = "".join(event.delta.text for event in events if event.type == "content_block_delta")
    kinds, whole = claude.helped(f"{row}-many")
    assert len(said.split()) == 40 and text_of(whole) == said
    assert {"message_start", "text", "content_block_stop", "message_stop"} <= kinds
    assert whole.stop_reason == "end_turn" and whole.usage.input_tokens > 0 and whole.usage.output_tokens >= 40


def test_lines_are_split_where_the_protocol_says_and_nowhere_else(claude, row):
    _, whole = claude.helped(f"{row}-awkward")
    assert text_of(whole) == "before\u2028after, naïve ✓ 🦀 done"


def test_calls_made_at_once_all_come_back(claude, row):
    answer = claude.create(f"{row}-tools", tools=TOOLS, tool_choice={"type": "auto"})
    assert (calls_of(answer), answer.stop_reason) == (CALLED, "tool_use")
    kinds, streamed = claude.helped(f"{row}-tools", tools=TOOLS)
    assert (calls_of(streamed), streamed.stop_reason) == (CALLED, "tool_use") and "input_json" in kinds


def test_a_loop_of_tools_closes(claude, behind, row):
    model = f"{row}-loop-{claude.way}"
    said = [{"role": "user", "content": "why is it late?"}]
    first = claude.create(model, tools=TOOLS, messages=said)
    calls = [block for block in first.content if block.type == "tool_use"]
    results = [{"type": "tool_result", "tool_use_id": call.id, "content": "no new files"} for call in calls]
    said += [{"role": "assistant", "content": first.content}, {"role": "user", "content": results}]
    _, last = claude.helped(model, tools=TOOLS, messages=said)
    assert (text_of(last), last.stop_reason) == ("Retry load_orders: 0 rows.", "end_turn")
    sent = str(behind.last(model)["body"])
    assert sent.count("no new files") == 2 and all(sent.count(call.id) == 2 for call in calls)


def test_a_schema_is_filled(claude, behind, row):
    model = f"{row}-verdict"
    answer = claude.run(
        lambda client: client.messages.parse(
            model=model, max_tokens=500, messages=[{"role": "user", "content": "hi"}], output_format=Verdict
        )
    )
    assert answer.parsed_output == Verdict(task="load_orders", retry=True, after_minutes=5)
    assert "after_minutes" in str(behind.last(model)["body"])


def test_a_limit_and_a_refusal_are_told_apart(claude, row):
    cut = claude.create(f"{row}-many", max_tokens=20)
    assert cut.stop_reason == "max_tokens"
    _, cut = claude.helped(f"{row}-many", max_tokens=20)
    assert cut.stop_reason == "max_tokens"
    assert claude.create(f"{row}-refusal").stop_reason == "refusal"
    assert claude.helped(f"{row}-refusal")[1].stop_reason == "refusal"


def test_tokens_are_counted_and_cost_nothing(claude, row):
    def count(client):
        question = [{"role": "user", "content": "how many words are these?"}]
        return client.messages.count_tokens(model=f"{row}-plain", messages=question, tools=TOOLS)

    assert claude.run(count).input_tokens > 10


def test_models_are_listed_and_found(claude, row):
    assert f"{row}-plain" in {model.id for model in claude.collect(lambda client: client.models.list())}
    assert claude.run(lambda client: client.models.retrieve(f"{row}-plain")).id == f"{row}-plain"
    failure(anthropic.NotFoundError, lambda: claude.run(lambda client: client.models.retrieve("nobody-knows")))


@pytest.mark.parametrize("credential", [{"api_key": KEY}, {"api_key": None, "auth_token": KEY}], ids=["key", "token"])
def test_either_header_may_carry_the_key(credential):
    sdk = Claude("sync", **credential)
    assert sdk.create("claude-opus-5-plain").stop_reason == "end_turn"
    sdk.close()
