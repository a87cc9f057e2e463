"""Requests off the wire: HTTP/1.1 by h11, bodies as JSON or a form, all of it bounded."""

import asyncio
import email.parser
import email.policy
import json
from http import HTTPStatus
from typing import Final

import h11

from workers.llm_stub.exchange import Request

MAX_HEAD: Final = 64 * 1024
MAX_BODY: Final = 32 * 1024 * 1024
READ: Final = 64 * 1024
CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"


class RefusedError(Exception):
    """The request is none; the status says what is wrong with it."""

    def __init__(self, status: HTTPStatus, message: str) -> None:
        super().__init__(message)
        self.status = status


async def read_request(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, ahead: bytes
) -> tuple[Request, bytes] | None:
    """Return the next request and what came behind it; None once the client has hung up.

    `ahead` is what was read beyond the request before. Raises RefusedError.
    """
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD)
    if ahead:
        connection.receive_data(ahead)
    try:
        head = await _next(connection, reader, writer)
        if not isinstance(head, h11.Request):
            return None
        body = bytearray()
        while isinstance(event := await _next(connection, reader, writer), h11.Data):
            body += event.data
            if len(body) > MAX_BODY:
                raise RefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "the body is too long")
    except h11.RemoteProtocolError:
        if reader.at_eof():
            return None
        raise RefusedError(HTTPStatus.BAD_REQUEST, "the request is no HTTP/1.1") from None
    return _request(head, bytes(body)), connection.trailing_data[0]


async def _next(
    connection: h11.Connection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> object:
    while (event := connection.next_event()) is h11.NEED_DATA:
        if connection.they_are_waiting_for_100_continue:
            writer.write(CONTINUE)
        connection.receive_data(await reader.read(READ))
    return event


def _request(head: h11.Request, body: bytes) -> Request:
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in head.headers}
    path = head.target.decode("latin-1").partition("?")[0]
    request = Request(head.method.decode("ascii"), path, headers)
    kind = headers.get("content-type", "")
    if kind.lower().startswith("multipart/form-data"):
        request.body, request.file = read_form(kind, body)
    elif body:
        request.body = _json(body)
    return request


def _json(body: bytes) -> dict[str, object]:
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise RefusedError(HTTPStatus.BAD_REQUEST, "the body is no JSON object")
    return value


def read_form(kind: str, body: bytes) -> tuple[dict[str, object], bytes]:
    """Return the fields of a multipart form and its file (RFC 7578); raises RefusedError."""
    parser = email.parser.BytesParser(policy=email.policy.HTTP)
    form = parser.parsebytes(b"Content-Type: " + kind.encode("latin-1") + b"\r\n\r\n" + body)
    if not form.is_multipart():
        raise RefusedError(HTTPStatus.BAD_REQUEST, "the form has no parts")
    fields: dict[str, object] = {}
    file = b""
    for part in form.iter_parts():
        value = part.get_payload(decode=True)
        if not isinstance(value, bytes):
            continue
        name = part.get_param("name", header="content-disposition")
        if part.get_filename() is not None:
            file = value
        else:
            fields[str(name)] = value.decode("utf-8", "replace")
    return fields, file
