"""An agent on a model of its user's own: the key reaches that endpoint, and nothing else."""

import base64
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import psutil
import pytest

from tests.acceptance.listening import sounding_s
from tests.acceptance.model import Model
from tests.acceptance.talking import start_talk, talk
from tests.servers.system import System, clean_environment, command, running_system
from tests.servers.waiting import wait_for

KEY = "sk-own-3b1f"
UNTOUCHED = "nothing was changed"


@pytest.fixture(scope="module")
def both() -> Iterator[tuple[Model, Model]]:
    """The model of the user, and the managed one."""
    with Model() as own, Model() as managed:
        yield own, managed


@pytest.fixture
def own(both: tuple[Model, Model]) -> Model:
    both[0].reset()
    return both[0]


@pytest.fixture
def managed(both: tuple[Model, Model]) -> Model:
    both[1].reset()
    return both[1]


@pytest.fixture(scope="module")
def mine(both: tuple[Model, Model]) -> Iterator[System]:
    """A system whose operator lets users reach both by http, and have a fallback."""
    managed = both[1]
    with running_system(
        EDGEWISE_LLM_ALLOW=",".join(urlsplit(model.url).netloc for model in both),
        EDGEWISE_LLM_FALLBACKS="1",
        EDGEWISE_MANAGED_LLM_BASE_URL=managed.url,
        EDGEWISE_MANAGED_LLM_MODEL="scripted",
        EDGEWISE_MANAGED_LLM_API_KEY="the-operators-key",
        EDGEWISE_LOG_LEVEL="DEBUG",
    ) as running:
        yield running


def entry(url: str, key: str = KEY, model: str = "mine-1") -> dict[str, str]:
    return {"base_url": url, "model": model, "api_key": key}


def change(system: System, agent: str, **fields: object) -> httpx.Response:
    url = f"{system.url}/v1/agents/{agent}"
    return httpx.put(url, json=fields, headers=system.headers, timeout=20)


def test_a_spoken_turn_is_answered_by_the_agents_own_model(
    mine: System, own: Model, managed: Model, go_forward: Path
) -> None:
    own.says("I am your own model.")
    agent = mine.agent(llm=[entry(own.url)])

    heard = talk(mine, agent, go_forward)

    assert heard.code == 0, heard
    assert heard.turn["reply_text"] == "I am your own model."
    assert {request.headers["authorization"] for request in own.requests} == {f"Bearer {KEY}"}
    assert {request.body["model"] for request in own.requests} == {"mine-1"}
    assert managed.requests == []
    assert KEY not in heard.stdout + heard.stderr


def test_a_rotated_key_and_another_model_count_from_the_next_turn_of_a_running_session(
    mine: System, own: Model, managed: Model, go_forward: Path
) -> None:
    own.says("One.", "Two.")
    managed.says("", "", "Three.")
    agent = mine.agent(llm=[entry(own.url)])

    talking = start_talk(mine, agent, go_forward, go_forward, go_forward)
    wait_for("the first turn", lambda: own.requests, within=40)
    rotated = change(mine, agent, llm=[entry(own.url, "sk-own-rotated", "mine-2")])
    wait_for(
        "the second turn",
        lambda: [r for r in own.requests if r.body["model"] == "mine-2"],
        within=40,
    )
    emptied = change(mine, agent, llm=[])
    heard = talking.finish()

    assert (rotated.status_code, emptied.status_code) == (200, 200)
    assert rotated.json()["llm"] == [{"base_url": own.url, "model": "mine-2"}]
    assert [turn["reply_text"] for turn in heard.turns] == ["One.", "Two.", "Three."], heard
    keys = {r.body["model"]: r.headers["authorization"] for r in own.requests}
    assert keys == {"mine-1": f"Bearer {KEY}", "mine-2": "Bearer sk-own-rotated"}


@pytest.mark.slow
def test_a_second_model_of_the_users_answers_when_the_first_stalls(
    mine: System, own: Model, managed: Model, go_forward: Path
) -> None:
    """The second entry's endpoint is the one that serves the managed model elsewhere here."""
    managed.says("I am the second.")
    entries = [entry(own.url, model="stall"), entry(managed.url, "sk-own-second", "mine-2")]
    agent = mine.agent(llm=entries)

    heard = talk(mine, agent, go_forward)

    assert heard.code == 0, heard
    assert heard.turn["reply_text"] == "One moment, please. I am the second."
    answered = heard.turn["model"]
    assert (answered["name"], answered["entry"]) == ("mine-2", 1)
    assert [failed["code"] for failed in answered["failures"]] == ["timeout_first_token"]
    assert heard.turn["timings_ms"]["attempts"] == 2
    assert {r.headers["authorization"] for r in own.requests} == {f"Bearer {KEY}"}
    assert {r.headers["authorization"] for r in managed.requests} == {"Bearer sk-own-second"}


def test_the_gateway_holds_no_key_that_opens_anything(both: tuple[Model, Model]) -> None:
    """Even where the operator gives all keys to `edgewise up` by the environment."""
    private, public, stored = (base64.b64encode(bytes([n]) * 32).decode() for n in (1, 2, 3))
    given = {
        "EDGEWISE_SEALING_PRIVATE_KEY": private,
        "EDGEWISE_SEALING_PUBLIC_KEY": public,
        "EDGEWISE_SECRET_KEYS": stored,
        "EDGEWISE_MANAGED_LLM_BASE_URL": both[1].url,
        "EDGEWISE_MANAGED_LLM_API_KEY": "the-operators-key",
    }
    seen = {}
    with running_system(**given) as system:
        for name in ("gateway", "llm-gateway", "turns", "config"):
            pid = system.part(name)
            assert pid is not None
            seen[name] = {n for n, v in psutil.Process(pid).environ().items() if n in given and v}
            held = [file.path for file in psutil.Process(pid).open_files()]
            assert not [path for path in held if "/keys/" in path]
    public_part = {"EDGEWISE_SEALING_PUBLIC_KEY", "EDGEWISE_MANAGED_LLM_BASE_URL"}
    operators = {"EDGEWISE_MANAGED_LLM_API_KEY"}
    assert seen["gateway"] == public_part
    assert not seen["llm-gateway"] & {"EDGEWISE_SEALING_PRIVATE_KEY", "EDGEWISE_SECRET_KEYS"}
    assert seen["turns"] == public_part | operators | {"EDGEWISE_SECRET_KEYS"}
    assert seen["config"] == public_part | {"EDGEWISE_SEALING_PRIVATE_KEY", "EDGEWISE_SECRET_KEYS"}


@pytest.mark.slow
def test_a_lost_key_is_heard_reported_and_mended_by_its_backup(
    mine: System, own: Model, go_forward: Path, tmp_path: Path
) -> None:
    own.says("I am back.")
    agent = mine.agent(llm=[entry(own.url)])
    (file,) = (mine.home / "keys").glob("*.key")
    backup = file.rename(tmp_path / file.name)
    restart(mine, "turns", "config")

    heard = talk(mine, agent, go_forward, out=tmp_path / "reply.wav")
    refused = change(mine, agent, llm=[entry(own.url, "sk-own-anew")])
    listed = secrets(mine, "list")

    assert heard.turn["error"]["code"] == "credentials_unavailable", heard
    assert sounding_s(tmp_path / "reply.wav") > 0.5
    assert own.requests == []
    assert (refused.status_code, "retry-after" in refused.headers) == (503, True)
    assert UNTOUCHED in refused.json()["message"]
    assert "LOST" in listed.stdout
    assert listed.returncode == 1
    assert "restore" in mine.log("config")

    backup.rename(file)
    assert secrets(mine, "list").returncode == 0
    assert talk(mine, agent, go_forward).turn["reply_text"] == "I am back."
    assert own.requests[-1].headers["authorization"] == f"Bearer {KEY}"


@pytest.mark.slow
def test_a_rotation_of_the_keys_is_not_heard(mine: System, own: Model, go_forward: Path) -> None:
    own.says("Still here.")
    agent = mine.agent(llm=[entry(own.url)])
    rotated = secrets(mine, "rotate")
    assert rotated.returncode == 0, rotated.stderr
    assert talk(mine, agent, go_forward).turn["reply_text"] == "Still here."
    again = mine.agent(llm=[entry(own.url)])
    assert talk(mine, again, go_forward).turn["reply_text"] == "Still here."


def restart(system: System, *parts: str) -> None:
    """Kill parts and wait until the system has them again."""
    before = {name: system.part(name) for name in parts}
    for pid in before.values():
        assert pid is not None
        psutil.Process(pid).send_signal(signal.SIGKILL)
    wait_for("new processes", lambda: all(system.part(name) != pid for name, pid in before.items()))
    # The old workers' words that they are here fade out after 5 s; new ones log that they are.
    wait_for("a ready config worker", lambda: system.log("config").count("is ready") > 1, within=20)
    wait_for("a ready system", system.is_ready, within=30)


def secrets(system: System, *words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [command("edgewise"), "secrets", *words],
        env=clean_environment(EDGEWISE_HOME=str(system.home)),
        cwd=system.home,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
