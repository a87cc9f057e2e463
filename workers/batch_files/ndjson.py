"""NDJSON: one JSON object per line; empty lines count and say nothing."""

from collections.abc import Iterator

from workers.batch_files.lines import Line, LineCutter
from workers.batch_files.rows import RawRow, json_row, too_long


class NdjsonReader:
    """Reads rows from NDJSON; one that cannot be read takes no other down."""

    def __init__(self) -> None:
        self._lines = LineCutter()

    def feed(self, data: bytes) -> Iterator[RawRow]:
        """Yield the rows that end in this piece."""
        for line in self._lines.feed(data):
            yield from _row(line)

    def end(self) -> Iterator[RawRow]:
        """Yield the last row, where no end of a line follows it."""
        for line in self._lines.end():
            yield from _row(line)


def _row(line: Line) -> Iterator[RawRow]:
    if line.text is None:
        yield too_long(line.number)
    elif line.text.strip():
        yield json_row(line.number, line.text)
