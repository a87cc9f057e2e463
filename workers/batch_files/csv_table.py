"""CSV (RFC 4180, commas, UTF-8): a column's name is the path of a field, as in error messages.

`voice.voice_id`, `llm.0.base_url`, `input.keyterms.1`. An empty cell leaves the field out, a record
of empty cells is none, and where `delete` is true only the name of the agent counts. No cell is a
formula here: one that begins with `=` is text.
"""

import csv
import io
import re
from collections.abc import Iterator
from typing import Any, Final

from schemas.batch import MAX_ROW_BYTES
from workers.batch_files.csv_cells import value_of
from workers.batch_files.lines import Line, LineCutter
from workers.batch_files.rows import FileError, RawRow, bad_row, too_long

_FIELD: Final = r'(?:"(?:[^"]|"")*+"|[^",]*+)'
_RECORD: Final = re.compile(rf"{_FIELD}(?:,{_FIELD})*+")
_COLUMN: Final = re.compile(r"[a-z][a-z_]*(?:\.(?:[a-z][a-z_]*|[0-9]{1,3}))*")
_MOST_COLUMNS: Final = 500
_MOST_LINES: Final = 2_000
"""Lines of one record, which has line ends in its cells."""
_MOST_REREAD: Final = 32 * 1_048_576
"""How much is read twice in all, for stray quotes that seem to open a long cell."""
_NAMES: Final = ("id", "external_id", "delete")
"""What a row says that deletes; the other cells of an exported table stay as they were."""
_NO_HEAD: Final = "the first line does not name the columns as fields are named"
_OTHER_MARKS: Final = f"{_NO_HEAD}; columns are separated by commas, not by semicolons or tabs"
_STRAY: Final = "a quote is not where quotes may be"


class CsvReader:
    """Reads rows from CSV, the first of which names the columns.

    A record with a stray quote is an error of its own line; the lines after it are rows again.
    """

    def __init__(self) -> None:
        self._lines = LineCutter()
        self._columns: list[list[str]] | None = None
        self._open: list[Line] = []
        self._size = 0
        self._quotes = 0
        self._reread = 0

    def feed(self, data: bytes) -> Iterator[RawRow]:
        """Yield the rows that end in this piece; raises FileError where the head is none."""
        for line in self._lines.feed(data):
            yield from self._take(line)

    def end(self) -> Iterator[RawRow]:
        """Yield what is left; raises FileError where there was no head."""
        for line in self._lines.end():
            yield from self._take(line)
        while self._open:
            yield from self._give_up_first()
        if self._columns is None:
            raise FileError("the first line does not name the columns")

    def _take(self, line: Line) -> Iterator[RawRow]:
        if not self._open and line.text is None:
            yield too_long(line.number)
            return
        if not self._open and not (line.text or b"").strip():
            return
        self._open.append(line)
        text = line.text or b""
        self._size += len(text) + 1
        self._quotes += text.count(b'"')
        if line.text is None or self._is_too_much():
            yield from self._give_up_first()
        elif self._quotes % 2 == 0:
            yield from self._close()

    def _is_too_much(self) -> bool:
        return self._size > MAX_ROW_BYTES or len(self._open) > _MOST_LINES

    def _close(self) -> Iterator[RawRow]:
        """Read the record that is open; where it is none, only its first line is lost."""
        first, text = self._open[0].number, b"\n".join(line.text or b"" for line in self._open)
        cells = _cells(text)
        if cells is None and len(self._open) > 1:
            yield from self._give_up_first()
            return
        self._forget()
        if self._columns is None:
            self._columns = _columns(text, cells)
        elif cells is None:
            yield bad_row(first, _STRAY if _is_utf8(text) else "the row is not UTF-8")
        elif any(cells):
            yield _row(first, self._columns, cells)

    def _give_up_first(self) -> Iterator[RawRow]:
        """Make the first line that is open an error, and read those after it again."""
        first, *rest = self._open
        size = self._size
        self._forget()
        if self._columns is None:
            raise FileError("the first line does not name the columns")
        yield bad_row(first.number, _STRAY) if first.text is not None else too_long(first.number)
        self._reread += size
        if self._reread > _MOST_REREAD:
            for line in rest:
                yield bad_row(line.number, _STRAY)
            return
        for line in rest:
            yield from self._take(line)

    def _forget(self) -> None:
        self._open, self._size, self._quotes = [], 0, 0


def _cells(text: bytes) -> list[str] | None:
    """Return the cells of a record, None where it is none."""
    try:
        record = text.decode()
    except UnicodeDecodeError:
        return None
    if not _RECORD.fullmatch(record):
        return None
    try:
        return next(csv.reader(io.StringIO(record, newline=""), strict=True))
    except (csv.Error, StopIteration):
        return None


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def _columns(text: bytes, cells: list[str] | None) -> list[list[str]]:
    names = [cell.strip() for cell in cells or ()]
    if len(names) > _MOST_COLUMNS or len(set(names)) != len(names):
        raise FileError("the first line names a column twice, or too many")
    if not names or not all(_COLUMN.fullmatch(name) for name in names):
        is_parted_otherwise = b"," not in text and (b";" in text or b"\t" in text)
        raise FileError(_OTHER_MARKS if is_parted_otherwise else _NO_HEAD)
    return [name.split(".") for name in names]


def _row(line: int, columns: list[list[str]], cells: list[str]) -> RawRow:
    if len(cells) != len(columns):
        return bad_row(line, f"the row has {len(cells)} cells and the head {len(columns)}")
    fields: dict[str, Any] = {}
    for path, cell in zip(columns, cells, strict=True):
        if cell and not _put(fields, path, value_of(path, cell)):
            return bad_row(line, "one column is inside of another", ".".join(path))
    if fields.get("delete") is True:
        fields = {name: fields[name] for name in _NAMES if name in fields}
    return RawRow(line, _as_lists(fields))


def _put(fields: dict[str, Any], path: list[str], value: object) -> bool:
    inner: Any = fields
    for name in path[:-1]:
        inner = inner.setdefault(name, {})
        if not isinstance(inner, dict):
            return False
    return inner.setdefault(path[-1], value) is value


def _as_lists(value: Any) -> Any:
    """Turn what has numbers for names into lists, in the order of the numbers."""
    if not isinstance(value, dict):
        return value
    inner = {name: _as_lists(each) for name, each in value.items()}
    if inner and all(name.isdecimal() for name in inner):
        return [inner[name] for name in sorted(inner, key=int)]
    return inner
