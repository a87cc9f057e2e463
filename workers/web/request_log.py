"""Each request gets an id and one line in the log; a crash gets a 500 that tells nothing."""

import re
import time
import traceback
from collections.abc import Callable

import structlog
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from schemas.ids import new_id
from workers.errors import EdgewiseError
from workers.web.callers import Caller

REQUEST_ID = "x-request-id"
_SANE_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_QUIET_PATHS = {"/healthz", "/readyz"}

log = structlog.get_logger(__name__)


class RequestLog:
    """ASGI middleware that goes outermost: request id, access log, last line against crashes.

    `on_crash` makes the answer to an exception that nobody handled. The log line holds the
    path without its query, the account and the id of the key, no header and no body.
    """

    def __init__(self, app: ASGIApp, on_crash: Callable[[str], Response]) -> None:
        self._app = app
        self._on_crash = on_crash

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, then log it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _request_id(scope)
        scope.setdefault("state", {})["request_id"] = request_id
        began, status = time.perf_counter(), 0

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                id_header = (REQUEST_ID.encode(), request_id.encode())
                message = {**message, "headers": [*message.get("headers", []), id_header]}
            await send(message)

        with structlog.contextvars.bound_contextvars(request_id=request_id):
            try:
                await self._app(scope, receive, send_with_id)
            except Exception as error:
                log.error("request crashed", error=type(error).__name__, at=where(error))  # noqa: TRY400  # the message of a foreign error can hold what was sent
                if status:
                    raise
                await self._on_crash(request_id)(scope, receive, send_with_id)
            finally:
                _log_access(scope, status, time.perf_counter() - began)


def where(error: BaseException) -> list[str]:
    """List the frames of an error, innermost last, and the messages of our own errors alone."""
    frames = [
        f"{frame.filename}:{frame.lineno} {frame.name}"
        for frame in traceback.extract_tb(error.__traceback__)[-12:]
    ]
    return [*frames, str(error)] if isinstance(error, EdgewiseError) else frames


def _request_id(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == REQUEST_ID.encode() and _SANE_ID.fullmatch(value):
            return str(value, "ascii")
    return new_id("req")


def _log_access(scope: Scope, status: int, seconds: float) -> None:
    write = log.debug if scope["path"] in _QUIET_PATHS else log.info
    client = scope.get("client")
    caller = scope["state"].get("caller")
    who = {"account": caller.account, "key_id": caller.key_id} if type(caller) is Caller else {}
    write(
        "request",
        method=scope["method"],
        path=scope["path"][:200],
        status=status or 499,
        ms=round(seconds * 1000, 1),
        client=client[0] if client else None,
        **who,
    )
