"""What the cases share: the SDK called both ways, and eyes behind the gateway.

`tests/it/sdk.rs` starts the world and says in the environment where everything is.
"""

import asyncio
import json
import os
import socket
import sqlite3
import time
import urllib.request

import pytest
from openai import AsyncOpenAI, OpenAI

BASE_URL = os.environ["FARTHING_BASE_URL"]
OPEN_BASE_URL = os.environ["FARTHING_OPEN_BASE_URL"]
KEY = os.environ["FARTHING_KEY"]
NARROW_KEY = os.environ["FARTHING_NARROW_KEY"]

# No wait of a case comes near it; a case that would hang fails instead.
PATIENCE = 20.0


class Sdk:
    """The SDK's client, called the synchronous or the asynchronous way."""

    def __init__(self, way, **options):
        self.way = way
        options = {"base_url": BASE_URL, "api_key": KEY, "max_retries": 0, "timeout": PATIENCE} | options
        if way == "sync":
            self.client, self.loop = OpenAI(**options), None
        else:
            self.client, self.loop = AsyncOpenAI(**options), asyncio.new_event_loop()

    def run(self, call):
        """Calls the SDK and gives what it returns."""
        if self.loop is None:
            return call(self.client)

        async def awaited():
            return await call(self.client)

        return self.loop.run_until_complete(awaited())

    def collect(self, call):
        """Calls the SDK for something to iterate over, and gives all of it."""
        return list(self.each(call))

    def each(self, call):
        """Calls the SDK for something to iterate over, and iterates one step at a time."""
        stream = self.run(call)
        if self.loop is None:
            yield from stream
            return
        steps = stream.__aiter__()
        while True:
            try:
                item = self.loop.run_until_complete(steps.__anext__())
            except StopAsyncIteration:
                return
            yield item

    def collect_models(self):
        """All listed models."""
        return self.collect(lambda client: client.models.list())

    def within(self, call, use):
        """Enters what the SDK returns as a context, and hands it to `use`."""
        if self.loop is None:
            with call(self.client) as entered:
                return use(entered)

        async def awaited():
            async with call(self.client) as entered:
                return await use(entered)

        return self.loop.run_until_complete(awaited())

    def finish(self, value):
        """Awaits `value` if it is to be awaited."""
        return value if self.loop is None else self.loop.run_until_complete(value)

    def chat(self, model, say="hi", **more):
        """One chat completion."""
        return self.run(lambda client: client.chat.completions.create(**ask(model, say, **more)))

    def raw(self, model, say="hi", **more):
        """One chat completion with its HTTP response."""
        return self.run(lambda client: client.chat.completions.with_raw_response.create(**ask(model, say, **more)))

    def stream(self, model, say="hi", **more):
        """All chunks of one streamed chat completion."""
        return self.collect(lambda client: client.chat.completions.create(**ask(model, say, stream=True, **more)))

    def close(self):
        self.finish(self.client.close())
        if self.loop is not None:
            self.loop.run_until_complete(self.loop.shutdown_asyncgens())
            self.loop.close()


def ask(model, say="hi", **more):
    """The arguments of a chat completion; `messages` among them replace the plain question."""
    return {"model": model, "messages": [{"role": "user", "content": say}]} | more


def text_of(chunks):
    """The text that the chunks of a stream add up to."""
    return "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)


class Behind:
    """What the scripted provider saw."""

    def look(self, path):
        with urllib.request.urlopen(os.environ["FARTHING_BEHIND"] + path, timeout=PATIENCE) as answer:
            return json.load(answer)

    def requests(self, model):
        """The requests for `model` so far, oldest first."""
        return self.look(f"/requests/{model}")

    def last(self, model):
        """The newest request for `model`."""
        return self.requests(model)[-1]

    def arrived(self, model):
        """Waits until a request for `model` has arrived."""
        return self.look(f"/arrived/{model}")

    def hung_up(self, model):
        """Waits until the provider has seen somebody hang up on `model`."""
        return [seen for seen in self.look(f"/hung-up/{model}") if seen["hung_up"]]

    def release(self):
        """Lets stalled answers go on."""
        self.look("/release")


class Ledger:
    """The ledger's views, as any outsider reads them."""

    def __init__(self, path):
        self.views = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
        self.views.row_factory = sqlite3.Row

    def rows(self, sql, *values):
        return [dict(row) for row in self.views.execute(sql, values)]

    def until(self, sql, *values, count=1):
        """The rows once there are `count`: SQLite tells other processes nothing, so this looks again and again."""
        deadline = time.monotonic() + PATIENCE
        while len(rows := self.rows(sql, *values)) < count:
            assert time.monotonic() < deadline, f"{len(rows)} of {count} rows: {sql} {values}"
            time.sleep(0.005)
        return rows

    def request(self, request_id):
        """The closed row of a request."""
        sql = "select * from requests_v1 where request_id = ? and status <> 'open'"
        return self.until(sql, request_id)[0]

    def attempts(self, request_id):
        """The attempts of a closed request, in order."""
        self.request(request_id)
        return self.rows("select * from attempts_v1 where request_id = ? order by attempt_id", request_id)

    def of_user(self, user, count=1):
        """The closed requests of a user: cases that get no request id make one up."""
        return self.until("select * from requests_v1 where user = ? and status <> 'open'", user, count=count)

    def closed(self, model, count=1):
        """The closed requests that asked for `model`."""
        sql = "select * from requests_v1 where model = ? and status <> 'open' order by request_id"
        return self.until(sql, model, count=count)


@pytest.fixture(params=["sync", "async"])
def way(request):
    return request.param


@pytest.fixture
def make_sdk(way):
    """Makes clients with options of their own."""
    made = []

    def make(**options):
        made.append(Sdk(way, **options))
        return made[-1]

    yield make
    for sdk in made:
        sdk.close()


@pytest.fixture
def sdk(make_sdk):
    return make_sdk()


@pytest.fixture(scope="session")
def behind():
    return Behind()


@pytest.fixture(scope="session")
def ledger():
    return Ledger(os.environ["FARTHING_LEDGER"])


@pytest.fixture
def unused_port():
    """A port that refuses connections."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]
