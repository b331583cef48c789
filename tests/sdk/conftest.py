"""What the cases share: the SDK called both ways.

`tests/it/sdk.rs` starts the world and says in the environment where everything is.
"""

import os
import socket

import pytest
from eyes import PATIENCE, Behind, Ledger
from openai import AsyncOpenAI, OpenAI
from ways import BothWays

BASE_URL = os.environ["FARTHING_BASE_URL"]
OPEN_BASE_URL = os.environ["FARTHING_OPEN_BASE_URL"]
KEY = os.environ["FARTHING_KEY"]
NARROW_KEY = os.environ["FARTHING_NARROW_KEY"]


class Sdk(BothWays):
    """The SDK's client of the gateway with keys."""

    def __init__(self, way, **options):
        super().__init__(way, (OpenAI, AsyncOpenAI), **({"base_url": BASE_URL, "api_key": KEY} | options))

    def collect_models(self):
        """All listed models."""
        return self.collect(lambda client: client.models.list())

    def chat(self, model, say="hi", **more):
        """One chat completion."""
        return self.run(lambda client: client.chat.completions.create(**ask(model, say, **more)))

    def raw(self, model, say="hi", **more):
        """One chat completion with its HTTP response."""
        return self.run(lambda client: client.chat.completions.with_raw_response.create(**ask(model, say, **more)))

    def stream(self, model, say="hi", **more):
        """All chunks of one streamed chat completion."""
        return self.collect(lambda client: client.chat.completions.create(**ask(model, say, stream=True, **more)))


def ask(model, say="hi", **more):
    """The arguments of a chat completion; `messages` among them replace the plain question."""
    return {"model": model, "messages": [{"role": "user", "content": say}]} | more


def text_of(chunks):
    """The text that the chunks of a stream add up to."""
    return "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)


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


# Clients are dear to make: each way has one for the cases that want nothing special.
@pytest.fixture(scope="session")
def sdks():
    made = {way: Sdk(way) for way in ("sync", "async")}
    yield made
    for sdk in made.values():
        sdk.close()


@pytest.fixture
def sdk(sdks, way):
    return sdks[way]


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
