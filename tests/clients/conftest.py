"""What the cases share: SDKs of both vendors, called both ways, at rows of every kind.

`tests/it/clients.rs` starts the world and says in the environment where everything is. A model is `ROW-CASE`: the same
script at `claude-opus-5`, which is called in Messages, `gpt-4o`, in Chat Completions, and `o3`, in Responses.
"""

import inspect
import os

import anthropic
import openai
import pytest
from eyes import Behind, Ledger
from ways import BothWays

BASE_URL = os.environ["FARTHING_BASE_URL"]
# Anthropic's clients say `/v1` themselves.
ROOT_URL = BASE_URL.removesuffix("/v1")
KEY = os.environ["FARTHING_KEY"]


class Claude(BothWays):
    """Anthropic's SDK; an answer that does not fit its types is an error."""

    def __init__(self, way, **options):
        kinds = (anthropic.Anthropic, anthropic.AsyncAnthropic)
        mine = {"base_url": ROOT_URL, "api_key": KEY, "_strict_response_validation": True}
        super().__init__(way, kinds, **(mine | options))

    def create(self, model, **more):
        """One message."""
        return self.run(lambda client: client.messages.create(**message(model, **more)))

    def raw(self, model, retries=0, **more):
        """One message with its HTTP response."""

        def call(client):
            return client.with_options(max_retries=retries).messages.with_raw_response.create(**message(model, **more))

        raw = self.run(call)
        parsed = raw.parse()
        # Some majors await it.
        return raw, self.finish(parsed) if inspect.isawaitable(parsed) else parsed

    def stream(self, model, **more):
        """All events of one streamed message."""
        return self.collect(lambda client: client.messages.create(**message(model, stream=True, **more)))

    def helped(self, model, **more):
        """What the SDK's helper makes of a streamed message, and the kinds of its events."""

        def use(stream):
            if self.way == "sync":
                return {event.type for event in stream}, stream.get_final_message()

            async def awaited():
                return {event.type async for event in stream}, await stream.get_final_message()

            return awaited()

        return self.within(lambda client: client.messages.stream(**message(model, **more)), use)


class Gpt(BothWays):
    """OpenAI's SDK; an answer that does not fit its types is an error."""

    def __init__(self, way, **options):
        mine = {"base_url": BASE_URL, "api_key": KEY, "_strict_response_validation": True}
        super().__init__(way, (openai.OpenAI, openai.AsyncOpenAI), **(mine | options))

    def create(self, model, **more):
        """One chat completion."""
        return self.run(lambda client: client.chat.completions.create(**chat(model, **more)))

    def raw(self, model, retries=0, **more):
        """One chat completion with its HTTP response."""

        def call(client):
            completions = client.with_options(max_retries=retries).chat.completions
            return completions.with_raw_response.create(**chat(model, **more))

        raw = self.run(call)
        return raw, raw.parse()

    def helped(self, model, **more):
        """What the SDK's helper makes of a streamed completion."""

        def use(stream):
            if self.way == "sync":
                return stream.until_done().get_final_completion()

            async def awaited():
                return await (await stream.until_done()).get_final_completion()

            return awaited()

        return self.within(lambda client: client.chat.completions.stream(**chat(model, **more)), use)

    def stream(self, model, **more):
        """All chunks of one streamed chat completion."""
        return self.collect(lambda client: client.chat.completions.create(**chat(model, stream=True, **more)))


def message(model, say="hi", **more):
    """The arguments of a message; `messages` among them replace the plain question."""
    return {"model": model, "max_tokens": 500, "messages": [{"role": "user", "content": say}]} | more


def chat(model, say="hi", **more):
    """The arguments of a chat completion; `messages` among them replace the plain question."""
    return {"model": model, "messages": [{"role": "user", "content": say}]} | more


def failure(kind, call):
    """The error of exactly that class which `call` raises."""
    with pytest.raises(kind) as raised:
        call()
    assert type(raised.value) is kind, repr(raised.value)
    return raised.value


def check_cut(behind, ledger, model):
    """The provider saw its client hang up, and the books say so."""
    assert [seen["hung_up"] for seen in behind.hung_up(model)] == [True]
    [row] = ledger.closed(model)
    assert (row["status"], row["http_status"]) == ("client_closed", 499)
    assert [attempt["fate"] for attempt in ledger.attempts(row["request_id"])] == ["cut"]


# The ways are the SDK's and the rows are the gateway's: each meets each other once at least where it matters.
SAME = [("claude-opus-5", "sync"), ("claude-opus-5", "async")]
ACROSS = [("gpt-4o", "sync"), ("o3", "async")]


@pytest.fixture(params=SAME + ACROSS, ids="-".join)
def called(request):
    """Whose models are asked for, and the way in which that is done."""
    return request.param


@pytest.fixture
def row(called):
    return called[0]


def each_way(client):
    """Clients of a kind. They are dear to make: each way has one."""
    made = {way: client(way) for way in ("sync", "async")}
    yield made
    for sdk in made.values():
        sdk.close()


@pytest.fixture(scope="session")
def claudes():
    yield from each_way(Claude)


@pytest.fixture
def claude(claudes, called):
    """Anthropic's SDK."""
    return claudes[called[1]]


@pytest.fixture(scope="session")
def gpts():
    yield from each_way(Gpt)


@pytest.fixture(params=["sync", "async"])
def gpt(gpts, request):
    """OpenAI's SDK."""
    return gpts[request.param]


@pytest.fixture(scope="session")
def behind():
    return Behind()


@pytest.fixture(scope="session")
def ledger():
    return Ledger(os.environ["FARTHING_LEDGER"])
