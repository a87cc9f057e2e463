"""Which model endpoints are allowed: decided by text, then by every address of the name.

https on port 443 of a public host, or whatever the operator allows; cloud metadata never.
The text is judged when an entry is configured and at each request; the addresses at both
times, too, and what was judged is what is dialled (`pinned_transport`).
"""

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from workers.errors import (
    BlockedAddressError,
    InvalidBaseUrlError,
    TemporarilyUnresolvedError,
    UnresolvedHostError,
)
from workers.providers.base_url import HTTPS_PORT, BaseUrl, as_address, parse_base_url
from workers.providers.base_url_allow import ALLOW_NOTHING, Allow
from workers.providers.public_address import IpAddress, is_metadata, is_public
from workers.providers.resolve import RESOLVE_S, Resolve, system_resolve

_PRIVATE_NAME: Final = re.compile(
    r"[^.]*"  # a single label is a name of the local network
    r"|.*\.(?:alt|arpa|corp|example|home|internal|intranet|invalid|lan|local|localdomain"
    r"|localhost|onion|private|test)"
)
"""RFC 6761, 6762, 7686, 8375, 9476; ICANN's `.internal`; what routers hand out."""


@dataclass(frozen=True)
class BaseUrlPolicy:
    """The rules in force: the same for everyone, but for what the operator allows."""

    allow: Allow = ALLOW_NOTHING
    https_port: int = HTTPS_PORT
    """The one port of public endpoints; a test may move it."""

    def judge_text(self, text: str) -> BaseUrl:
        """Return the URL normalised; raises InvalidBaseUrlError or BlockedAddressError."""
        url = parse_base_url(text)
        self.judge_url(url)
        return url

    def judge_url(self, url: BaseUrl) -> None:
        """Raise InvalidBaseUrlError or BlockedAddressError unless it may be allowed.

        A name can still have addresses that are not: `judge_addresses` decides on those.
        """
        address = url.address
        if address is not None:
            self._judge_literal(url, address)
        elif not self.allow.names(url.host, url.port):
            self._judge_name(url)

    def judge_addresses(self, host: str, port: int, addresses: Sequence[IpAddress]) -> None:
        """Raise BlockedAddressError unless every address of the host is allowed at this port.

        None at all is UnresolvedHostError.
        """
        if not addresses:
            raise UnresolvedHostError("the host's name has no address")
        if any(map(is_metadata, addresses)):
            raise self._blocked()
        if self.allow.names(host, port):
            return
        # Text lets no http to this port, so what goes there is encrypted and may be public.
        may_be_public = port == self.https_port and not _is_private_name(host)
        for address in addresses:
            if not (self.allow.covers(address) or (may_be_public and is_public(address))):
                raise self._blocked()

    def _blocked(self) -> BlockedAddressError:
        """Return the same words for each address that is refused: they tell nothing of it."""
        return BlockedAddressError(
            f"the host is not public, and the operator does not allow it ({self.allow.setting})"
        )

    def _judge_literal(self, url: BaseUrl, address: IpAddress) -> None:
        if is_metadata(address):
            raise self._blocked()
        if self.allow.names(url.host, url.port) or self.allow.covers(address):
            return
        if not is_public(address):
            raise self._blocked()
        self._judge_scheme_and_port(url)

    def _judge_name(self, url: BaseUrl) -> None:
        is_private = _is_private_name(url.host)
        if self.allow.networks and (url.port != self.https_port or is_private):
            return  # its addresses must lie in an allowed network; text cannot tell
        if is_private:
            raise self._blocked()
        self._judge_scheme_and_port(url)

    def _judge_scheme_and_port(self, url: BaseUrl) -> None:
        if url.scheme != "https":
            raise InvalidBaseUrlError("the URL must begin with https://")
        if url.port != self.https_port:
            raise InvalidBaseUrlError(f"the port must be {self.https_port}")


async def check_base_url(
    text: str,
    policy: BaseUrlPolicy,
    resolve: Resolve = system_resolve,
    deadline_s: float = RESOLVE_S,
) -> BaseUrl:
    """Return a user's `base_url` normalised, its host's addresses judged.

    Raises InvalidBaseUrlError, BlockedAddressError, UnresolvedHostError when the name has no
    address, or TemporarilyUnresolvedError when that is not known in `deadline_s` seconds.
    """
    url = policy.judge_text(text)
    try:
        async with asyncio.timeout(deadline_s):
            addresses = await resolve(url.host)
    except TimeoutError:
        raise TemporarilyUnresolvedError("the host's name was not resolved in time") from None
    policy.judge_addresses(url.host, url.port, addresses)
    return url


def _is_private_name(host: str) -> bool:
    return as_address(host) is None and _PRIVATE_NAME.fullmatch(host) is not None
