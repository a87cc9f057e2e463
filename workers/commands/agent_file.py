"""Files of agents: YAML, JSON, NDJSON and CSV, read row by row."""

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from schemas.batch import RowError
from workers.batch_files.formats import READERS
from workers.batch_files.rows import FileError, RawRow, bad_row
from workers.commands.yaml_file import SUFFIXES, at_fields, read_yaml
from workers.errors import EdgewiseError

MEDIA_TYPES: Final = {
    ".ndjson": "application/x-ndjson",
    ".jsonl": "application/x-ndjson",
    ".json": "application/json",
    ".csv": "text/csv",
}
_PIECE: Final = 65_536
_VARIABLE: Final = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_SECRETS: Final = ("api_key", "value")
"""Fields that may name a variable of the environment."""


class AgentFileError(EdgewiseError):
    """A file of agents cannot be read; the message says why and repeats nothing of it."""


def read_agents(file: Path, environment: Mapping[str, str] = os.environ) -> Iterator[RawRow]:
    """Yield the rows of a file, `${NAME}` in keys replaced.

    Raises AgentFileError, also for a file without rows.
    """
    suffix = file.suffix.lower()
    read: Callable[[Path], Iterator[RawRow]] = read_yaml if suffix in SUFFIXES else _read_pieces
    if suffix not in SUFFIXES and suffix not in MEDIA_TYPES:
        known = ", ".join((*SUFFIXES, *MEDIA_TYPES))
        raise AgentFileError(f"{file}: its name has to end in one of {known}")
    is_empty = True
    try:
        for row in read(file):
            is_empty = False
            yield row if row.error else _with_secrets(row, environment)
    except OSError as error:
        raise AgentFileError(f"{file}: {error.strerror}") from None
    except FileError as error:
        raise AgentFileError(f"{file}: {error}") from None
    if is_empty:
        raise AgentFileError(f"{file}: has no agents")


def in_file(file: Path, errors: Sequence[RowError]) -> Iterator[str]:
    """Yield errors of rows as lines that say where in the file each is."""
    suffix = file.suffix.lower()
    for error in at_fields(file, errors) if suffix in SUFFIXES else errors:
        # Of a JSON list only the place of a row is known.
        place = f"{file}, row {error.line}" if suffix == ".json" else f"{file}:{error.line}"
        yield (
            f"{place}: {error.param}: {error.message}"
            if error.param
            else (f"{place}: {error.message}")
        )


def _read_pieces(file: Path) -> Iterator[RawRow]:
    reader = READERS[MEDIA_TYPES[file.suffix.lower()]]()
    with file.open("rb") as stream:
        while piece := stream.read(_PIECE):
            yield from reader.feed(piece)
    yield from reader.end()


def _with_secrets(row: RawRow, environment: Mapping[str, str]) -> RawRow:
    missing: list[str] = []

    def known(match: re.Match[str]) -> str:
        if match[1] not in environment:
            missing.append(match[1])
        return environment.get(match[1], "")

    def replaced(value: Any, name: str = "") -> Any:
        if isinstance(value, dict):
            return {key: replaced(each, str(key)) for key, each in value.items()}
        if isinstance(value, list):
            return [replaced(each) for each in value]
        if isinstance(value, str) and name in _SECRETS:
            return _VARIABLE.sub(known, value)
        return value

    secret: dict[str, Any] = {
        key: replaced(row.fields[key]) for key in ("llm", "tools") if key in row.fields
    }
    if missing:
        return bad_row(row.line, f"{missing[0]} is not set in the environment")
    return RawRow(row.line, {**row.fields, **secret})
