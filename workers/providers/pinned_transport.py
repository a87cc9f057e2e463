"""The way out to model endpoints: only a judged address is dialled, and no other after it.

A name is resolved once per connection, every address judged, and those very addresses dialled.
Host header, SNI and certificate stay with the name. No proxy, no redirect, no Unix socket,
nothing from the environment.
"""

import asyncio
import ssl
from collections.abc import Iterable
from functools import partial
from typing import Any, Final

import httpcore
import httpx

from workers.errors import UnresolvedHostError
from workers.providers.base_url import normal_host
from workers.providers.base_url_policy import BaseUrlPolicy
from workers.providers.pinned_dialling import first_to_answer, in_dialling_order
from workers.providers.resolve import Resolve, system_resolve
from workers.providers.warm_connections import WarmConnections

CONNECT_S: Final = 10.0
"""How long a connection may take when the request sets no deadline."""

MOST: Final = 1_000
"""Requests at once, where the limits do not say."""

_SocketOption = Any
"""What httpcore calls SOCKET_OPTION and keeps private: a tuple for `setsockopt`."""


class PinnedTransport(httpx.AsyncHTTPTransport):
    """Sends requests to hosts that the policy allows.

    Raises InvalidBaseUrlError and BlockedAddressError besides what httpx raises.
    """

    def __init__(
        self,
        policy: BaseUrlPolicy,
        *,
        limits: httpx.Limits,
        verify: ssl.SSLContext | None = None,
        resolve: Resolve = system_resolve,
        dialler: httpcore.AsyncNetworkBackend | None = None,
    ) -> None:
        context = verify or httpx.create_ssl_context(trust_env=False)
        super().__init__(verify=context, trust_env=False, limits=limits)
        # The one private name we set: httpx lets nobody choose the pool. A test pins it.
        self._pool = WarmConnections(  # type: ignore[assignment]  # it needs of a pool what ours has
            verify=context,
            most=limits.max_connections or MOST,
            warm_s=limits.keepalive_expiry or 0.0,
            backend=PinnedBackend(policy, resolve, dialler),
        )
        self._policy = policy

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send the request if the text of its URL allows it."""
        self._policy.judge_text(_origin(request.url))
        return await super().handle_async_request(request)


class PinnedBackend(httpcore.AsyncNetworkBackend):
    """Opens connections for an httpcore pool, judging each address before it is dialled."""

    def __init__(
        self,
        policy: BaseUrlPolicy,
        resolve: Resolve = system_resolve,
        dialler: httpcore.AsyncNetworkBackend | None = None,
    ) -> None:
        self._policy = policy
        self._resolve = resolve
        self._dialler = dialler or httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109  # httpcore's signature
        local_address: str | None = None,
        socket_options: Iterable[_SocketOption] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect within `timeout` seconds, name look-up and TLS handshake included."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + (CONNECT_S if timeout is None else timeout)
        try:
            async with asyncio.timeout_at(deadline):
                addresses = await self._resolve(host)
                self._policy.judge_addresses(normal_host(host), port, addresses)
                stream = await first_to_answer(
                    [
                        partial(
                            self._dialler.connect_tcp,
                            str(address),
                            port,
                            local_address=local_address,
                            socket_options=socket_options,
                        )
                        for address in in_dialling_order(addresses)
                    ]
                )
        except TimeoutError:
            raise httpcore.ConnectTimeout("no connection in time") from None
        except UnresolvedHostError as error:
            raise httpcore.ConnectError(str(error)) from None
        return _Dialled(stream, deadline)

    async def connect_unix_socket(
        self,
        path: str,  # noqa: ARG002  # httpcore's signature
        timeout: float | None = None,  # noqa: ARG002, ASYNC109  # httpcore's signature
        socket_options: Iterable[_SocketOption] | None = None,  # noqa: ARG002  # the same
    ) -> httpcore.AsyncNetworkStream:
        """Refuse: no endpoint is a Unix socket."""
        raise httpcore.UnsupportedProtocol("model endpoints are reached by TCP only")

    async def sleep(self, seconds: float) -> None:
        """Wait, for httpcore's retries."""
        await asyncio.sleep(seconds)


class _Dialled(httpcore.AsyncNetworkStream):
    """A connection whose TLS handshake shares the deadline of its dialling."""

    def __init__(self, stream: httpcore.AsyncNetworkStream, deadline: float) -> None:
        self._stream = stream
        self._deadline = deadline

    async def read(
        self,
        max_bytes: int,
        timeout: float | None = None,  # noqa: ASYNC109  # httpcore's signature
    ) -> bytes:
        return await self._stream.read(max_bytes, timeout)

    async def write(
        self,
        buffer: bytes,
        timeout: float | None = None,  # noqa: ASYNC109  # httpcore's signature
    ) -> None:
        await self._stream.write(buffer, timeout)

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109, ARG002  # ours is what dialling left over
    ) -> httpcore.AsyncNetworkStream:
        left = max(0.0, self._deadline - asyncio.get_running_loop().time())
        try:
            return await self._stream.start_tls(ssl_context, server_hostname, left)
        except BaseException:
            # A handshake that is cancelled leaves its socket open otherwise.
            await self._stream.aclose()
            raise

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


def _origin(url: httpx.URL) -> str:
    """Return the part of the URL that says where to; its path was judged when configured."""
    return f"{url.scheme}://{url.netloc.decode('ascii')}"
