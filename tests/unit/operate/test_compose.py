import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from edge.main import app as device_app
from edge.settings import DeviceSettings
from workers.main import app as server_app
from workers.secrets.key_ring import KEYS_VARIABLE
from workers.secrets.sealing import PUBLIC_VARIABLE
from workers.secrets.secret_box import BOX_VARIABLE
from workers.secrets.unsealing import PRIVATE_VARIABLE
from workers.settings import Settings

FOLDER = Path(__file__).resolve().parents[3] / "compose"
COMPOSE: dict[str, Any] = yaml.safe_load((FOLDER / "compose.yaml").read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]
PROGRAMS = {
    "edgewise": typer.main.get_command(server_app),
    "edgewise-device": typer.main.get_command(device_app),
}
OF_THE_STORES = {
    "redis-server": {"redis"},
    "redis-cli": {"redis"},
    "pg_isready": {"postgres"},
}
VARIABLE = re.compile(r"\$\{([A-Z_]+)")


def settings_of(model: type[Settings] | type[DeviceSettings]) -> set[str]:
    return {f"EDGEWISE_{name.upper()}" for name in model.model_fields}


KEYS = {PUBLIC_VARIABLE, PRIVATE_VARIABLE, KEYS_VARIABLE, BOX_VARIABLE}
KNOWN = settings_of(Settings) | settings_of(DeviceSettings) | KEYS


def check_command(words: list[str]) -> None:
    """Follow the words through the command tree; raises where one is not there."""
    command: Any = PROGRAMS[words[0]]
    rest = words[1:]
    while hasattr(command, "commands"):
        command = command.commands[rest.pop(0)]
    with command.make_context(words[0], rest, resilient_parsing=False):
        pass


def commands() -> list[tuple[str, list[str]]]:
    found = []
    for name, service in SERVICES.items():
        if "command" in service:
            found.append((name, service["command"]))
        if "healthcheck" in service:
            assert service["healthcheck"]["test"][0] == "CMD"
            found.append((name, service["healthcheck"]["test"][1:]))
    for file in FOLDER.glob("*.Dockerfile"):
        starts = re.findall(r"^(?:HEALTHCHECK .*)?CMD (\[.*\])$", file.read_text(), re.MULTILINE)
        found += [(file.name, yaml.safe_load(start)) for start in starts]
    return found


@pytest.mark.parametrize(("where", "words"), commands(), ids=str)
def test_every_command_is_one_of_the_command_line(where: str, words: list[str]) -> None:
    if words[0] in OF_THE_STORES:
        assert where in OF_THE_STORES[words[0]]
    else:
        check_command(words)


def test_the_check_itself_notices_a_command_that_is_not_there() -> None:
    with pytest.raises(KeyError):
        check_command(["edgewise", "worker", "sleep"])


@pytest.mark.parametrize("name", SERVICES)
def test_every_variable_of_ours_is_a_setting(name: str) -> None:
    given = SERVICES[name].get("environment", {})
    assert {variable for variable in given if variable.startswith("EDGEWISE_")} <= KNOWN


def test_every_part_runs_once_and_the_server_parts_are_checked_for_health() -> None:
    ours = {
        shlex.join(service["command"])
        for service in SERVICES.values()
        if service.get("command", ["-"])[0].startswith("edgewise")
    }
    assert ours == {
        "edgewise db upgrade",
        "edgewise gateway",
        "edgewise llm-gateway",
        "edgewise worker turns",
        "edgewise worker config",
        "edgewise-device run",
    }
    unchecked = {name for name, service in SERVICES.items() if "healthcheck" not in service}
    assert unchecked == {"migrate", "device"}


def test_the_example_names_every_variable_that_compose_asks_for_and_no_other() -> None:
    lines = (FOLDER / "example.env").read_text().splitlines()
    named = {match[1] for line in lines if (match := re.match(r"#?([A-Z_]+)=", line))}
    asked = set(VARIABLE.findall((FOLDER / "compose.yaml").read_text()))
    assert named == asked
    assert {name for name in named if name.startswith("EDGEWISE_")} <= KNOWN


def test_each_part_gets_the_keys_that_it_needs_and_no_other() -> None:
    given = {name: KEYS & set(service.get("environment", {})) for name, service in SERVICES.items()}
    assert {name: keys for name, keys in given.items() if keys} == {
        "gateway": {PUBLIC_VARIABLE, BOX_VARIABLE},
        "config-worker": {PRIVATE_VARIABLE, KEYS_VARIABLE, BOX_VARIABLE},
        "turn-worker": {KEYS_VARIABLE},
    }


def test_no_secret_has_a_default() -> None:
    text = (FOLDER / "compose.yaml").read_text()
    for name in VARIABLE.findall(text):
        if name.endswith(("PASSWORD", "_API_KEY")):
            assert not re.search(rf"\$\{{{name}:-[^}}]", text)


def test_images_run_as_a_user_without_rights() -> None:
    for file in FOLDER.glob("*.Dockerfile"):
        last_user = [line for line in file.read_text().splitlines() if line.startswith("USER ")][-1]
        assert last_user == "USER edgewise"
