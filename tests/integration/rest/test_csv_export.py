"""A fleet goes into a spreadsheet and back: `edgewise export --format csv`, then `apply`."""

import csv
import json
from pathlib import Path

import httpx
import pytest

from tests.integration.rest.test_apply_command import record, run, system_settings
from tests.servers.planted import found_in, planted

__all__ = ["system_settings"]

PROMPT = '- You answer in a hotel.\n- Say "hello", then ask.\n=HYPERLINK("https://8.8.8.8")'
SENTRY = {
    "name": "=1+1",
    "system_prompt": PROMPT,
    "voice": {"voice_id": "ruby"},
    "greeting": "@everyone, hello",
    "input": {
        "keyterms": ["+49 30", "'tis", "'=x", "7"],
        "turn_detection": {"vad_threshold": 0.75, "interrupt_response": False},
    },
    "output": {"volume": 40},
    "deadlines": {"total": 12.5},
    "tools": [{"name": "look_up", "description": "Looks up.", "parameters": {"type": "object"}}],
}


@pytest.fixture
def folder(client: httpx.Client, tmp_path: Path) -> Path:
    entry = {"base_url": "https://8.8.8.8/v1", "model": "m", "api_key": planted("table")}
    rows = [
        {"external_id": "sentry", **SENTRY, "llm": [entry]},
        {"external_id": "plain", **{n: SENTRY[n] for n in ("name", "system_prompt", "voice")}},
    ]
    (tmp_path / "agents.json").write_text(json.dumps(rows))
    done = run(client, tmp_path, "apply", "agents.json")
    assert done.returncode == 0, done.stderr
    return tmp_path


def exported(client: httpx.Client, folder: Path) -> list[dict[str, str]]:
    done = run(client, folder, "export", "--format", "csv", "--out", "agents.csv")
    assert done.returncode == 0, done.stderr
    with (folder / "agents.csv").open(newline="", encoding="utf-8-sig") as stream:
        return list(csv.DictReader(stream))


def test_a_table_that_is_sent_back_changes_nothing(client: httpx.Client, folder: Path) -> None:
    before = {name: record(client, name) for name in ("sentry", "plain")}
    table = exported(client, folder)
    assert [row["external_id"] for row in table][:2] == ["plain", "sentry"]
    for row in table:
        assert not [cell for cell in row.values() if cell.startswith(tuple("=+-@\t\r"))]
    sentry = table[1]
    assert (sentry["name"], sentry["output.volume"]) == ("'=1+1", "40")
    assert sentry["input.turn_detection.interrupt_response"] == "false"
    assert not [name for name in sentry if name.startswith("tools")]
    assert not found_in((folder / "agents.csv").read_bytes())
    again = run(client, folder, "apply", "agents.csv")
    assert again.returncode == 0, again.stderr
    assert f"created 0, updated 0, unchanged {len(table)}" in again.stdout
    assert {name: record(client, name) for name in before} == before


def test_what_was_edited_in_the_table_is_changed_and_the_rest_stays(
    client: httpx.Client, folder: Path
) -> None:
    table = exported(client, folder)
    (sentry,) = (row for row in table if row["external_id"] == "sentry")
    before = record(client, "sentry")
    sentry |= {"output.volume": "55", "name": "=2+2", "greeting": "", "input.keyterms.1": ""}
    sentry |= {"input.turn_detection.interrupt_response": "TRUE"}
    new = dict.fromkeys(sentry, "") | {
        "external_id": "added",
        "name": "Added",
        "system_prompt": "b",
        "voice.voice_id": "ivy",
    }
    with (folder / "edited.csv").open("w", newline="", encoding="utf-8-sig") as stream:
        writer = csv.DictWriter(stream, list(sentry))
        writer.writeheader()
        writer.writerows([sentry, new])
    done = run(client, folder, "apply", "edited.csv")
    assert done.returncode == 0, done.stderr
    assert "created 1, updated 1, unchanged 0" in done.stdout
    after = record(client, "sentry")
    assert (after["output"]["volume"], after["name"], after["greeting"]) == (55, "=2+2", None)
    assert after["input"]["keyterms"] == ["+49 30", "'=x", "7"]
    assert after["input"]["turn_detection"]["interrupt_response"] is True
    assert {n: after[n] for n in ("tools", "llm", "system_prompt", "deadlines")} == {
        n: before[n] for n in ("tools", "llm", "system_prompt", "deadlines")
    }
    assert record(client, "added")["name"] == "Added"


def test_a_row_of_the_table_is_deleted_as_the_page_says(client: httpx.Client, folder: Path) -> None:
    table = exported(client, folder)
    with (folder / "fewer.csv").open("w", newline="", encoding="utf-8-sig") as stream:
        writer = csv.DictWriter(stream, [*table[0], "delete"], restval="")
        writer.writeheader()
        writer.writerows({**row, "delete": "true"} for row in table[:1])
        writer.writerow({})  # as Excel ends a table that was longer once
    preview = run(client, folder, "apply", "fewer.csv", "--dry-run")
    assert preview.stdout.splitlines() == [f"- {table[0]['external_id']}", "= 0 unchanged"]
    done = run(client, folder, "apply", "fewer.csv")
    assert done.returncode == 0, done.stderr
    assert "updated 0, unchanged 0, deleted 1, failed 0" in done.stdout
    assert record(client, table[0]["external_id"]) == {}


def test_an_agent_that_csv_cannot_hold_is_named_and_the_others_are_written(
    client: httpx.Client, folder: Path
) -> None:
    row = {**SENTRY, "external_id": "windows", "system_prompt": "a\r\nb"}
    (folder / "windows.json").write_text(json.dumps([row]))
    assert run(client, folder, "apply", "windows.json").returncode == 0
    done = run(client, folder, "export", "--format", "csv")
    assert done.returncode == 1
    assert "windows cannot be written as CSV" in done.stderr
    assert "plain" in done.stdout
    assert "windows" not in done.stdout
    gone = '[{"external_id": "windows", "delete": true}]'
    (folder / "gone.json").write_text(gone)
    assert run(client, folder, "apply", "gone.json").returncode == 0
