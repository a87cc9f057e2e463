"""No request body grows beyond a bound, whoever reads it."""

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send


class BodyLimit:
    """ASGI middleware: reading more than `limit` bytes of a body is a 413, raised in the reader.

    A declared length over the limit is refused before a byte is read. The connection closes
    with the answer, so that the rest of the body is not swallowed.
    """

    def __init__(self, app: ASGIApp, limit: int) -> None:
        self._app = app
        self._limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with a reader that stops at the limit."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        declared, limit, total = declared_length(scope), self._limit, 0

        async def receive_bounded() -> Message:
            nonlocal total
            if declared > limit:
                raise _too_large(limit)
            message = await receive()
            total += len(message.get("body", b""))
            if total > limit:
                raise _too_large(limit)
            return message

        await self._app(scope, receive_bounded, send)


def declared_length(scope: Scope) -> int:
    """Return the Content-Length of a request, 0 where there is none or it is no number."""
    for name, value in scope["headers"]:
        if name == b"content-length":
            return int(value) if value.isdigit() else 0
    return 0


def _too_large(limit: int) -> HTTPException:
    return HTTPException(
        413, f"the body is longer than {limit} bytes", headers={"Connection": "close"}
    )
