"""A gateway that is told to stop: what runs ends well, what comes is sent elsewhere, and nothing is lost."""

import json
import os
import subprocess
from pathlib import Path

import openai
import pytest
from conftest import PATIENCE, Ledger, Sdk, ask, text_of

FOLDER = Path(os.environ["FARTHING_FOLDER"])
CONFIG = """
server: {{ listen: 127.0.0.1:0, admin_listen: 127.0.0.1:0, drain_timeout: 20s }}
prices: prices.yaml
ledger: {{ path: own.db }}
providers:
  sim: {{ protocol: openai, vendor: openai, base_url: {provider}, models: ["*"] }}
"""


@pytest.fixture
def own_gateway():
    """A gateway process that the case may stop, with a ledger that is held against the invoice like the others."""
    config = FOLDER / "own.yaml"
    config.write_text(CONFIG.format(provider=os.environ["FARTHING_PROVIDER_BASE_URL"]))
    command = [os.environ["FARTHING_BINARY"], "serve", "--config", str(config)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            told = next(event for event in map(json.loads, process.stderr) if event["event"] == "listening")
            process.base_url = f"http://{told['listen']}/v1"
            yield process
        finally:
            process.kill()


def test_a_stream_ends_well_while_new_requests_are_sent_elsewhere(own_gateway, behind):
    sdk = Sdk("sync", base_url=own_gateway.base_url)
    stream = sdk.run(lambda client: client.chat.completions.create(**ask("stalls-drain", stream=True)))
    chunks = [next(stream)]
    own_gateway.terminate()
    with pytest.raises(openai.InternalServerError) as refused:
        while True:
            sdk.chat("chat-plain")
    assert (refused.value.status_code, refused.value.code) == (503, "draining")
    assert int(refused.value.response.headers["retry-after"]) > 0
    behind.release()
    chunks += stream
    assert text_of(chunks) == "Said while it shuts down."
    own_gateway.communicate(timeout=PATIENCE)
    assert own_gateway.returncode == 0
    with pytest.raises(openai.APIConnectionError):
        sdk.chat("chat-plain")
    sdk.close()
    rows = Ledger(FOLDER / "own.db").rows("select fate, source from attempts_v1 where model = 'stalls-drain'")
    assert rows == [{"fate": "completed", "source": "reported"}]
