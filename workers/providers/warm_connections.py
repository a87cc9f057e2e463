"""Connections to endpoints, kept warm: what httpcore's own pool does, without its looks around.

At each request that pool looks at all its connections several times, with a system call for each
idle one: 100 requests at once on warm connections waited 3 to 5 s for it. Here each request takes
the connection of its origin that was used last, or a new one.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator
from types import TracebackType
from typing import NamedTuple, Self

import httpcore


class _Idle(NamedTuple):
    origin: str
    since: float
    """On the loop's clock."""


class WarmConnections:
    """Up to `most` requests at once, each on a connection of its own, HTTP/1.1.

    A connection that is not used stays open for `warm_s` seconds.
    """

    def __init__(
        self,
        *,
        verify: ssl.SSLContext,
        most: int,
        warm_s: float,
        backend: httpcore.AsyncNetworkBackend | None = None,
    ) -> None:
        self.most = most
        self.backend = backend or httpcore.AnyIOBackend()
        self._verify = verify
        self._warm_s = warm_s
        self._used: set[httpcore.AsyncHTTPConnection] = set()
        self._idle: dict[httpcore.AsyncHTTPConnection, _Idle] = {}
        """The one that has been idle for longest first."""
        self._idle_of: dict[str, list[httpcore.AsyncHTTPConnection]] = {}
        self._next_look: asyncio.TimerHandle | None = None
        self._looking: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        trace: TracebackType | None = None,
    ) -> None:
        await self.aclose()

    @property
    def connections(self) -> list[httpcore.AsyncHTTPConnection]:
        """Those that are open, used or not."""
        return [*self._used, *self._idle]

    async def aclose(self) -> None:
        """Close all of them."""
        if self._looking is not None:
            await asyncio.wait([self._looking])
        if self._next_look is not None:
            self._next_look.cancel()
        connections = self.connections
        self._used.clear()
        self._idle.clear()
        self._idle_of.clear()
        for connection in connections:
            await connection.aclose()

    async def handle_async_request(self, request: httpcore.Request) -> httpcore.Response:
        """Send the request; closing the answer's stream gives its connection back.

        Raises httpcore's errors, PoolTimeout where too many requests are under way.
        """
        if len(self._used) >= self.most:
            raise httpcore.PoolTimeout("too many requests are under way")
        connection = await self._take(request.url.origin)
        self._used.add(connection)
        try:
            response = await connection.handle_async_request(request)
        except BaseException:
            self._used.discard(connection)
            await connection.aclose()
            raise
        return httpcore.Response(
            status=response.status,
            headers=response.headers,
            content=_Body(response, self, connection, str(request.url.origin)),
            extensions=response.extensions,
        )

    async def _take(self, origin: httpcore.Origin) -> httpcore.AsyncHTTPConnection:
        while kept := self._idle_of.get(str(origin)):
            connection = kept.pop()
            self._forget(connection)
            if not connection.has_expired():
                return connection
            await connection.aclose()
        return httpcore.AsyncHTTPConnection(
            origin,
            ssl_context=self._verify,
            keepalive_expiry=self._warm_s,
            network_backend=self.backend,
        )

    async def give_back(self, connection: httpcore.AsyncHTTPConnection, origin: str) -> None:
        """Keep a connection whose answer was read to its end, close any other."""
        if connection not in self._used:
            return
        self._used.discard(connection)
        if not connection.is_idle():
            await connection.aclose()
            return
        self._idle[connection] = _Idle(origin, asyncio.get_running_loop().time())
        self._idle_of.setdefault(origin, []).append(connection)
        await self._let_go()

    async def _let_go(self) -> None:
        """Close what was idle for too long, or is one too many; look again when the next is due."""
        while self._idle:
            connection, idle = next(iter(self._idle.items()))
            if len(self._idle) <= self.most and not connection.has_expired():
                self._look_at(idle.since + self._warm_s)
                return
            self._idle_of[idle.origin].remove(connection)
            self._forget(connection)
            await connection.aclose()

    def _look_at(self, when: float) -> None:
        if self._next_look is None:
            self._next_look = asyncio.get_running_loop().call_at(when, self._look)

    def _look(self) -> None:
        self._next_look = None
        if self._looking is not None and not self._looking.done():
            return  # it looks again by itself
        self._looking = asyncio.create_task(self._let_go(), name="warm-connections")

    def _forget(self, connection: httpcore.AsyncHTTPConnection) -> None:
        origin = self._idle.pop(connection).origin
        if not self._idle_of[origin]:
            del self._idle_of[origin]


class _Body:
    """The stream of an answer."""

    def __init__(
        self,
        response: httpcore.Response,
        connections: WarmConnections,
        connection: httpcore.AsyncHTTPConnection,
        origin: str,
    ) -> None:
        self._response = response
        self._connections = connections
        self._connection = connection
        self._origin = origin

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for part in self._response.aiter_stream():
                yield part
        except BaseException:
            await self.aclose()
            raise

    async def aclose(self) -> None:
        try:
            await self._response.aclose()
        finally:
            await self._connections.give_back(self._connection, self._origin)
