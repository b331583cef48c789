"""Agents of others' making, at rows of every kind: their loops close, their schemas are filled."""

import pytest
from conftest import BASE_URL, KEY, ROOT_URL
from pydantic import BaseModel

pytest.importorskip("langchain_openai", reason="the previous majors are tested without what is built on the current ones")

from langchain.agents import create_agent  # noqa: E402
from langchain_openai import ChatOpenAI  # noqa: E402
from pydantic_ai import Agent, NativeOutput  # noqa: E402
from pydantic_ai.models.anthropic import AnthropicModel  # noqa: E402
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel  # noqa: E402
from pydantic_ai.providers.anthropic import AnthropicProvider  # noqa: E402
from pydantic_ai.providers.openai import OpenAIProvider  # noqa: E402

ROWS = ["claude-opus-5", "gpt-4o", "o3"]
QUESTION = "why is it late?"
ANSWER = "Retry load_orders: 0 rows."


class Verdict(BaseModel):
    task: str
    retry: bool
    after_minutes: int


class Seen:
    """Tools that remember what they were asked."""

    def __init__(self):
        self.asked = []

    def tools(self):
        def task_log(task: str) -> str:
            """The log of a task."""
            self.asked.append(("task_log", task))
            return "no new files"

        def row_count(table: str) -> str:
            """How many rows a table has."""
            self.asked.append(("row_count", table))
            return "0 rows"

        return [task_log, row_count]

    def check(self):
        # They may run at once.
        assert sorted(self.asked) == [("row_count", "orders"), ("task_log", "load_orders")]


def langchain(model, **more):
    return ChatOpenAI(model=model, base_url=BASE_URL, api_key=KEY, max_retries=0, **more)


def check_booked(ledger, model, count=2):
    rows = ledger.closed(model, count=count)
    assert len(rows) == count and all(row["status"] == "ok" and row["cost_nano"] > 0 for row in rows)


@pytest.mark.parametrize("row", ROWS)
def test_an_agent_of_langchain_closes_its_loop(ledger, row):
    seen, model = Seen(), f"{row}-loop-langchain"
    agent = create_agent(langchain(model), tools=seen.tools())
    said = agent.invoke({"messages": [{"role": "user", "content": QUESTION}]})["messages"]
    assert (said[-1].text, said[-1].usage_metadata["output_tokens"] > 0) == (ANSWER, True)
    seen.check()
    check_booked(ledger, model)


@pytest.mark.parametrize("row", ROWS)
def test_a_stream_and_a_schema_of_langchain_come_back(row):
    pieces = list(langchain(f"{row}-many", stream_usage=True).stream("hi"))
    assert len("".join(piece.text for piece in pieces).split()) == 40 and len(pieces) > 30
    assert sum(piece.usage_metadata["output_tokens"] for piece in pieces if piece.usage_metadata) >= 40
    filled = langchain(f"{row}-verdict").with_structured_output(Verdict).invoke("hi")
    assert filled == Verdict(task="load_orders", retry=True, after_minutes=5)


def of_openai(model):
    return OpenAIChatModel(model, provider=OpenAIProvider(base_url=BASE_URL, api_key=KEY))


def of_anthropic(model):
    return AnthropicModel(model, provider=AnthropicProvider(base_url=ROOT_URL, api_key=KEY))


def in_responses(model):
    return OpenAIResponsesModel(model, provider=OpenAIProvider(base_url=BASE_URL, api_key=KEY))


@pytest.mark.parametrize("row", ROWS)
@pytest.mark.parametrize(("name", "make"), [("openai", of_openai), ("anthropic", of_anthropic)])
def test_an_agent_of_pydantic_closes_its_loop(ledger, row, name, make):
    seen, model = Seen(), f"{row}-loop-pydantic-{name}"
    ended = Agent(make(model), tools=seen.tools()).run_sync(QUESTION)
    assert ended.output == ANSWER
    seen.check()
    check_booked(ledger, model)


# It asks Anthropic's side for a schema only where it knows the model.
@pytest.mark.parametrize(
    ("row", "make"),
    [(row, make) for row in ROWS for make in (of_openai, in_responses)] + [("claude-opus-5", of_anthropic)],
)
def test_a_schema_of_pydantic_is_filled(row, make):
    ended = Agent(make(f"{row}-verdict"), output_type=NativeOutput(Verdict)).run_sync("hi")
    assert ended.output == Verdict(task="load_orders", retry=True, after_minutes=5)
