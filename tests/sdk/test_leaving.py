"""Clients that leave early, and many at once: the provider sees the one, the ledger all of them."""

import asyncio

import pytest
from conftest import BASE_URL, KEY, PATIENCE, ask, text_of
from openai import AsyncOpenAI


def check_cut(behind, ledger, model):
    assert [seen["hung_up"] for seen in behind.hung_up(model)] == [True]
    [row] = ledger.closed(model)
    assert (row["status"], row["cost_nano"], row["cost_low_nano"]) == ("client_closed", None, 0)
    [attempt] = ledger.attempts(row["request_id"])
    assert (attempt["fate"], attempt["source"]) == ("cut", "unknown")


def test_a_closed_stream_reaches_the_provider_and_is_settled_as_cut(sdk, behind, ledger):
    model = f"stalls-within-{sdk.way}"
    stream = sdk.run(lambda client: client.chat.completions.create(**ask(model, stream=True)))
    first = next(iter(stream)) if sdk.way == "sync" else sdk.finish(anext(stream.__aiter__()))
    assert first.choices[0].delta.role == "assistant"
    sdk.finish(stream.close())
    check_cut(behind, ledger, model)


def test_leaving_the_stream_helper_early_is_a_cut_too(sdk, behind, ledger):
    def use(stream):
        if sdk.way == "sync":
            return next(iter(stream))

        async def awaited():
            return await anext(stream.__aiter__())

        return awaited()

    model = f"stalls-helper-{sdk.way}"
    sdk.within(lambda client: client.chat.completions.stream(**ask(model)), use)
    check_cut(behind, ledger, model)


def test_a_cancelled_task_hangs_up(behind, ledger):
    async def cancelled():
        async with AsyncOpenAI(base_url=BASE_URL, api_key=KEY, max_retries=0, timeout=PATIENCE) as client:
            task = asyncio.create_task(client.chat.completions.create(**ask("stalls-whole-async")))
            while not await asyncio.to_thread(behind.requests, "stalls-whole-async"):
                pass
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            # The client is as good as before.
            return await client.chat.completions.create(**ask("chat-plain"))

    answer = asyncio.run(cancelled())
    assert answer.choices[0].message.content == "Partition 14 is late."
    check_cut(behind, ledger, "stalls-whole-async")


def test_many_streams_at_once_stay_apart_and_are_all_accounted_for(ledger):
    count, run = 64, "many-at-once"

    async def one(client, number):
        model, wanted = [("chat-many", None), ("chat-echo", f"number {number}")][number % 2]
        stream = await client.chat.completions.create(
            **ask(model, wanted or "hi", stream=True, metadata={"run": run, "user": str(number)})
        )
        chunks = [chunk async for chunk in stream]
        assert len({chunk.id for chunk in chunks}) == 1
        text = text_of(chunks)
        assert text == wanted if wanted else len(text.split()) == 40
        return chunks[0].id

    async def all_at_once():
        async with AsyncOpenAI(base_url=BASE_URL, api_key=KEY, max_retries=0, timeout=PATIENCE) as client:
            return await asyncio.gather(*(one(client, number) for number in range(count)))

    assert len(set(asyncio.run(all_at_once()))) == count
    rows = ledger.until("select user, cost_nano from requests_v1 where run = ? and status = 'ok'", run, count=count)
    assert sorted(int(row["user"]) for row in rows) == list(range(count))
    assert all(row["cost_nano"] > 0 for row in rows)
