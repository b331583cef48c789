"""Chat completions: what the SDK asks arrives, what comes back parses, whole and streamed."""

from conftest import ask, text_of

AWKWARD_TEXT = "before\u2028after, naïve ✓ 🦀 done"


def test_an_answer_parses(sdk):
    answer = sdk.chat("chat-plain")
    assert answer.object == "chat.completion"
    assert answer.model == "chat-plain"
    assert answer.choices[0].message.content == "Partition 14 is late."
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens > 0


def test_a_tier_is_answered_by_its_model(sdk):
    for asked, answered in [("frontier", "chat-frontier"), ("reasoning", "lab/chat-slash")]:
        raw = sdk.raw(asked)
        assert raw.parse().model == answered
        assert raw.headers["x-farthing-model"] == f"sim/{answered}"


def test_auto_is_routed(sdk):
    raw = sdk.raw("auto")
    assert raw.headers["x-farthing-tier"] in ("frontier", "reasoning", "lightweight")
    assert raw.headers["x-farthing-policy"] and raw.headers["x-farthing-reason"]
    assert raw.headers["x-farthing-model"].endswith(raw.parse().model)


def test_a_model_can_be_named_with_its_provider(sdk, behind):
    assert sdk.chat("sim/chat-plain").model == "chat-plain"
    assert behind.last("chat-plain")["body"]["model"] == "chat-plain"


def test_headers_say_what_was_decided_and_what_it_cost(sdk, ledger):
    raw = sdk.raw("chat-plain")
    answer = raw.parse()
    assert raw.headers["x-farthing-model"] == "sim/chat-plain"
    assert raw.headers["x-farthing-reason"]
    assert "x-farthing-edits" not in raw.headers
    assert answer._request_id == raw.request_id == raw.headers["x-request-id"]
    nano = ledger.request(answer._request_id)["cost_nano"]
    assert nano == answer.usage.prompt_tokens * 1_000 + answer.usage.completion_tokens * 3_000
    assert round(float(raw.headers["x-farthing-cost-usd"]) * 1e9) == nano


def test_a_request_id_comes_with_every_object(sdk, ledger):
    answer = sdk.chat("chat-plain")
    assert ledger.request(answer._request_id)["status"] == "ok"


def test_a_stream_is_iterated(sdk):
    chunks = sdk.stream("chat-plain")
    assert text_of(chunks) == "Partition 14 is late."
    assert len({chunk.id for chunk in chunks}) == 1
    assert [choice.finish_reason for chunk in chunks for choice in chunk.choices][-1] == "stop"


def test_usage_is_seen_only_by_who_asked_for_it(sdk, behind, ledger):
    chunks = sdk.stream("chat-plain", user=f"did-not-ask {sdk.way}")
    assert all(chunk.usage is None and chunk.choices for chunk in chunks)
    assert behind.last("chat-plain")["body"]["stream_options"] == {"include_usage": True}
    declined = sdk.stream("chat-plain", stream_options={"include_usage": False})
    assert all(chunk.usage is None and chunk.choices for chunk in declined)
    chunks = sdk.stream("chat-plain", user=f"asked {sdk.way}", stream_options={"include_usage": True})
    assert [chunk.usage is not None for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
    assert chunks[-1].choices == []
    rows = ledger.of_user(f"asked {sdk.way}") + ledger.of_user(f"did-not-ask {sdk.way}")
    attempts = [attempt for row in rows for attempt in ledger.attempts(row["request_id"])]
    usage = chunks[-1].usage
    figures = [(a["input_tokens"], a["output_tokens"], a["source"]) for a in attempts]
    assert figures == [(usage.prompt_tokens, usage.completion_tokens, "reported")] * 2


def test_the_stream_helper_tells_events_and_adds_them_up(sdk):
    def use(stream):
        return sdk_events(sdk, stream)

    events, final = sdk.within(lambda client: client.chat.completions.stream(**ask("chat-plain")), use)
    kinds = [event.type for event in events]
    assert kinds.count("content.done") == 1
    assert "".join(event.delta for event in events if event.type == "content.delta") == "Partition 14 is late."
    assert final.choices[0].message.content == "Partition 14 is late."
    assert final.choices[0].finish_reason == "stop"


def sdk_events(sdk, stream):
    if sdk.way == "sync":
        return list(stream), stream.get_final_completion()

    async def awaited():
        return [event async for event in stream], await stream.get_final_completion()

    return awaited()


def test_the_raw_stream_states_the_cost_before_its_end_and_the_sdk_does_not_mind(sdk, ledger):
    def use(response):
        if sdk.way == "sync":
            return response.headers, list(response.iter_lines())

        async def awaited():
            return response.headers, [line async for line in response.iter_lines()]

        return awaited()

    headers, lines = sdk.within(
        lambda client: client.chat.completions.with_streaming_response.create(**ask("chat-plain", stream=True)), use
    )
    said = [line for line in lines if line]
    assert said[-1] == "data: [DONE]"
    nano = ledger.request(headers["x-request-id"])["cost_nano"]
    assert said[-2].startswith(": x-farthing-cost-usd: ")
    assert round(float(said[-2].rpartition(" ")[2]) * 1e9) == nano > 0
    assert headers["x-farthing-edits"] == "usage"


def test_characters_that_end_lines_elsewhere_stay_within_theirs(sdk):
    assert sdk.chat("chat-awkward").choices[0].message.content == AWKWARD_TEXT
    assert text_of(sdk.stream("chat-awkward")) == AWKWARD_TEXT


def test_several_choices_are_kept_apart(sdk):
    whole = sdk.chat("chat-choices", n=2)
    assert [choice.message.content for choice in whole.choices] == ["Rerun it.", "Wait for it."]
    chunks = sdk.stream("chat-choices", n=2)
    said, ended = {0: "", 1: ""}, {}
    for choice in (choice for chunk in chunks for choice in chunk.choices):
        said[choice.index] += choice.delta.content or ""
        if choice.finish_reason:
            ended[choice.index] = choice.finish_reason
    assert said == {0: "Rerun it.", 1: "Wait for it."}
    assert ended == {0: "stop", 1: "stop"}


def test_logprobs_come_through(sdk):
    whole = sdk.chat("chat-plain", logprobs=True, top_logprobs=2)
    assert "".join(token.token for token in whole.choices[0].logprobs.content) == "Partition 14 is late."
    chunks = sdk.stream("chat-plain", logprobs=True)
    streamed = [choice.logprobs for chunk in chunks for choice in chunk.choices if choice.logprobs]
    assert "".join(token.token for logprobs in streamed for token in logprobs.content) == "Partition 14 is late."


def test_a_refusal_is_a_refusal(sdk):
    message = sdk.chat("chat-refusal").choices[0].message
    assert (message.content, message.refusal) == (None, "I cannot help with that.")
    chunks = sdk.stream("chat-refusal")
    assert "".join(c.delta.refusal or "" for chunk in chunks for c in chunk.choices) == "I cannot help with that."


def test_images_reach_the_provider_as_they_were(sdk, behind):
    content = [
        {"type": "text", "text": "What does the lineage graph show?"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo=", "detail": "low"}},
    ]
    answer = sdk.chat("chat-echo", messages=[{"role": "user", "content": content}])
    assert answer.choices[0].message.content == "What does the lineage graph show?"
    assert behind.last("chat-echo")["body"]["messages"][0]["content"] == content


def test_fields_that_nobody_knows_reach_the_provider(sdk, behind):
    more = {"reasoning_budget": {"tokens": 12, "spill": None}, "x": [1, 2.50, "\u2028"]}
    known = {"temperature": 0.2, "frequency_penalty": 0.5, "logit_bias": {"50256": -100}, "prompt_cache_key": "triage", "store": True}
    model = f"seen-{sdk.way}"
    sdk.chat(model, extra_body=more, extra_query={"trace": "1"}, **known)
    body = behind.last(model)["body"]
    assert body == {"messages": [{"role": "user", "content": "hi"}], "model": model} | known | more


def test_only_headers_that_may_pass_reach_the_provider(sdk, make_sdk, behind):
    model = f"seen-{sdk.way}"
    sdk = make_sdk(organization="org-ours", project="proj-ours", default_headers={"x-farthing-run": "run-1"})
    sdk.chat(model, extra_headers={"traceparent": "00-1-2-03", "cookie": "a=b", "x-anything": "else"})
    headers = behind.last(model)["headers"]
    assert headers["user-agent"].startswith(("OpenAI/Python", "AsyncOpenAI/Python"))
    assert headers["x-stainless-lang"] == "python"
    assert headers["traceparent"] == "00-1-2-03"
    assert headers["accept-encoding"] == "identity"
    assert not {"authorization", "cookie", "openai-organization", "openai-project", "x-anything"} & headers.keys()
    assert not [name for name in headers if name.startswith("x-farthing-")]


def test_a_stream_without_its_terminator_ends_well_if_it_said_why(sdk):
    assert text_of(sdk.stream("chat-without-done")) == "No terminator follows."


def test_an_answer_without_usage_is_estimated_and_says_so(sdk, ledger):
    answer = sdk.chat("chat-without-usage")
    assert answer.usage is None
    attempt = ledger.attempts(answer._request_id)[0]
    assert (attempt["fate"], attempt["source"]) == ("completed", "estimated")
    assert attempt["output_tokens"] > 0


def test_a_long_conversation_goes_and_comes_back_whole(sdk):
    said = "".join(f"{line:07} INFO load_orders wrote a row\n" for line in range(2_500))
    assert sdk.chat("chat-echo", said).choices[0].message.content == said
