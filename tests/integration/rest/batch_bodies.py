"""Bodies of batches in each format, of as many rows and bytes as a test asks, in pieces."""

import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator

PIECE = 1_000
"""Rows that are sent at once."""
_FIELDS = {"name": "n", "voice": {"voice_id": "ivy"}, "system_prompt": ""}


class Form(ABC):
    """How rows are written; `head` and `tail` stand around them."""

    media_type: str
    head = b""
    delete_head = b""
    tail = b""

    @abstractmethod
    def row(self, number: int, length: int) -> bytes:
        """Return a new agent in exactly so many bytes, what parts it from the next one included."""

    @abstractmethod
    def delete(self, number: int) -> bytes:
        """Return a short row."""

    def of_rows(self, count: int, total: int) -> Iterator[bytes]:
        """Yield a body of so many rows that has exactly so many bytes."""
        length, longer = divmod(total - len(self.head) - len(self.tail), count)
        rows = (self.row(number, length + (number < longer)) for number in range(count))
        return _in_pieces(self.head, rows, self.tail)

    def of_short_rows(self, count: int) -> Iterator[bytes]:
        """Yield a body of so many rows."""
        return _in_pieces(self.delete_head, map(self.delete, range(count)), self.tail)


class Ndjson(Form):
    media_type = "application/x-ndjson"

    def row(self, number: int, length: int) -> bytes:
        return _json(number, length - 1) + b"\n"

    def delete(self, number: int) -> bytes:
        return b'{"external_id":"%d","delete":true}\n' % number


class JsonList(Form):
    media_type = "application/json"
    head = delete_head = b"["
    tail = b"]"

    def row(self, number: int, length: int) -> bytes:
        return _comma(number) + _json(number, length - 1)

    def delete(self, number: int) -> bytes:
        return _comma(number) + b'{"external_id":"%d","delete":true}' % number


class Csv(Form):
    media_type = "text/csv"
    head = b"external_id,name,voice.voice_id,system_prompt\n"
    delete_head = b"external_id,delete\n"

    def row(self, number: int, length: int) -> bytes:
        start = b"%06d,n,ivy," % number
        return start + b"p" * (length - len(start) - 1) + b"\n"

    def delete(self, number: int) -> bytes:
        return b"%d,true\n" % number


def _json(number: int, length: int) -> bytes:
    empty = json.dumps({"external_id": f"{number:06}", **_FIELDS}).encode()
    return empty.replace(b'""', b'"' + b"p" * (length - len(empty)) + b'"')


def _comma(number: int) -> bytes:
    return b"," if number else b" "


def _in_pieces(head: bytes, rows: Iterable[bytes], tail: bytes) -> Iterator[bytes]:
    held, size = [head], len(head)
    for row in rows:
        held.append(row)
        size += len(row)
        if len(held) > PIECE or size > 1_000_000:
            yield b"".join(held)
            held, size = [], 0
    yield b"".join([*held, tail])
