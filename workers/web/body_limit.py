"""No request body grows beyond a bound or takes for ever, whoever reads it."""

import asyncio
from collections.abc import Mapping
from typing import Final

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

ARRIVE_S: Final = 30.0
"""How long a whole body may take to arrive, in seconds."""
_LONGEST_NUMBER: Final = 18
_CLOSE: Final = {"Connection": "close"}


class BodyLimit:
    """ASGI middleware: more than `limit` bytes of a body are a 413, raised in its reader.

    A declared length over the limit is refused before a byte is read, and a body that has
    not arrived after `arrive_s` is a 408; `own` are limit and seconds of single paths. The
    connection closes with the answer, so that the
    rest of the body is not swallowed.
    """

    def __init__(
        self,
        app: ASGIApp,
        limit: int,
        arrive_s: float = ARRIVE_S,
        own: Mapping[str, tuple[int, float]] | None = None,
    ) -> None:
        self._app = app
        self._limit = (limit, arrive_s)
        self._own = own or {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with a reader that keeps the bounds."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        limit, arrive_s = self._own.get(scope["path"], self._limit)
        body = _BoundedBody(receive, limit, arrive_s)
        if declared_length(scope) > limit:
            body.refuse()
        await self._app(scope, body.receive, send)


class _BoundedBody:
    """The reader of one request."""

    def __init__(self, receive: Receive, limit: int, arrive_s: float) -> None:
        self._receive = receive
        self._limit = limit
        self._left = limit
        self._until = asyncio.get_running_loop().time() + arrive_s
        self._whole = False

    def refuse(self) -> None:
        """Refuse the body whatever comes."""
        self._left = -1

    async def receive(self) -> Message:
        """Return the next message of the server, as ASGI has it; raises HTTPException."""
        if self._whole:  # what comes now is the end of the connection, whenever that is
            return await self._receive()
        self._check()
        try:
            async with asyncio.timeout_at(self._until):
                message = await self._receive()
        except TimeoutError:
            raise HTTPException(408, "the body did not arrive in time", headers=_CLOSE) from None
        self._whole = not message.get("more_body", False)
        self._left -= len(message.get("body", b""))
        self._check()
        return message

    def _check(self) -> None:
        if self._left < 0:
            raise HTTPException(413, f"the body is longer than {self._limit} bytes", headers=_CLOSE)


def declared_length(scope: Scope) -> int:
    """Return the Content-Length of a request, 0 where there is none or it is no number."""
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit():
            return int(value[:_LONGEST_NUMBER])
    return 0
