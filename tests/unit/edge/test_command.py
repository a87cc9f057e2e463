import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from edge.main import app


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("SERVER", "AGENT", "API_KEY"):
        monkeypatch.delenv(f"EDGEWISE_{name}", raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")


@pytest.mark.parametrize("command", ["run", "talk", "devices", "doctor"])
def test_every_command_explains_itself(command: str) -> None:
    result = CliRunner().invoke(app, [command, "--help"])
    assert result.exit_code == 0
    assert "Usage" in result.output


def test_a_talk_without_a_key_says_where_the_key_goes(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["talk", "--agent", "a", "--wav", str(tmp_path / "x.wav")])
    assert result.exit_code == 2
    assert "EDGEWISE_API_KEY" in result.output


def test_a_talk_with_a_file_that_is_no_recording_names_it(tmp_path: Path) -> None:
    notes = tmp_path / "notes.wav"
    notes.write_text("milk, eggs, bread\n" * 100)
    arguments = ["talk", "--agent", "a", "--api-key", "secret-key", "--wav", str(notes), "--json"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2
    assert "notes.wav" in result.output
    assert "secret-key" not in result.output


def test_a_doctor_without_settings_still_looks_at_the_device() -> None:
    result = CliRunner().invoke(app, ["doctor", "--json"])
    assert result.exit_code == 1
    findings = {entry["what"]: entry for entry in json.loads(result.output)}
    assert findings["Opus"]["state"] == "ok"
    assert findings["settings"]["state"] == "failed"
    assert "--agent" in findings["settings"]["detail"]
