"""What a reader of a batch file yields, and how one row of JSON is read."""

from collections.abc import Iterator
from typing import Any, Final, NamedTuple, Protocol

from schemas.batch import MAX_ROW_BYTES, RowError
from workers.strict_json import NotJsonError, parse_json

BOM: Final = b"\xef\xbb\xbf"


class FileError(Exception):
    """The file as a whole cannot be read; nothing of it is repeated in the message."""


class RawRow(NamedTuple):
    """A row before it is known whether it says anything: its fields, or why there are none."""

    line: int
    """Where it begins, from 1; in a JSON list its place."""
    fields: dict[str, Any]
    error: RowError | None = None


class RowReader(Protocol):
    """Takes a file in pieces of any length; keeps no more than one row of it."""

    def feed(self, data: bytes) -> Iterator[RawRow]:
        """Yield the rows that end in this piece; raises FileError."""
        ...

    def end(self) -> Iterator[RawRow]:
        """Yield what is left at the end of the file; raises FileError."""
        ...


def bad_row(line: int, message: str, param: str | None = None) -> RawRow:
    """Return a row that cannot be read."""
    error = RowError(line=line, code="validation_error", message=message, param=param)
    return RawRow(line, {}, error)


def too_long(line: int) -> RawRow:
    """Return a row that is longer than rows may be."""
    return bad_row(line, f"the row is longer than {MAX_ROW_BYTES} bytes")


def json_row(line: int, text: bytes) -> RawRow:
    """Return the row that a piece of JSON holds, read as strictly as the body of a request."""
    try:
        fields = parse_json(text.decode())
    except UnicodeDecodeError:
        return bad_row(line, "the row is not UTF-8")
    except NotJsonError as error:
        return bad_row(line, f"the row {error}")
    if not isinstance(fields, dict):
        return bad_row(line, "the row is no JSON object")
    return RawRow(line, fields)
