"""Where in a file of agents a row that fails is said to be."""

from pathlib import Path

import pytest

from schemas.batch import RowError
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
        ("- a: 1\n  b: !!python/object:os.system {}\n", "line 2: not valid YAML"),
        ("words", "no list"),
        ("agents: {}", "no list"),
        ("", "no list"),
    ],
)
def test_what_is_no_list_of_agents_is_refused(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "agents.yml"
    file.write_text(text)
    with pytest.raises(AgentFileError, match=said):
        list(read_agents(file))
