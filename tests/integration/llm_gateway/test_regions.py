"""Two deployments with a file each, as two regions: one answers where the other cannot."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.acceptance.model import Model
from tests.servers.parts import KEY, Part, client_of, configure, running_part
from workers.settings import Settings

OURS = """
[models.fast]
base_url = "{model}"
model = "mine"
region = "{region}"
"""
OTHERS = """
[models."{region}/fast"]
base_url = "{deployment}/v1"
model = "fast"
api_key_env = "EDGEWISE_API_KEY"
region = "{region}"
"""
ASKED = {"messages": [{"role": "user", "content": "Where are you?"}], "stream": True}


@contextlib.contextmanager
def deployed(folder: Path, file: str) -> Iterator[tuple[Part, httpx.Client]]:
    """Run an LLM gateway of its own with this file."""
    folder.mkdir()
    models = folder / "models.toml"
    models.write_text(file)
    settings = Settings(_env_file=None, home=folder / "home")
    settings = configure(settings, llm_gateway_models=models)
    with (
        running_part(settings, "llm-gateway") as part,
        client_of(settings, part, "llm-gateway") as client,
    ):
        yield part, client


def ask(client: httpx.Client, model: str = "fast", *fallbacks: str) -> tuple[str, str]:
    """Ask for a stream; return the region that answered and what it said."""
    body = {**ASKED, "model": model, "fallbacks": [{"model": name} for name in fallbacks]}
    turn = {"X-Edgewise-Turn-Id": "turn_1"}
    with client.stream("POST", "/v1/chat/completions", json=body, headers=turn) as answer:
        answer.read()
    assert answer.status_code == 200, answer.text
    events = [line.removeprefix("data: ") for line in answer.text.splitlines() if line]
    assert events.pop() == "[DONE]"
    deltas = [json.loads(event)["choices"][0]["delta"] for event in events]
    return answer.headers["x-edgewise-region"], "".join(d.get("content") or "" for d in deltas)


@pytest.fixture(scope="module")
def models() -> Iterator[tuple[Model, Model]]:
    with Model() as here, Model() as there:
        here.says("In Bern.")
        there.says("In Oslo.")
        yield here, there


def test_a_region_answers_for_another_whose_model_fails_stalls_or_is_gone(
    models: tuple[Model, Model], tmp_path: Path
) -> None:
    bern, oslo = models
    north = OURS.format(model=oslo.url, region="north")
    with deployed(tmp_path / "north", north) as (northern, northerly):
        address = str(northerly.base_url).rstrip("/")
        south = OURS.format(model=bern.url, region="south")
        south += OTHERS.format(deployment=address, region="north")
        with deployed(tmp_path / "south", south) as (_, client):
            listed = client.get("/v1/models").json()["data"]
            regions = {each["id"]: each.get("region") for each in listed}
            assert regions == {"edgewise-offline": None, "fast": "south", "north/fast": "north"}

            assert ask(client, "fast", "north/fast") == ("south", "In Bern. ")
            assert ask(client, "north/fast", "fast") == ("north", "In Oslo. ")
            with bern.answers_500():
                assert ask(client, "fast", "north/fast") == ("north", "In Oslo. ")
            with bern.stalls():
                assert ask(client, "fast", "north/fast") == ("north", "In Oslo. ")
            with bern.refuses_connections():
                assert ask(client, "fast", "north/fast") == ("north", "In Oslo. ")
            assert oslo.requests[-1].headers["x-edgewise-turn-id"] == "turn_1"
            assert KEY not in str(oslo.requests[-1].headers)

            used = {
                row["model"]: row["requests"] for row in northerly.get("/v1/usage").json()["data"]
            }
            assert used == {"fast": 4}

            northern.stop()
            assert ask(client, "north/fast", "fast") == ("south", "In Bern. ")
