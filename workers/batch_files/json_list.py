"""A JSON list of objects, cut into its elements without holding more than one of them.

Only brackets, commas and the ends of strings are looked at here; whether an element is valid
is found out when it is read. What is no list as a whole is refused as a whole.
"""

import re
from collections.abc import Iterator
from typing import Final

from schemas.batch import MAX_ROW_BYTES
from workers.batch_files.rows import BOM, FileError, RawRow, json_row, too_long

_MARK: Final = re.compile(rb'["\[\]{},]')
_IN_STRING: Final = re.compile(rb'["\\]')
_SPACE: Final = b" \t\r\n"
_NO_LIST: Final = "the body is not a JSON list of objects"


class JsonListReader:
    """Reads the elements of a JSON list; `line` of a row is its place in the list, from 1."""

    def __init__(self) -> None:
        self._place = 0
        self._depth = 0
        self._in_string = False
        self._is_escaped = False
        self._has_begun = False
        self._has_ended = False
        self._held = bytearray()
        self._is_too_long = False

    def feed(self, data: bytes) -> Iterator[RawRow]:
        """Yield the elements that end in this piece; raises FileError."""
        position = 0
        while position < len(data):
            if not self._has_begun:
                position = self._begin(data, position)
            elif self._has_ended:
                self._expect_space(data[position:])
                return
            elif self._in_string:
                position = self._pass_string(data, position)
            else:
                mark = _MARK.search(data, position)
                end = mark.end() if mark else len(data)
                self._keep(data[position : end - 1] if mark else data[position:])
                position = end
                if mark:
                    yield from self._pass_mark(mark[0])

    def end(self) -> Iterator[RawRow]:
        """Raise FileError unless the list was closed."""
        if not self._has_ended:
            raise FileError(_NO_LIST)
        return iter(())

    def _begin(self, data: bytes, position: int) -> int:
        """Pass what may stand before the list, and its bracket."""
        self._held += data[position:]
        rest = bytes(self._held)
        if BOM.startswith(rest):
            return len(data)
        rest = rest.removeprefix(BOM).lstrip(_SPACE)
        self._held.clear()
        if not rest:
            return len(data)
        if not rest.startswith(b"["):
            raise FileError(_NO_LIST)
        self._has_begun = True
        return len(data) - len(rest) + 1

    def _pass_string(self, data: bytes, position: int) -> int:
        if self._is_escaped:
            self._is_escaped = False
            self._keep(data[position : position + 1])
            return position + 1
        found = _IN_STRING.search(data, position)
        end = found.end() if found else len(data)
        self._keep(data[position:end])
        if found and found[0] == b'"':
            self._in_string = False
        elif found:
            self._is_escaped = True
        return end

    def _pass_mark(self, mark: bytes) -> Iterator[RawRow]:
        if mark == b'"':
            self._in_string = True
        elif mark in b"[{":
            self._depth += 1
        elif self._depth:
            self._depth -= mark in b"]}"
        elif mark == b"}":
            raise FileError(_NO_LIST)
        else:
            yield from self._close_element(is_last=mark == b"]")
            return
        self._keep(mark)

    def _close_element(self, *, is_last: bool) -> Iterator[RawRow]:
        text = bytes(self._held).strip(_SPACE)
        is_empty_list = is_last and self._place == 0
        if not text and not self._is_too_long and not is_empty_list:
            raise FileError(_NO_LIST)
        if text or self._is_too_long:
            self._place += 1
            yield too_long(self._place) if self._is_too_long else json_row(self._place, text)
        self._held.clear()
        self._is_too_long = False
        self._has_ended = is_last

    def _keep(self, piece: bytes) -> None:
        if not self._is_too_long:
            self._held += piece
            if len(self._held) > MAX_ROW_BYTES:
                self._is_too_long = True
                self._held.clear()

    def _expect_space(self, rest: bytes) -> None:
        if rest.strip(_SPACE):
            raise FileError(_NO_LIST)
