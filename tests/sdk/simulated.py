"""The official SDKs straight at the simulated providers: no gateway, and every answer held to the SDK's own types.

Called by `src/simulator/clients.rs` with the addresses of Anthropic's side and OpenAI's.
"""

import sys

import anthropic
import openai

ANTHROPIC, OPENAI = sys.argv[1:]
TOOL = {"name": "read_log", "input_schema": {"type": "object", "properties": {"task": {"type": "string"}}}}
QUESTION = [{"role": "user", "content": "why did it fail"}]


def raises(kind, call):
    try:
        call()
    except kind as error:
        return error
    raise AssertionError(f"no {kind.__name__}")


def messages():
    client = anthropic.Anthropic(
        base_url=ANTHROPIC, api_key="sk-ant-right", max_retries=0, _strict_response_validation=True
    )
    ask = {"model": "claude-opus-5-5", "max_tokens": 2048}
    thinking = {"type": "adaptive", "display": "summarized"}
    # An agent's loop: thought and call, result, answer. The signature goes back as it came.
    talk = list(QUESTION)
    first = client.messages.create(**ask, messages=talk, tools=[TOOL], thinking=thinking)
    assert [block.type for block in first.content] == ["thinking", "text", "tool_use"], first
    assert first.stop_reason == "tool_use" and first.usage.output_tokens_details.thinking_tokens == 3, first
    talk.append({"role": "assistant", "content": first.content})
    talk.append(
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": first.content[2].id, "content": "disk full"}]}
    )
    with client.messages.stream(**ask, messages=talk, tools=[TOOL], thinking=thinking) as stream:
        kinds = {event.type for event in stream}
        last = stream.get_final_message()
    assert {"message_start", "thinking", "signature", "text", "input_json", "message_stop"} <= kinds, kinds
    assert last.content[0].signature and last.content[2].input == {"task": "load"}, last
    first.content[0].signature = "fx1.openai.rs_1"
    error = raises(
        anthropic.BadRequestError,
        lambda: client.messages.create(**ask, messages=talk, tools=[TOOL], thinking=thinking),
    )
    assert "Invalid `signature`" in str(error), error
    error = raises(anthropic.BadRequestError, lambda: client.messages.create(**ask, messages=[]))
    assert error.request_id.startswith("req_"), error
    assert client.messages.count_tokens(model="claude-opus-5-5", messages=QUESTION).input_tokens > 0
    assert [model.id for model in client.models.list()] == ["claude-busy", "claude-opus-5-5", "claude-prim"]
    raises(anthropic.OverloadedError, lambda: client.messages.create(**{**ask, "model": "claude-busy"}, messages=QUESTION))
    prim = client.messages.create(**{**ask, "model": "claude-prim"}, messages=QUESTION)
    assert prim.stop_reason == "refusal" and prim.stop_details.explanation == "I cannot help with that.", prim


def responses():
    client = openai.OpenAI(
        base_url=f"{OPENAI}/v1", api_key="sk-right", max_retries=0, _strict_response_validation=True
    )
    ask = {"model": "gpt-5.6-luna", "include": ["reasoning.encrypted_content"], "reasoning": {"summary": "auto"}}
    tools = [{"type": "function", "strict": False, "parameters": TOOL["input_schema"], "name": "read_log"}]
    talk = list(QUESTION)
    first = client.responses.create(**ask, input=talk, tools=tools, store=False)
    assert [item.type for item in first.output] == ["reasoning", "message", "function_call"], first
    talk += first.output
    talk.append({"type": "function_call_output", "call_id": first.output[2].call_id, "output": "disk full"})
    with client.responses.stream(**ask, input=talk, tools=tools, store=False) as stream:
        events = list(stream)
        last = stream.get_final_response()
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert last.output_text == "reading" and last.usage.output_tokens_details.reasoning_tokens == 3, last
    talk[1] = talk[1].model_copy(update={"encrypted_content": "fx1.anthropic"})
    error = raises(openai.BadRequestError, lambda: client.responses.create(**ask, input=talk, tools=tools, store=False))
    assert error.code == "invalid_encrypted_content", error
    kept = client.responses.create(model="gpt-kept", input="hello")
    assert client.responses.retrieve(kept.id).output_text == "the job failed"
    assert [item.type for item in client.responses.input_items.list(kept.id)] == ["message"]
    more = client.responses.create(model="gpt-kept", input="and now", previous_response_id=kept.id)
    assert more.usage.input_tokens > kept.usage.input_tokens
    later = client.responses.create(model="gpt-kept", input="hello", background=True)
    assert later.status == "queued" and client.responses.cancel(later.id).status == "cancelled"
    client.responses.delete(kept.id)
    raises(openai.NotFoundError, lambda: client.responses.retrieve(kept.id))
    assert client.responses.input_tokens.count(model="gpt-kept", input="hello").input_tokens > 0
    for model, kind in [("gpt-breaks", "error"), ("gpt-fails", "response.failed")]:
        stream = client.responses.create(model=model, input="hello", stream=True)
        assert [event.type for event in stream][-1] == kind, model


messages()
responses()
