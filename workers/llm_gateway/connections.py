"""Connections to upstreams, kept warm.

httpcore's own pool looks at all its connections several times for each request: 50 requests at
once waited up to half a second for it. Here each takes the one that was used last.
"""

import contextlib
import ssl
from collections import deque
from collections.abc import AsyncIterator, Mapping
from typing import Final, Self
from urllib.parse import urlsplit

import httpcore
import httpx

CONNECT_S: Final = 2.0
"""How long to wait for a connection, in seconds."""
WARM_S: Final = 30.0
"""How long one that is not used is kept, in seconds."""
MOST: Final = 1_000
MOST_IDLE: Final = 200
"""Bounds of all of them, and of those that are not used."""


class TooManyConnectionsError(Exception):
    """As many requests are under way as there may be."""


class Connections:
    """Warm connections by origin; use it with `async with`."""

    def __init__(self, verify: ssl.SSLContext | None = None) -> None:
        self._verify = verify or httpx.create_ssl_context(trust_env=False)
        self._idle: dict[str, deque[httpcore.AsyncHTTPConnection]] = {}
        self._used = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for kept in self._idle.values():
            while kept:
                await kept.pop().aclose()

    @contextlib.asynccontextmanager
    async def post(
        self, url: str, content: bytes, headers: Mapping[str, str]
    ) -> AsyncIterator[httpcore.Response]:
        """Open the answer; leaving early closes its connection at once.

        Raises httpcore's errors and TooManyConnectionsError.
        """
        target = httpcore.URL(url)
        sent = {**headers, "Host": urlsplit(url).netloc, "Content-Length": str(len(content))}
        request = httpcore.Request(
            "POST",
            target,
            headers=list(sent.items()),
            content=content,
            extensions={"timeout": {"connect": CONNECT_S}},
        )
        async with self._connected(target.origin) as connection:
            response = await connection.handle_async_request(request)
            try:
                yield response
            finally:
                await response.aclose()

    @contextlib.asynccontextmanager
    async def _connected(
        self, origin: httpcore.Origin
    ) -> AsyncIterator[httpcore.AsyncHTTPConnection]:
        if self._used >= MOST:
            raise TooManyConnectionsError
        self._used += 1
        try:
            connection = await self._take(origin)
            try:
                yield connection
            finally:
                await self._give_back(origin, connection)
        finally:
            self._used -= 1

    async def _take(self, origin: httpcore.Origin) -> httpcore.AsyncHTTPConnection:
        kept = self._idle.get(str(origin))
        while kept:
            connection = kept.pop()
            if not connection.has_expired():
                return connection
            await connection.aclose()
        return httpcore.AsyncHTTPConnection(
            origin, ssl_context=self._verify, keepalive_expiry=WARM_S
        )

    async def _give_back(
        self, origin: httpcore.Origin, connection: httpcore.AsyncHTTPConnection
    ) -> None:
        if not connection.is_idle():
            await connection.aclose()
            return
        kept = self._idle.setdefault(str(origin), deque())
        kept.append(connection)
        while kept and (len(kept) > MOST_IDLE or kept[0].has_expired()):
            await kept.popleft().aclose()
