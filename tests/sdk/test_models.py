"""The list of models: what may be asked for, under the names by which it may be asked."""

import openai
import pytest
from conftest import NARROW_KEY


def test_the_list_holds_auto_tiers_and_models_once_each(sdk):
    names = [model.id for model in sdk.collect_models()]
    assert len(names) == len(set(names))
    assert {"auto", "frontier", "reasoning", "lightweight", "chat-plain", "lab/chat-slash"} <= set(names)


def test_every_listed_name_is_found_by_itself(sdk):
    for listed in sdk.collect_models():
        assert sdk.run(lambda client: client.models.retrieve(listed.id)) == listed


@pytest.mark.parametrize("name", ["chat-plain", "sim/chat-plain", "lab/chat-slash", "sim/lab/chat-slash"])
def test_a_model_is_found_under_each_name_that_answers(sdk, name):
    model = sdk.run(lambda client: client.models.retrieve(name))
    assert (model.id, model.object, model.owned_by) == (name, "model", "sim")
    assert sdk.chat(name).model == name.removeprefix("sim/")


def test_an_unknown_model_is_not_found(sdk):
    for name in ["chat-unheard-of", "gone/chat-plain", "nobody/chat-plain"]:
        with pytest.raises(openai.NotFoundError) as unknown:
            sdk.run(lambda client: client.models.retrieve(name))
        assert (unknown.value.code, unknown.value.param) == ("model_not_found", "model")


def test_a_key_sees_what_it_may_ask_for_and_nothing_else(make_sdk):
    sdk = make_sdk(api_key=NARROW_KEY)
    listed = {model.id for model in sdk.collect_models()}
    named = listed - {"auto", "frontier", "reasoning", "lightweight"}
    assert named and all(name.startswith("chat-") for name in named)
    for name in ["json-verdict", "gone-light", "lab/chat-slash"]:
        with pytest.raises(openai.NotFoundError):
            sdk.run(lambda client: client.models.retrieve(name))
