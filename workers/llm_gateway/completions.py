"""One request for a completion: who may answer it, in which order, and what it used."""

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, TypeVar

import structlog

from workers.errors import ModelError
from workers.llm_gateway.answers import LiveStream, LocalStream, Stream, Whole
from workers.llm_gateway.errors import CompletionError
from workers.llm_gateway.held import Held
from workers.llm_gateway.models_file import Route
from workers.llm_gateway.refusals import refusal_of
from workers.llm_gateway.relay import Tokens
from workers.llm_gateway.responder import respond
from workers.llm_gateway.wire import ChatCompletion, Reply
from workers.settings import OFFLINE_MODEL

HURRY_S: Final = 2.5
"""How long the first content may take while a fallback is left, in seconds."""

Answer = TypeVar("Answer")
log = structlog.get_logger(__name__)


class Completion:
    """A request of an account. `body` is what it sent, `asked` as much of it as we look at."""

    def __init__(
        self,
        held: Held,
        account: str,
        asked: ChatCompletion,
        body: Mapping[str, Any],
        headers: Mapping[str, str],
    ) -> None:
        table = held.models.table()
        self._held = held
        self._account = account
        self._asked = asked
        self._body = body
        self._headers = headers
        self._limits = table.limits_of(account)
        self._routes = {name: _route(table.routes, name, asked.model) for name in asked.models}
        self._began = asyncio.get_running_loop().time()

    async def enter(self) -> None:
        """Count it against the account's limits; raises CompletionError where they are reached."""
        wait_s = await self._held.limits.enter(self._account, self._limits)
        if wait_s:
            self._held.metrics.request(self._account, self._asked.model, "limited", Tokens())
            raise CompletionError(
                429,
                f"this account has reached its limit per minute; ask again in {wait_s} s",
                type_="rate_limit_error",
                code="rate_limit_exceeded",
                headers={"Retry-After": str(wait_s)},
            )

    async def stream(self) -> Stream:
        """Return the stream of the first model that begins to answer; raises CompletionError."""
        stream = await self._first_of(self._stream_of)
        seconds = asyncio.get_running_loop().time() - self._began
        self._held.metrics.first_content(stream.model, seconds)
        return stream

    async def whole(self) -> Whole:
        """Return the completion of the first model that answers; raises CompletionError."""
        return await self._first_of(self._whole_of)

    async def settle(self, model: str, outcome: str, tokens: Tokens) -> None:
        """Count what it used."""
        self._held.usage.add(self._account, model, tokens, failed=outcome == "failed")
        self._held.metrics.request(self._account, model, outcome, tokens)
        used = tokens.prompt + tokens.completion
        await self._held.limits.spend(self._account, self._limits, used)

    async def _first_of(self, ask: Callable[[Route | None, bool], Awaitable[Answer]]) -> Answer:
        last = self._asked.models[-1]
        for name, route in self._routes.items():
            try:
                return await ask(route, name == last)
            except ModelError as error:
                self._held.metrics.failure(name, error.failure)
                log.warning(
                    "an upstream failed",
                    model=name,
                    failure=error.failure,
                    status=error.status_code,
                )
                refusal = refusal_of(error, name)
        raise refusal

    async def _stream_of(self, route: Route | None, is_last: bool) -> Stream:  # noqa: FBT001  # one of two of a kind, called by one function
        if route is None:
            return LocalStream(self._reply())
        patience = route.upstream.first_token_s
        return await LiveStream.open(
            self._held.connections,
            route,
            self._body,
            self._headers,
            within_s=patience if is_last else min(patience, HURRY_S),
        )

    async def _whole_of(self, route: Route | None, _is_last: bool) -> Whole:  # noqa: FBT001  # see above
        if route is None:
            return Whole.of_reply(self._reply())
        return await Whole.of_upstream(self._held.connections, route, self._body, self._headers)

    def _reply(self) -> Reply:
        return Reply(
            self._asked,
            respond(self._asked.last_said, self._held.clock()),
            model=OFFLINE_MODEL,
            name=f"chatcmpl-{secrets.token_hex(12)}",
            created=int(time.time()),
        )


def _route(routes: Mapping[str, Route], name: str, first: str) -> Route | None:
    """Return the route of a model, None for the built-in responder; raises CompletionError."""
    if name == OFFLINE_MODEL:
        return None
    route = routes.get(name)
    if route is None:
        raise CompletionError(
            404,
            "there is no such model; GET /v1/models lists those that there are",
            code="model_not_found",
            param="model" if name == first else "fallbacks",
        )
    return route
