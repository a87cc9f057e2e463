"""The page on tools: its programs run as they stand, its events are events."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from schemas.session_events import ToolCall, ToolResultEvent, read_client_event, read_server_event
from tests.servers.parts import KEY
from tests.servers.system import clean_environment

PAGE = (Path(__file__).parents[3] / "docs" / "tools.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.parametrize("program", [each for each in blocks("python") if "httpx" in each])
def test_the_programs_work(client: httpx.Client, program: str) -> None:
    environment = clean_environment(EDGEWISE_SERVER=str(client.base_url), EDGEWISE_API_KEY=KEY)
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_events_are_ones() -> None:
    asked, answered = blocks("json")
    assert isinstance(read_server_event(asked), ToolCall)
    assert isinstance(read_client_event(answered), ToolResultEvent)


def test_the_program_of_the_device_takes_arguments_and_answers(tmp_path: Path) -> None:
    (program,) = [each for each in blocks("python") if "pinctrl" in each]
    pin = tmp_path / "pinctrl"
    pin.write_text(f"#!/bin/sh\necho $* > {tmp_path}/pin\n")
    pin.chmod(0o755)
    done = subprocess.run(
        [sys.executable, "-c", program],
        input=json.dumps({"room": "hall", "on": True}),
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert json.loads(done.stdout) == {"state": "on"}
    assert (tmp_path / "pin").read_text() == "set 17 op dh\n"
