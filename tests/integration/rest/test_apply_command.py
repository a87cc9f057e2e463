"""`edgewise apply` and `edgewise export` against a running gateway."""

import contextlib
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from schemas.ids import agent_id_of
from tests.servers.cli import run_here
from tests.servers.parts import KEY
from tests.servers.planted import found_in, planted
from tests.servers.system import clean_environment, command
from workers.settings import Settings

FILE = """
- external_id: kitchen
  name: Kitchen
  system_prompt: You help in a kitchen.
  voice: {voice_id: ivy}
  llm: [{base_url: "https://8.8.8.8/v1", model: m, api_key: "${KITCHEN_KEY}"}]
- external_id: hall
  name: Hall
  system_prompt: You answer in a hall.
  voice: {voice_id: ruby}
"""


@pytest.fixture(scope="module")
def system_settings(module_settings: Settings) -> Settings:
    """SQLite alone: the command knows no database."""
    return module_settings


def run(
    client: httpx.Client, folder: Path, *words: str, **environment: str
) -> "subprocess.CompletedProcess[str]":
    variables = {"EDGEWISE_SERVER": str(client.base_url), "EDGEWISE_API_KEY": KEY, **environment}
    with contextlib.chdir(folder):
        return run_here(clean_environment(**variables), *words)


def run_apart(
    client: httpx.Client, folder: Path, *words: str, **environment: str
) -> "subprocess.CompletedProcess[str]":
    """As `run`, in a process of its own, with a standard output of its own."""
    variables = {"EDGEWISE_SERVER": str(client.base_url), "EDGEWISE_API_KEY": KEY, **environment}
    return subprocess.run(
        [command("edgewise"), *words],
        cwd=folder,
        env=clean_environment(**variables),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def record(client: httpx.Client, name: str) -> dict[str, Any]:
    answer = client.get(f"/v1/agents/{agent_id_of('default', name)}")
    return dict(answer.json()) if answer.status_code == 200 else {}


def test_a_file_is_previewed_applied_exported_and_applied_again(
    client: httpx.Client, tmp_path: Path
) -> None:
    (tmp_path / "agents.yaml").write_text(FILE)
    key = planted("kitchen")
    preview = run(client, tmp_path, "apply", "agents.yaml", "--dry-run", KITCHEN_KEY=key)
    assert preview.returncode == 0, preview.stderr
    assert preview.stdout.splitlines() == ["+ kitchen", "+ hall", "= 0 unchanged"]
    assert record(client, "kitchen") == {}

    applied = run(client, tmp_path, "apply", "agents.yaml", KITCHEN_KEY=key)
    assert applied.returncode == 0, applied.stderr
    assert applied.stdout.strip() == "created 2, updated 0, unchanged 0, deleted 0, failed 0"
    before = record(client, "kitchen")
    assert before["llm"] == [{"base_url": "https://8.8.8.8/v1", "model": "m"}]

    for form in ("yaml", "ndjson", "csv"):
        name = f"out.{form}"
        exported = run(client, tmp_path, "export", "--format", form, "--out", name)
        assert exported.returncode == 0, exported.stderr
        again = run(client, tmp_path, "apply", name)
        assert again.returncode == 0, again.stderr
        assert "updated 0, unchanged 2" in again.stdout
    assert record(client, "kitchen") == before, "an exported file keeps models and their keys"

    changed = yaml.safe_load((tmp_path / "out.yaml").read_text())
    for agent in changed:
        if agent["external_id"] == "hall":
            agent["greeting"] = "Hello"
    changed.append({"external_id": "kitchen", "delete": True})
    (tmp_path / "changed.json").write_text(json.dumps(changed))
    preview = run(client, tmp_path, "apply", "changed.json", "--dry-run")
    assert preview.stdout.splitlines() == [
        "~ hall",
        '    greeting: null -> "Hello"',
        "- kitchen",
        "= 1 unchanged",
    ]
    done = run(client, tmp_path, "apply", "changed.json")
    assert "created 0, updated 1, unchanged 1, deleted 1, failed 0" in done.stdout
    assert record(client, "kitchen") == {}
    written = [preview, applied, exported, again, done]
    assert not found_in("".join(each.stdout + each.stderr for each in written).encode())


def test_rows_that_fail_are_shown_with_their_lines_and_the_exit_code(
    client: httpx.Client, tmp_path: Path
) -> None:
    lines = [
        "external_id,name,system_prompt,voice.voice_id,llm.0.base_url,llm.0.model,llm.0.api_key",
        "cellar,Cellar,b,ivy,,,",
        'attic,"5" pipe,b,ivy,,,',
        "garage,Garage,b,nobody,,,",
        "garden,Garden,b,ivy,https://8.8.8.8/v1,m,${NOT_SET_ANYWHERE}",
    ]
    (tmp_path / "agents.csv").write_text("\n".join(lines))
    done = run(client, tmp_path, "apply", "agents.csv")
    assert done.returncode == 1
    assert done.stdout.strip() == "created 1, updated 0, unchanged 0, deleted 0, failed 3"
    told = [line.partition(": ")[0] for line in done.stderr.splitlines() if ".csv:" in line]
    assert told == ["agents.csv:3", "agents.csv:4", "agents.csv:5"]
    assert "NOT_SET_ANYWHERE is not set" in done.stderr
    assert record(client, "cellar")["name"] == "Cellar"


def test_in_yaml_the_line_of_the_field_is_named_that_was_refused(
    client: httpx.Client, tmp_path: Path
) -> None:
    (tmp_path / "agents.yaml").write_text(
        FILE.replace("voice_id: ruby", "voice_id: nobody").replace("name: Kitchen", "nam: Kitchen")
    )
    for words in ((), ("--dry-run",)):
        done = run(client, tmp_path, "apply", "agents.yaml", *words, KITCHEN_KEY="sk-1")
        assert done.returncode == 1
        told = re.findall(r"^agents.yaml:\d+: \w+", done.stderr, re.MULTILINE)
        assert told == ["agents.yaml:2: name", "agents.yaml:10: voice"], done.stderr


def test_what_json_does_not_know_is_refused_in_yaml_with_and_without_dry_run(
    client: httpx.Client, tmp_path: Path
) -> None:
    wrong = FILE.replace("name: Kitchen", "name: 2024-01-02")
    (tmp_path / "agents.yaml").write_text(f"{wrong}  greeting: Grüße 😀\n  greeting: b\n")
    for words in ((), ("--dry-run",)):
        done = run(client, tmp_path, "apply", "agents.yaml", *words, KITCHEN_KEY="sk-1")
        assert done.returncode == 1
        told = re.findall(r"^agents.yaml:(\d+): ", done.stderr, re.MULTILINE)
        assert told == ["3", "12"], done.stderr


def test_rows_that_fail_for_what_is_stored_fail_in_the_preview_as_well(
    client: httpx.Client, tmp_path: Path
) -> None:
    keyless = FILE.replace(', api_key: "${KITCHEN_KEY}"', "").replace("kitchen", "pantry")
    (tmp_path / "agents.yaml").write_text(keyless)
    told = []
    for words in (("--dry-run",), ()):
        done = run(client, tmp_path, "apply", "agents.yaml", *words)
        assert done.returncode == 1
        told.append([line for line in done.stderr.splitlines() if line.startswith("agents.yaml:")])
    assert told[0] == told[1]
    assert "llm.0.api_key: there is no stored key" in told[0][0]


def test_what_cannot_be_applied_at_all_is_said_in_one_line(
    client: httpx.Client, tmp_path: Path
) -> None:
    (tmp_path / "agents.txt").write_text("")
    (tmp_path / "broken.yaml").write_text("- {a: [")
    (tmp_path / "empty.ndjson").write_text("")
    (tmp_path / "good.ndjson").write_text('{"external_id": "a", "delete": true}')
    for words, environment, reason in (
        (("agents.txt",), {}, "has to end in"),
        (("broken.yaml",), {}, "not valid YAML"),
        (("empty.ndjson",), {}, "no agents"),
        (("empty.ndjson", "--dry-run"), {}, "no agents"),
        (("good.ndjson",), {"EDGEWISE_API_KEY": "wrong-key-0123456789"}, "401"),
        (("good.ndjson", "--server", "http://127.0.0.1:1"), {}, "ConnectError"),
    ):
        done = run(client, tmp_path, "apply", *words, **environment)
        assert done.returncode == 1
        assert reason in done.stderr
        assert "Traceback" not in done.stderr
