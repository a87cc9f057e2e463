"""One attempt to hand a message to an endpoint, through the pinned transport."""

import asyncio
import contextlib
import importlib.metadata
import ssl
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

import httpx

from workers.errors import BlockedAddressError, InvalidBaseUrlError
from workers.providers.base_url_policy import BaseUrlPolicy
from workers.providers.pinned_transport import PinnedTransport
from workers.providers.retry_after import read_retry_after

ATTEMPT_S: Final = 15.0
"""How long an attempt may take in all, in seconds."""
CONNECT_S: Final = 5.0
AT_ONCE: Final = 16
_LONGEST_ANSWER: Final = 16_384
"""How much of an answer is read, in bytes, so that the connection can be used again."""


@dataclass(frozen=True)
class Outcome:
    """What came of an attempt: a status, or the reason why there is none."""

    status: int | None = None
    error: str | None = None
    retry_after: timedelta | None = None

    @property
    def is_delivered(self) -> bool:
        """Whether the endpoint took the message in."""
        return self.status is not None and httpx.codes.is_success(self.status)

    @property
    def is_gone(self) -> bool:
        """Whether the endpoint wants nothing any more."""
        return self.status == httpx.codes.GONE


class Poster:
    """Posts to public https addresses, and to what the operator allows; follows no redirect."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    @classmethod
    @contextlib.asynccontextmanager
    async def open(
        cls, policy: BaseUrlPolicy, trusted: ssl.SSLContext | None = None
    ) -> AsyncIterator["Poster"]:
        """Open it with connections of its own; `trusted` is who vouches for certificates."""
        limits = httpx.Limits(max_connections=AT_ONCE, max_keepalive_connections=AT_ONCE)
        transport = PinnedTransport(policy, limits=limits, verify=trusted)
        version = importlib.metadata.version("edgewise")
        headers = {"User-Agent": f"edgewise/{version}", "Accept-Encoding": "identity"}
        async with httpx.AsyncClient(
            transport=transport, headers=headers, trust_env=False, follow_redirects=False
        ) as client:
            yield cls(client)

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Outcome:
        """Make one attempt; whatever goes wrong is in the outcome."""
        try:
            async with asyncio.timeout(ATTEMPT_S):
                return await self._post(url, body, headers)
        except (TimeoutError, httpx.TimeoutException):
            return Outcome(error="timeout")
        except (BlockedAddressError, InvalidBaseUrlError) as error:
            return Outcome(error=error.code)
        except httpx.ConnectError:
            return Outcome(error="no_connection")
        except (httpx.HTTPError, httpx.InvalidURL):
            return Outcome(error="broken_off")

    async def _post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Outcome:
        request = self._client.stream(
            "POST",
            url,
            content=body,
            headers={"Content-Type": "application/json", **headers},
            timeout=httpx.Timeout(ATTEMPT_S, connect=CONNECT_S),
        )
        async with request as answer:
            read = 0
            async for part in answer.aiter_raw():
                read += len(part)
                if read > _LONGEST_ANSWER:
                    break
            return Outcome(answer.status_code, retry_after=_retry_after(answer))


def _retry_after(answer: httpx.Response) -> timedelta | None:
    said = answer.headers
    wait_s = read_retry_after(said.get("retry-after"), said.get("date"), datetime.now(UTC))
    return None if wait_s is None else timedelta(seconds=wait_s)
