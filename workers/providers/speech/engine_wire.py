"""The wire between a worker and its engine processes: frames of a kind and a payload.

A frame is one byte of kind, the length of the payload as 32 bits, big-endian, the payload.
"""

import asyncio
import socket
import struct
from dataclasses import dataclass
from typing import Final

HEADER: Final = struct.Struct("!cI")
MAX_PAYLOAD: Final = 8 * 1024 * 1024
FAILED: Final = b"!"
"""Kind of the answer of an engine that could not do what it was asked; no payload."""
HELLO: Final = b"h"
"""Kind of the first frame of a process that is ready to be asked; no payload."""


@dataclass(frozen=True)
class Frame:
    """One message, either way."""

    kind: bytes
    payload: bytes = b""


def pack(frame: Frame) -> bytes:
    """Return the frame as bytes; raises ValueError if its payload is beyond 8 MiB."""
    if len(frame.payload) > MAX_PAYLOAD:
        raise ValueError("the payload of a frame is at most 8 MiB")
    return HEADER.pack(frame.kind, len(frame.payload)) + frame.payload


def _length(header: bytes) -> tuple[bytes, int]:
    kind, length = HEADER.unpack(header)
    if length > MAX_PAYLOAD:
        raise ValueError("the payload of a frame is at most 8 MiB")
    return kind, length


def receive(connection: socket.socket) -> Frame | None:
    """Read a frame; None once the other side has closed. Raises ValueError if malformed."""
    header = _exactly(connection, HEADER.size)
    if header is None:
        return None
    kind, length = _length(header)
    payload = _exactly(connection, length)
    return None if payload is None else Frame(kind, payload)


def _exactly(connection: socket.socket, count: int) -> bytes | None:
    data = bytearray()
    while len(data) < count:
        piece = connection.recv(count - len(data))
        if not piece:
            return None
        data += piece
    return bytes(data)


async def receive_async(reader: asyncio.StreamReader) -> Frame:
    """Read a frame; raises IncompleteReadError once the other side has closed."""
    kind, length = _length(await reader.readexactly(HEADER.size))
    return Frame(kind, await reader.readexactly(length))
