"""The addresses of a host's name, by the system's resolver: hosts file, DNS, mDNS."""

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from workers.errors import TemporarilyUnresolvedError, UnresolvedHostError
from workers.providers.base_url import as_address
from workers.providers.public_address import IpAddress

RESOLVE_S: Final = 5.0
"""How long to wait for the addresses of a name when an entry is configured."""
THREADS: Final = 64
THREADS_FOR_MANY: Final = 32

_TEMPORARY: Final = {socket.EAI_AGAIN, socket.EAI_MEMORY, socket.EAI_SYSTEM}
"""What says nothing about the name, but of the name servers or of this machine."""

Resolve = Callable[[str], Awaitable[tuple[IpAddress, ...]]]
"""From a normalised host to at least one address; raises UnresolvedHostError, or
TemporarilyUnresolvedError where it cannot be known now.

Whoever calls it sets the deadline.
"""

# The event loop's own threads are few, and one slow name server would hold up all else there.
_threads = ThreadPoolExecutor(THREADS, thread_name_prefix="resolve")
# A thread stays with a name that hangs, and a batch can hold thousands of such names.
_threads_for_many = ThreadPoolExecutor(THREADS_FOR_MANY, thread_name_prefix="resolve-many")


async def system_resolve(host: str) -> tuple[IpAddress, ...]:
    """Return the host's addresses, best first (RFC 6724); raises as `Resolve` says."""
    return await _resolve(host, _threads)


async def resolve_of_many(host: str) -> tuple[IpAddress, ...]:
    """As `system_resolve`, for one name of thousands: no single one waits behind those."""
    return await _resolve(host, _threads_for_many)


async def _resolve(host: str, threads: ThreadPoolExecutor) -> tuple[IpAddress, ...]:
    address = as_address(host)
    if address is not None:
        return (address,)
    try:
        return await asyncio.get_running_loop().run_in_executor(threads, _look_up, host)
    except OSError as error:
        if error.errno in _TEMPORARY:
            message = "the host's name cannot be resolved at the moment"
            raise TemporarilyUnresolvedError(message) from None
        raise UnresolvedHostError("the host's name has no address") from None


def _look_up(host: str) -> tuple[IpAddress, ...]:
    # As bytes: given text, Python would map it by IDNA 2003 first.
    found = socket.getaddrinfo(host.encode("ascii"), None, type=socket.SOCK_STREAM)
    return tuple(dict.fromkeys(ipaddress.ip_address(entry[4][0]) for entry in found))
