"""The page on configuring agents: what it shows is run here as it stands."""

import os
import re
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from schemas.error import ErrorBody
from tests.servers.parts import KEY
from tests.servers.system import clean_environment, command

PAGE = (Path(__file__).parents[3] / "docs" / "configure.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def run(words: list[str], client: httpx.Client, folder: Path) -> str:
    path = f"{Path(command('edgewise')).parent}:{os.environ['PATH']}"
    environment = clean_environment(
        EDGEWISE_SERVER=str(client.base_url), EDGEWISE_API_KEY=KEY, PATH=path
    )
    done = subprocess.run(
        words, env=environment, cwd=folder, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_shell_commands_work_one_after_another(client: httpx.Client, tmp_path: Path) -> None:
    shown = run(["bash", "-euc", "\n".join(blocks("sh"))], client, tmp_path)
    assert '"name":"Front desk"' in shown
    assert '"voice_id":"ivy"' in shown
    assert "created 0, updated 0, unchanged" in shown


@pytest.mark.parametrize("program", blocks("python"))
def test_the_python_programs_work(client: httpx.Client, program: str, tmp_path: Path) -> None:
    run([sys.executable, "-c", program], client, tmp_path)


def test_the_error_that_is_shown_is_the_one_that_is_answered(client: httpx.Client) -> None:
    (shown,) = blocks("json")
    body = {"name": "a", "system_prompt": "b", "voice": {"voice_id": "x"}}
    told = client.post("/v1/agents", json=body).json()
    expected = ErrorBody.model_validate_json(shown).model_dump(mode="json")
    assert {**told, "request_id": ""} == {**expected, "request_id": ""}
