"""From the request to its response, for as long as the caller is there to hear it."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final, TypeVar

import structlog
from fastapi import Request
from prometheus_client import Gauge
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from workers.llm_gateway.answers import STREAM, Stream, Whole
from workers.llm_gateway.completions import Completion
from workers.llm_gateway.errors import CompletionError
from workers.llm_gateway.held import Held
from workers.llm_gateway.refusals import loop_refusal
from workers.llm_gateway.relay import Tokens
from workers.llm_gateway.upstream import PASSED_ON, hops_of
from workers.llm_gateway.wire import ChatCompletion

log = structlog.get_logger(__name__)

GONE: Final = 499
"""The status of the log line of a caller who did not wait."""
MOST_HOPS: Final = 4
"""Gateways that a request may have come through."""

Result = TypeVar("Result")


class CallerGoneError(Exception):
    """The caller has closed the connection."""


async def answer(request: Request, asked: ChatCompletion, held: Held) -> Response:
    """Answer a conversation, streamed as server-sent events if it is asked for."""
    headers = {name: request.headers[name] for name in PASSED_ON if name in request.headers}
    if hops_of(headers) > MOST_HOPS:
        raise loop_refusal(f"this request came through {hops_of(headers)} gateways")
    account = request.state.caller.account
    call = Completion(held, account, asked, await request.json(), headers)
    await call.enter()
    with held.metrics.under_way.track_inprogress():
        try:
            if asked.stream:
                stream = await _while_wanted(request, call.stream(), lambda found: found.aclose())
                return _Streamed(call, stream, held.metrics.under_way)
            whole = await _while_wanted(request, call.whole(), _forget)
        except CompletionError:
            await call.settle(asked.model, "failed", Tokens())
            raise
        except CallerGoneError:
            await call.settle(asked.model, "gone", Tokens(estimated=True))
            return Response(status_code=GONE)
    await call.settle(whole.model, "ok", whole.tokens)
    return Response(whole.body, media_type="application/json", headers=_said_of(whole))


class _Streamed(StreamingResponse):
    """The response of a stream; however it ends, the upstream is closed and its use counted."""

    def __init__(self, call: Completion, stream: Stream, under_way: Gauge) -> None:
        self._call = call
        self._stream = stream
        self._under_way = under_way
        self._pieces = stream.pieces()
        headers = {"Cache-Control": "no-store", **_said_of(stream)}
        super().__init__(self._pieces, media_type=STREAM, headers=headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the stream until it ends, the caller is gone or reads too slowly."""
        try:
            with self._under_way.track_inprogress():
                async with asyncio.timeout(self._stream.most_s):
                    await super().__call__(scope, receive, send)
        except TimeoutError:
            log.info("a caller read too slowly", model=self._stream.model)
        finally:
            await self._pieces.aclose()
            await self._stream.aclose()
            await self._call.settle(self._stream.model, self._stream.outcome, self._stream.tokens)


async def _while_wanted(
    request: Request,
    work: Coroutine[Any, Any, Result],
    drop: Callable[[Result], Awaitable[None]],
) -> Result:
    """Return what `work` does; it is stopped, its result dropped, when the caller has gone."""
    working = asyncio.create_task(work, name="ask the upstreams")
    leaving = asyncio.create_task(_gone(request), name="watch the caller")
    tasks = {working, leaving}
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        is_gone = leaving.done()
    except asyncio.CancelledError:
        await _drop(working, drop)
        raise
    finally:
        leaving.cancel()
    if not is_gone:
        return working.result()
    await _drop(working, drop)
    raise CallerGoneError


async def _drop(working: "asyncio.Task[Result]", drop: Callable[[Result], Awaitable[None]]) -> None:
    working.cancel()
    await asyncio.wait({working})
    if not working.cancelled() and working.exception() is None:
        await drop(working.result())


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _forget(_: object) -> None:
    pass


def _said_of(answer: Stream | Whole) -> dict[str, str]:
    """Return the headers that say who answered."""
    said = {"X-Edgewise-Model": answer.model}
    return said | ({"X-Edgewise-Region": answer.region} if answer.region else {})
