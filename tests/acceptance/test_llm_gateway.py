"""A conversation whose agent brings our own LLM gateway as its model, through the whole system."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.acceptance.model import Model
from tests.acceptance.talking import talk
from tests.servers.system import System, clean_environment, command, running_system

FILE = """
[models.told]
base_url = "{model}"
model = "mine"
api_key_env = "OPERATORS_KEY"
region = "cellar"
"""
OPERATORS_KEY = "sk-of-the-operator"


@pytest.fixture(scope="module")
def upstream() -> Iterator[Model]:
    with Model() as served:
        yield served


@pytest.fixture(scope="module")
def system(upstream: Model, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    file = tmp_path_factory.mktemp("models") / "models.toml"
    file.write_text(FILE.format(model=upstream.url))
    with running_system(
        EDGEWISE_LLM_GATEWAY_MODELS=str(file),
        EDGEWISE_LLM_ALLOW="127.0.0.1",
        OPERATORS_KEY=OPERATORS_KEY,
    ) as running:
        yield running


@pytest.fixture(scope="module")
def gateway(system: System) -> Iterator[httpx.Client]:
    """The LLM gateway of the system, with a key of a user's own."""
    url = json.loads((system.home / "run" / "llm-gateway.json").read_text())["url"]
    made = subprocess.run(
        [command("edgewise"), "keys", "create", "--scope", "llm"],
        env=clean_environment(EDGEWISE_HOME=str(system.home)),
        cwd=system.home,
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    headers = {"Authorization": f"Bearer {made.stdout.strip()}"}
    with httpx.Client(base_url=url, headers=headers, trust_env=False) as client:
        yield client


def agent_on(system: System, gateway: httpx.Client, model: str) -> str:
    key = gateway.headers["authorization"].removeprefix("Bearer ")
    base_url = f"{str(gateway.base_url).rstrip('/')}/v1"
    return system.agent(llm=[{"base_url": base_url, "model": model, "api_key": key}])


def test_a_spoken_turn_goes_through_our_llm_gateway_to_the_model_behind_it(
    system: System, gateway: httpx.Client, upstream: Model, go_forward: Path
) -> None:
    upstream.says("I am behind the gateway.")

    heard = talk(system, agent_on(system, gateway, "told"), go_forward)

    assert heard.code == 0, heard
    assert heard.turn["reply_text"] == "I am behind the gateway."
    request = upstream.requests[-1]
    assert request.headers["authorization"] == f"Bearer {OPERATORS_KEY}"
    assert request.headers["x-edgewise-turn-id"].startswith("turn_")
    used = gateway.get("/v1/usage").raise_for_status().json()["data"]
    assert {row["model"] for row in used} == {"told"}


@pytest.mark.slow
def test_the_built_in_responder_answers_under_its_name(
    system: System, gateway: httpx.Client, upstream: Model, go_forward: Path
) -> None:
    upstream.reset()

    heard = talk(system, agent_on(system, gateway, "edgewise-offline"), go_forward)

    assert heard.code == 0, heard
    assert heard.turn["reply_text"]
    assert upstream.requests == []


@pytest.mark.slow
def test_what_the_gateway_refuses_is_heard_and_has_its_class(
    system: System, gateway: httpx.Client, go_forward: Path
) -> None:
    heard = talk(system, agent_on(system, gateway, "nobody"), go_forward)

    assert heard.turn["error"]["code"] == "http_4xx", heard
