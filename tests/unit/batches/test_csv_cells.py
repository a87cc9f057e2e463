"""What goes into a cell comes out of it, and nothing in it is a formula."""

import csv
import io
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.agent import AgentCreate
from workers.batch_files.csv_cells import as_cell, text_of, value_of
from workers.batch_files.csv_table import CsvReader
from workers.commands.csv_export import write_csv

AGENT = {
    "external_id": "kitchen",
    "name": "Kitchen",
    "system_prompt": "You help.\nBe brief.",
    "greeting": None,
    "voice": {"voice_id": "ivy"},
}
STARTS = ("=", "+", "-", "@", "\t", "\r", "'=", "''+", "'")


@given(st.sampled_from(("", *STARTS)), st.text())
def test_text_comes_back_and_is_no_formula_on_its_way(start: str, rest: str) -> None:
    cell = as_cell(start + rest)
    assert text_of(cell) == start + rest
    assert not cell.startswith(("=", "+", "-", "@", "\t", "\r"))


@pytest.mark.parametrize(
    ("path", "cell", "value"),
    [
        ("output.volume", "80", 80),
        ("output.volume", "loud", "loud"),
        ("output.volume", "=1+1", "=1+1"),
        ("input.turn_detection.vad_threshold", "0.25", 0.25),
        ("input.turn_detection.vad_threshold", "0,25", "0,25"),
        ("input.turn_detection.interrupt_response", "FALSE", False),
        ("input.format.sample_rate", "24000", 24_000),
        ("deadlines.total", "7.5", 7.5),
        ("deadlines.total", "inf", "inf"),
        ("deadlines.total", "1e999", "1e999"),
        ("input.turn_detection.vad_threshold", "1E-05", 1e-05),
        ("tools.3.timeout_seconds", "30", 30),
        ("delete", "TRUE", True),
        ("name", "80", "80"),
        ("name", "true", "true"),
        ("name", "'=1+1", "=1+1"),
        ("name", "'tis", "'tis"),
        ("input.keyterms.0", "0.5", "0.5"),
        ("nothing.of.ours", "1", "1"),
    ],
)
def test_a_cell_is_what_its_field_wants(path: str, cell: str, value: object) -> None:
    found = value_of(path.split("."), cell)
    assert (found, type(found)) == (value, type(value))


def written(*rows: dict[str, Any]) -> tuple[str, list[str]]:
    out = io.StringIO(newline="")
    count, left_out = write_csv([record(row) for row in rows], out)
    assert count == len(rows) - len(left_out)
    return out.getvalue(), left_out


def record(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row with every field, as an export has it."""
    whole = AgentCreate.model_validate({n: v for n, v in row.items() if n != "external_id"})
    dumped = whole.model_dump(mode="json")
    return {"external_id": row["external_id"], **dumped}


def read(text: str) -> list[dict[str, Any]]:
    reader = CsvReader()
    rows = [*reader.feed(text.encode()), *reader.end()]
    assert [row.error for row in rows] == [None] * len(rows)
    return [row.fields for row in rows]


@given(
    name=st.text(min_size=1, max_size=20),
    prompt=st.text(min_size=1, max_size=200),
    keyterms=st.lists(st.text(min_size=1, max_size=10), max_size=4),
    volume=st.integers(0, 100),
    threshold=st.floats(0, 1),
)
def test_an_agent_is_read_back_as_it_was_or_is_left_out_by_name(
    name: str, prompt: str, keyterms: list[str], volume: int, threshold: float
) -> None:
    row = AGENT | {
        "input": {"keyterms": keyterms, "turn_detection": {"vad_threshold": threshold}},
        "output": {"volume": volume},
        "system_prompt": prompt,
        "name": name,
    }
    try:
        wanted = AgentCreate.model_validate({n: v for n, v in row.items() if n != "external_id"})
    except ValueError:
        return  # text that no agent may have
    text, left_out = written(row)
    for cells in csv.reader(io.StringIO(text.removeprefix("\ufeff"), newline="")):
        assert not any(cell.startswith(("=", "+", "-", "@", "\t", "\r")) for cell in cells)
    if left_out:
        assert "\r" in name + prompt + "".join(keyterms)
        return
    (found,) = read(text)
    assert found.pop("external_id") == "kitchen"
    assert AgentCreate.model_validate(found) == wanted


def test_one_table_has_the_columns_of_all_agents_in_a_readable_order() -> None:
    entries = [{"base_url": "https://8.8.8.8/v1", "model": f"m{n}", "api_key": "k"} for n in (1, 2)]
    second: dict[str, object] = {**AGENT, "external_id": "hall", "greeting": "Hello."}
    second |= {"llm": entries, "input": {"keyterms": [f"word {n}" for n in range(11)]}}
    rows = [record(AGENT), record(second)]
    for entry in rows[1]["llm"]:
        del entry["api_key"]
    out = io.StringIO(newline="")
    assert write_csv(rows, out) == (2, [])
    head = next(csv.reader(io.StringIO(out.getvalue())))
    assert head[:9] == [
        "\ufeffexternal_id",
        "name",
        "system_prompt",
        "greeting",
        "voice.voice_id",
        "llm.0.base_url",
        "llm.0.model",
        "llm.1.base_url",
        "llm.1.model",
    ]
    terms = [name for name in head if name.startswith("input.keyterms.")]
    assert terms == [f"input.keyterms.{number}" for number in range(11)]
    first, other = read(out.getvalue())
    assert "llm" not in first
    assert [each["model"] for each in other["llm"]] == ["m1", "m2"]


def test_what_csv_cannot_hold_is_left_out_by_name() -> None:
    windows = {**AGENT, "external_id": "windows", "system_prompt": "a\r\nb"}
    silent = {**AGENT, "external_id": "silent", "lines": {"filler": ""}}
    text, left_out = written(windows, AGENT, silent)
    assert left_out == ["windows", "silent"]
    assert [row["external_id"] for row in read(text)] == ["kitchen"]
