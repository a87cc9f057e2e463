"""An answer on its way to the caller: streamed or whole, of an upstream or the built-in one."""

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from typing import Any, Final, Self

from workers.errors import ModelError
from workers.llm_gateway.models_file import Route
from workers.llm_gateway.refusals import error_event, refusal_of
from workers.llm_gateway.relay import Relay, Tokens, silent_ends_of, tokens_of
from workers.llm_gateway.upstream import body_for, drain, posting, read_whole, translated
from workers.llm_gateway.wire import DONE, Reply
from workers.providers.warm_connections import WarmConnections

TAIL_S: Final = 1.0
"""How long to wait for usage and end once the model has finished, in seconds."""
DRAIN_S: Final = 0.25
READ_S: Final = 10.0
"""How much longer than the upstream a caller may take to read a stream, in seconds."""
BYTES_PER_TOKEN: Final = 4
"""The rule of thumb by which tokens are estimated where an upstream does not count them."""

STREAM: Final = "text/event-stream"
JSON: Final = "application/json"


class LiveStream:
    """An upstream's stream, from its first content on; `aclose` ends its connection at once."""

    def __init__(self, route: Route, prompt_bytes: int, relay: Relay) -> None:
        self.model = route.name
        self.region = route.upstream.region
        self.most_s = route.upstream.total_s + READ_S
        self.outcome = "gone"
        """How it ended: ok, failed, or gone while it is under way."""
        self._upstream = route.upstream
        self._prompt_bytes = prompt_bytes
        self._relay = relay
        self._held = b""
        self._stack = contextlib.AsyncExitStack()
        self._chunks: AsyncIterator[bytes]
        self._now = asyncio.get_running_loop().time
        self._ends_at = self._now() + self._upstream.total_s

    @classmethod
    async def open(
        cls,
        connections: WarmConnections,
        route: Route,
        asked: Mapping[str, Any],
        headers: Mapping[str, str],
        *,
        within_s: float,
    ) -> Self:
        """Wait for the first content, `within_s` at most; raises ModelError."""
        body = body_for(route, asked)
        options = asked.get("stream_options") or {}
        passes_usage = bool(options.get("include_usage"))
        relay = Relay(passes_usage=passes_usage, silent_ends=silent_ends_of(asked))
        stream = cls(route, len(body), relay)
        try:
            with translated("timeout_first_token"):
                async with asyncio.timeout(within_s):
                    await stream._begin(connections, route, body, headers)
        except BaseException:
            await stream.aclose()
            raise
        return stream

    async def _begin(
        self, connections: WarmConnections, route: Route, body: bytes, headers: Mapping[str, str]
    ) -> None:
        response = await self._stack.enter_async_context(
            posting(connections, route, body, headers, STREAM)
        )
        self._chunks = response.aiter_stream()
        while not self._relay.has_begun:
            chunk = await anext(self._chunks, None)
            self._held += self._relay.end() if chunk is None else self._relay.feed(chunk)
            if self._relay.is_closed:
                self._relay.end()

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        """Yield the stream for the caller; a failure becomes its last event."""
        try:
            yield self._held
            quiet_since = self._now()
            while not self._relay.is_closed and (chunk := await self._next(quiet_since)):
                if piece := self._relay.feed(chunk):
                    yield piece
                    quiet_since = self._now() if b"data:" in piece else quiet_since
            if left := self._relay.end():
                yield left
        except ModelError as error:
            self.outcome = "failed"
            yield error_event(refusal_of(error, self.model))
            return
        self.outcome = "ok"
        yield DONE
        await drain(self._chunks, DRAIN_S)

    async def _next(self, quiet_since: float) -> bytes | None:
        """Return the next bytes, None at the end or a little after the model has finished."""
        patience = TAIL_S if self._relay.is_finished else self._upstream.between_tokens_s
        until = min(self._ends_at, quiet_since + patience)
        late = "timeout_inter_token" if until < self._ends_at else "timeout_total"
        try:
            with translated(late):
                async with asyncio.timeout_at(until):
                    return await anext(self._chunks, None)
        except ModelError:
            if self._relay.is_finished:
                return None
            raise

    @property
    def tokens(self) -> Tokens:
        """What was used so far."""
        estimate = Tokens(self._prompt_bytes // BYTES_PER_TOKEN, self._relay.events, estimated=True)
        return self._relay.usage or estimate

    async def aclose(self) -> None:
        """Close the upstream's connection unless its answer was read to the end."""
        await self._stack.aclose()


class Whole:
    """A completion in one piece."""

    def __init__(self, model: str, region: str | None, body: bytes, tokens: Tokens) -> None:
        self.model = model
        self.region = region
        self.body = body
        self.tokens = tokens

    @classmethod
    async def of_upstream(
        cls,
        connections: WarmConnections,
        route: Route,
        asked: Mapping[str, Any],
        headers: Mapping[str, str],
    ) -> Self:
        """Ask an upstream; raises ModelError."""
        body = body_for(route, asked)
        with translated("timeout_total"):
            async with (
                asyncio.timeout(route.upstream.total_s),
                posting(connections, route, body, headers, JSON) as response,
            ):
                raw, said = await read_whole(response, silent_ends_of(asked))
        estimate = Tokens(len(body) // BYTES_PER_TOKEN, len(raw) // BYTES_PER_TOKEN, estimated=True)
        return cls(route.name, route.upstream.region, raw, tokens_of(said.get("usage")) or estimate)

    @classmethod
    def of_reply(cls, reply: Reply) -> Self:
        """Take the built-in responder's answer."""
        return cls(reply.model, None, json.dumps(reply.whole()).encode(), reply.tokens)


class LocalStream:
    """The built-in responder's answer as a stream."""

    region = None
    outcome = "ok"
    most_s = 60.0

    def __init__(self, reply: Reply) -> None:
        self.model = reply.model
        self.tokens = reply.tokens
        self._reply = reply

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        """Yield the stream for the caller."""
        for event in self._reply.events():
            yield event

    async def aclose(self) -> None:
        """Do nothing: there is no connection."""


Stream = LiveStream | LocalStream
