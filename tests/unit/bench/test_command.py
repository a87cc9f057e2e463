import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from bench import __main__ as bench
from bench.figure import Figure, NotMeasuredError


def slow(*, quick: bool) -> list[Figure]:
    return [Figure("delay", 90 if quick else 100, "ms", 80, note="it rained")]


def broken(*, quick: bool) -> list[Figure]:  # noqa: ARG001  # every measurement takes it
    raise NotMeasuredError("nobody answered")


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> typer.Typer:
    monkeypatch.setattr(bench, "MEASUREMENTS", {"slow": slow, "broken": broken})
    app = typer.Typer()
    app.command()(bench.main)
    return app


def test_a_missed_target_is_told_and_is_no_failure(command: typer.Typer, tmp_path: Path) -> None:
    out = tmp_path / "results.json"
    done = CliRunner().invoke(command, ["--only", "slow", "--quick", "--out", str(out)])
    assert done.exit_code == 0
    assert "missed" in done.stdout
    (entry,) = json.loads(out.read_text())
    assert entry["name"] == "delay"
    assert (entry["value"], entry["unit"], entry["target"]) == (90, "ms", 80)
    assert entry["reached"] is False


def test_what_could_not_be_measured_fails_and_keeps_the_rest(
    command: typer.Typer, tmp_path: Path
) -> None:
    out = tmp_path / "results.json"
    done = CliRunner().invoke(command, ["--out", str(out)])
    assert done.exit_code == 1
    assert "nobody answered" in done.stdout
    assert "not measured: broken" in done.stdout
    assert [entry["value"] for entry in json.loads(out.read_text())] == [100]


def test_an_unknown_measurement_is_refused(command: typer.Typer) -> None:
    assert CliRunner().invoke(command, ["--only", "nonsense"]).exit_code == 2
