"""Server-sent events, byte for byte (WHATWG HTML, section 9.2.6): pure, bounded."""

import re
from typing import Final

MAX_EVENT_BYTES: Final = 256 * 1024
MAX_STREAM_BYTES: Final = 2 * 1024 * 1024
_BOM: Final = b"\xef\xbb\xbf"
_LINE_END: Final = re.compile(rb"\r\n|\n|\r")


class TooLargeError(ValueError):
    """An event is beyond 256 kB or the stream beyond 2 MB."""


class SseParser:
    """Turns the bytes of a stream, cut anywhere, into the `data` of its events."""

    def __init__(self) -> None:
        self._rest = bytearray()
        self._data: list[bytes] = []
        self._event_bytes = 0
        self._total = 0
        self._is_first = True

    def feed(self, chunk: bytes) -> list[str]:
        """Return the data of the events that `chunk` completes; raises TooLargeError.

        Bytes that are no UTF-8 become U+FFFD; comments and other fields are passed over.
        """
        self._total += len(chunk)
        if self._total > MAX_STREAM_BYTES:
            raise TooLargeError("the stream is beyond 2 MB")
        events = [event for line in self._lines(chunk) if (event := self._take(line)) is not None]
        if len(self._rest) + self._event_bytes > MAX_EVENT_BYTES:
            raise TooLargeError("an event is beyond 256 kB")
        return events

    def _lines(self, chunk: bytes) -> list[bytes]:
        """Return the lines that are whole now; what is left waits for its end."""
        had_return = self._rest.endswith(b"\r")
        self._rest += chunk
        if not had_return and b"\n" not in chunk and b"\r" not in chunk:
            return []
        # The other half of a CRLF may be in the next chunk.
        held = b"\r" if self._rest.endswith(b"\r") else b""
        *lines, rest = _LINE_END.split(bytes(self._rest).removesuffix(held))
        self._rest = bytearray(rest + held)
        return lines

    def _take(self, line: bytes) -> str | None:
        if self._is_first:
            line, self._is_first = line.removeprefix(_BOM), False
        if line:
            self._event_bytes += len(line)
            if self._event_bytes > MAX_EVENT_BYTES:
                raise TooLargeError("an event is beyond 256 kB")
            name, _, value = line.partition(b":")
            if name == b"data":
                self._data.append(value.removeprefix(b" "))
            return None
        data, self._data, self._event_bytes = self._data, [], 0
        return b"\n".join(data).decode("utf-8", "replace") if data else None
