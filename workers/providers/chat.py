"""A streamed reply from an OpenAI-compatible endpoint; every failure has its class.

One budget on one monotonic clock: to connect, to the first content token, between content
tokens, for the whole reply. Keep-alives and role-only chunks are no content. The endpoint is asked
once: whether it is asked again, or another one, is for the caller to decide.
"""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import httpx
from pydantic import SecretStr

from schemas.chat import ChatEvent, ChatRequest, Content, ToolCallPiece
from workers.errors import REFUSED, BlockedAddressError, InvalidBaseUrlError, ModelError
from workers.providers.base_url_allow import Allow
from workers.providers.chat_body import chat_body
from workers.providers.chat_stream import ChatStream, status_error
from workers.providers.chat_usage import SilentOnUsage
from workers.providers.pinned_client import pinned_client
from workers.providers.resolve import Resolve, system_resolve
from workers.providers.retry_after import read_retry_after
from workers.providers.tls_errors import is_tls

TAIL_S: Final = 0.25
"""How long to wait for the end of a finished stream: for its usage, and to use its connection
again."""


@dataclass(frozen=True)
class Endpoint:
    """Where a model is reached."""

    base_url: str
    model: str
    api_key: SecretStr | None = None


@dataclass(frozen=True)
class Budget:
    """How long to wait for what, in seconds."""

    connect_s: float = 1.0
    first_token_s: float = 8.0
    between_tokens_s: float = 3.0
    total_s: float = 30.0


def open_client(
    budget: Budget,
    connections: int,
    allow: Allow,
    *,
    verify: ssl.SSLContext | None = None,
    resolve: Resolve = system_resolve,
) -> httpx.AsyncClient:
    """Make the HTTP client that all turns of a worker share; connections stay warm for 30 s.

    It reaches public endpoints by https, and what is allowed besides. Endpoints of users and of
    the operator each need a client of their own: a warm connection is not judged again.
    """
    return pinned_client(
        allow,
        connections=connections,
        connect_s=budget.connect_s,
        keepalive_s=30,
        verify=verify,
        resolve=resolve,
    )


class _Clock:
    """When the next content token must have come, on the loop's monotonic clock."""

    def __init__(self, budget: Budget) -> None:
        self._now = asyncio.get_running_loop().time
        self._between = budget.between_tokens_s
        self._end = self._now() + budget.total_s
        self._content = self._now() + budget.first_token_s
        self._started = False

    @property
    def deadline(self) -> float:
        return min(self._end, self._content)

    def content_taken(self) -> None:
        """Count anew, from when the last content was taken up: a slow reader is no stall."""
        self._started = True
        self._content = self._now() + self._between

    def check(self) -> None:
        """Raise TimeoutError once the whole reply takes too long."""
        if self._now() >= self._end:
            raise TimeoutError

    def timeout(self) -> ModelError:
        if not self._started:
            return ModelError("timeout_first_token", "no content in time", retryable=False)
        if self._end <= self._content:
            return ModelError("timeout_total", "the reply takes too long", retryable=False)
        return ModelError("timeout_inter_token", "the reply stalls", retryable=False)


class OpenAiChat:
    """One endpoint and model, on the worker's shared client."""

    def __init__(
        self,
        client: httpx.AsyncClient,
        endpoint: Endpoint,
        budget: Budget,
        silent: SilentOnUsage | None = None,
    ) -> None:
        self._client = client
        self._endpoint = endpoint
        self._budget = budget
        self._silent = SilentOnUsage() if silent is None else silent

    @property
    def model(self) -> str:
        """The model's name."""
        return self._endpoint.model

    @contextlib.asynccontextmanager
    async def stream(self, request: ChatRequest) -> AsyncIterator[AsyncIterator[ChatEvent]]:
        """Stream a reply; leaving the context closes the connection at once."""
        async with contextlib.aclosing(self._events(request)) as events:
            yield events

    async def _events(self, request: ChatRequest) -> AsyncGenerator[ChatEvent, None]:
        clock = _Clock(self._budget)
        stream = ChatStream(may_be_silent=request.may_be_silent)
        with _translated(clock):
            async with contextlib.AsyncExitStack() as stack:
                async with asyncio.timeout_at(clock.deadline):
                    response = await self._open(request, stack)
                _check(response)
                chunks = response.aiter_raw()
                while not stream.is_finished:
                    async with asyncio.timeout_at(clock.deadline):
                        chunk = await anext(chunks, None)
                    if chunk is None:
                        break
                    for event in stream.feed(chunk):
                        yield event
                        if _is_progress(event):
                            clock.content_taken()
                        if not stream.is_finished:
                            clock.check()
                    if stream.is_closed:
                        break
                stream.end()
                await _drain(chunks, stream)
                if stream.usage is not None:
                    yield stream.usage

    async def _open(self, request: ChatRequest, stack: contextlib.AsyncExitStack) -> httpx.Response:
        """Ask for a reply and for its usage; where that is refused, for the reply alone."""
        asked = self._endpoint.base_url, self._endpoint.model
        asks_usage = asked not in self._silent
        response = await stack.enter_async_context(self._post(request, asks_usage=asks_usage))
        if not asks_usage or response.status_code not in REFUSED:
            return response
        await response.aclose()
        response = await stack.enter_async_context(self._post(request, asks_usage=False))
        if response.status_code == httpx.codes.OK:
            self._silent.add(asked)
        return response

    def _post(
        self, request: ChatRequest, *, asks_usage: bool
    ) -> contextlib.AbstractAsyncContextManager[httpx.Response]:
        headers = {
            "Accept": "text/event-stream",
            "Accept-Encoding": "identity",
            "X-Edgewise-Session-Id": request.session_id,
            "X-Edgewise-Turn-Id": request.turn_id,
            "X-Edgewise-Attempt": str(request.attempt),
        }
        if self._endpoint.api_key is not None:
            headers["Authorization"] = f"Bearer {self._endpoint.api_key.get_secret_value()}"
        body = chat_body(self._endpoint.model, request, asks_usage=asks_usage)
        url = f"{self._endpoint.base_url.rstrip('/')}/chat/completions"
        patience = httpx.Timeout(None, connect=self._budget.connect_s, pool=self._budget.connect_s)
        return self._client.stream("POST", url, json=body, headers=headers, timeout=patience)


def _is_progress(event: ChatEvent) -> bool:
    """Tell whether the model got on with its reply; blanks alone are as good as silence."""
    return isinstance(event, ToolCallPiece) or (
        isinstance(event, Content) and not event.text.isspace()
    )


async def _drain(chunks: AsyncIterator[bytes], stream: ChatStream) -> None:
    """Read what comes behind the reply; whatever it is, the reply is whole."""
    with contextlib.suppress(TimeoutError, httpx.HTTPError, ModelError):
        async with asyncio.timeout(TAIL_S):
            async for chunk in chunks:
                stream.feed(chunk)


def _check(response: httpx.Response) -> None:
    """Raise ModelError unless the answer is an event stream, uncompressed."""
    if response.status_code != httpx.codes.OK:
        headers = response.headers
        wait_s = read_retry_after(
            headers.get("retry-after"), headers.get("date"), datetime.now(UTC)
        )
        raise status_error(response.status_code, retry_after_s=wait_s)
    kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "application/json":
        raise ModelError(
            "bad_content_type", "the endpoint answers JSON: it does not stream", retryable=False
        )
    if kind != "text/event-stream":
        raise ModelError("bad_content_type", "the answer is no event stream", retryable=False)
    if response.headers.get("content-encoding", "identity").lower() != "identity":
        raise ModelError("bad_content_type", "the answer is compressed", retryable=False)


@contextlib.contextmanager
def _translated(clock: _Clock) -> Iterator[None]:
    """Turn what httpx and the clock raise into ModelError; nothing of the answer goes along."""
    try:
        yield
    except httpx.ConnectTimeout:
        raise ModelError("timeout_connect", "the endpoint is not reached", retryable=True) from None
    except TimeoutError:
        raise clock.timeout() from None
    except httpx.ConnectError as error:
        if is_tls(error):
            raise ModelError("tls", "the certificate is refused", retryable=False) from None
        raise ModelError("disconnected", "no connection to the endpoint", retryable=True) from None
    except (BlockedAddressError, InvalidBaseUrlError) as error:
        raise ModelError("blocked_address", str(error), retryable=False) from None
    except httpx.InvalidURL:
        raise ModelError("disconnected", "the endpoint's URL is none", retryable=False) from None
    except httpx.HTTPError:
        raise ModelError("disconnected", "the connection broke off", retryable=True) from None
