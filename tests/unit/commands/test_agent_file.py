"""Where in a file of agents a row that fails is said to be."""

from pathlib import Path

import pytest

from schemas.batch import MAX_ROW_BYTES, RowError
from workers.commands.agent_file import AgentFileError, in_file, read_agents

FILE = """\
# Our agents
defaults: &defaults
  system_prompt: |
    You help.
    In a kitchen.
  voice: {voice_id: ivy}
agents:
  - external_id: kitchen
    name: Kitchen
    <<: *defaults

  - external_id: hall
    name: Hall
    system_prompt: >-
      You answer
      in a hall.
    voice:
      voice_id: nobody
    llm:
      - base_url: https://8.8.8.8/v1
        model: m
      - {base_url: "https://8.8.4.4/v1",
         model: n}
  - just words
  -
    external_id: cellar
    delete: true
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "agents.yaml"
    file.write_text(FILE)
    return file


def error(line: int, param: str | None) -> RowError:
    return RowError(line=line, code="validation_error", message="wrong", param=param)


def line_of(text: str) -> int:
    return next(n for n, line in enumerate(FILE.splitlines(), 1) if text in line)


def test_each_row_has_the_line_on_which_it_begins(file: Path) -> None:
    rows = list(read_agents(file))
    begins = ["external_id: kitchen", "external_id: hall", "just words", "cellar"]
    assert [row.line for row in rows] == [line_of(text) for text in begins]
    assert rows[0].fields["system_prompt"] == "You help.\nIn a kitchen.\n"
    assert rows[0].fields["voice"] == {"voice_id": "ivy"}
    assert rows[1].fields["llm"][1] == {"base_url": "https://8.8.4.4/v1", "model": "n"}
    assert [row.error is not None for row in rows] == [False, False, True, False]


@pytest.mark.parametrize(
    ("param", "text"),
    [
        ("name", "name: Hall"),
        ("system_prompt", "system_prompt: >-"),
        ("voice.voice_id", "nobody"),
        ("llm.0.model", "model: m"),
        ("llm.1.model", "model: n"),
        ("llm.1.api_key", "8.8.4.4"),
        ("llm.7.model", "- base_url: https://8.8.8.8/v1"),
        ("greeting", "external_id: hall"),
        (None, "external_id: hall"),
    ],
)
def test_an_error_names_the_line_of_its_field(file: Path, param: str | None, text: str) -> None:
    row = line_of("external_id: hall")
    (told,) = in_file(file, [error(row, param)])
    what = f"{param}: wrong" if param else "wrong"
    assert told == f"{file}:{line_of(text)}: {what}"


@pytest.mark.parametrize("content", [b"- {a: [", b"\xff", b"words", None])
def test_a_file_that_has_changed_meanwhile_is_named_as_it_was(
    file: Path, content: bytes | None
) -> None:
    file.unlink()
    if content is not None:
        file.write_bytes(content)
    assert list(in_file(file, [error(12, "name")])) == [f"{file}:12: name: wrong"]


def test_of_a_json_list_the_place_is_named_and_of_ndjson_the_line(tmp_path: Path) -> None:
    for name, place in (("a.json", ", row 2"), ("a.ndjson", ":2")):
        (told,) = in_file(tmp_path / name, [error(2, "name")])
        assert told == f"{tmp_path / name}{place}: name: wrong"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("- {a: [", "not valid YAML"),
        ("- a: 1\n- b: [}\n", "line 2: not valid YAML"),
        ("agents: []\nagents: []", "`agents` twice"),
        ("words", "no list"),
        ("agents: {}", "no list"),
        ("", "no list"),
        ("[]", "no agents"),
    ],
)
def test_what_is_no_list_of_agents_is_refused(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "agents.yml"
    file.write_text(text)
    with pytest.raises(AgentFileError, match=said):
        list(read_agents(file))


QUOTE = "put it in quotes"


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("- a: 1\n  name: 2024-13-45", 2, QUOTE),
        ("- a: 1\n  name: 2024-01-02", 2, QUOTE),
        ("- a: 1\n  greeting: !!binary aGVsbG8=", 2, QUOTE),
        ("- a: 1\n  greeting: !!binary x", 2, QUOTE),
        ("- a: 1\n  greeting: !!python/object:os.system {}", 2, QUOTE),
        ("- a: 1\n  volume: !!int abc", 2, QUOTE),
        ("- a: 1\n  volume: .inf", 2, QUOTE),
        ("- a: 1\n  volume: 0x1" + "0" * 9_000, 2, QUOTE),
        ("- a: 1\n  tools: !!set {b}", 2, QUOTE),
        ("- a:\n    1: 2", 2, QUOTE),
        ("- a:\n    [b]: 2", 2, QUOTE),
        ("- a:\n    b: 1\n    b: 2", 3, "twice"),
        ("- a: &a [*a]", 1, "nested more than"),
        ("- &a {a: 1, b: *a}", 1, "nested more than"),
        ("- &a {<<: *a, b: 1}", 1, "nested more than"),
        ("- <<: 3", 1, "merged"),
        ("- a: " + "[" * 100 + "]" * 100, 1, "nested more than"),
        ("- a: " + "x" * MAX_ROW_BYTES, 1, "longer than"),
        ("- a: 123456789012345678901", 1, "more than 20 digits"),
    ],
)
def test_what_json_does_not_know_is_an_error_of_its_row_and_line(
    tmp_path: Path, text: str, line: int, said: str
) -> None:
    file = tmp_path / "agents.yaml"
    file.write_text(f"{text}\n- name: good\n")
    bad, good = read_agents(file)
    assert bad.error is not None
    assert said in bad.error.message
    assert good.fields == {"name": "good"}
    (told,) = in_file(file, [bad.error])
    assert told.startswith(f"{file}:{line}: ")


def test_aliases_make_no_row_longer_than_rows_may_be(tmp_path: Path) -> None:
    file = tmp_path / "agents.yaml"
    lines = ["a0: &a0 [x]", *(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, 40))]
    file.write_text("\n".join([*lines, "agents: [{name: *a39}]"]))
    (row,) = read_agents(file)
    assert row.error is not None
    assert "longer than" in row.error.message


def test_what_is_merged_gives_way_to_what_is_written(tmp_path: Path) -> None:
    file = tmp_path / "agents.yaml"
    lines = ["a: &a {x: 1, y: 1}", "b: &b {x: 2, y: 2, z: 2, <<: {x: 3, w: 3}}"]
    file.write_text("\n".join([*lines, "agents: [{<<: [*a, *b], y: 5}, {<<: *b, z: ü}]"]))
    first, second = read_agents(file)
    assert first.fields == {"x": 1, "y": 5, "z": 2, "w": 3}
    assert second.fields == {"x": 2, "y": 2, "z": "ü", "w": 3}
