"""Cutting a file into lines, none of them longer than a row may be."""

from collections.abc import Iterator
from typing import NamedTuple

from schemas.batch import MAX_ROW_BYTES
from workers.batch_files.rows import BOM


class Line(NamedTuple):
    """A line without its end; `text` None where it is too long."""

    number: int
    text: bytes | None


class LineCutter:
    """Takes a file in pieces; keeps no more than one line of it. Lines end in LF or CR LF."""

    def __init__(self) -> None:
        self._number = 0
        self._held = bytearray()
        self._is_too_long = False

    def feed(self, data: bytes) -> Iterator[Line]:
        """Yield the lines that end in this piece."""
        start = 0
        while (end := data.find(b"\n", start)) >= 0:
            self._add(data[start:end])
            yield self._cut()
            start = end + 1
        self._add(data[start:])

    def end(self) -> Iterator[Line]:
        """Yield the last line, where the file does not end in a line's end."""
        if self._held or self._is_too_long:
            yield self._cut()

    def _add(self, piece: bytes) -> None:
        if not self._is_too_long:
            self._held += piece
            if len(self._held) > MAX_ROW_BYTES + len(BOM) + 1:
                self._is_too_long = True
                self._held.clear()

    def _cut(self) -> Line:
        self._number += 1
        text = bytes(self._held).removesuffix(b"\r")
        if self._number == 1:
            text = text.removeprefix(BOM)
        is_too_long = self._is_too_long or len(text) > MAX_ROW_BYTES
        self._held.clear()
        self._is_too_long = False
        return Line(self._number, None if is_too_long else text)
