"""The environment alone: a program that knows nothing of Farthing."""

import os
import subprocess
import sys

from conftest import BASE_URL, KEY

PROGRAM = """
from openai import OpenAI
answer = OpenAI().chat.completions.create(model="{model}", messages=[{{"role": "user", "content": "hi"}}])
print(answer._request_id, answer.choices[0].message.content)
"""


def run_program(model, base_url, key):
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("OPENAI_", "FARTHING_"))}
    said = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(model=model)],
        env=plain | {"OPENAI_BASE_URL": base_url, "OPENAI_API_KEY": key},
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert said.returncode == 0, said.stderr
    return said.stdout.strip().split(" ", 1)


def test_two_variables_are_enough_for_a_client(ledger):
    request_id, text = run_program("frontier", BASE_URL, KEY)
    assert text == "Rerun the load."
    assert ledger.request(request_id)["key"] == "agents"
