"""One request to an upstream; what goes wrong there has its class, and none of its words.

The operator names the upstreams, so the policy for addresses that users configure does not
apply. Redirects are not followed, and no proxy is taken from the environment.
"""

import asyncio
import contextlib
import json
import math
from collections.abc import AsyncIterator, Iterator, Mapping
from collections.abc import Set as AbstractSet
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import urlsplit

import httpcore

from workers.errors import ModelError
from workers.llm_gateway.models_file import Route
from workers.llm_gateway.relay import MAX_STREAM_BYTES, has_answer
from workers.providers.chat_stream import error_in, status_error
from workers.providers.retry_after import read_retry_after
from workers.providers.tls_errors import is_tls
from workers.providers.warm_connections import WarmConnections

CONNECT_S: Final = 2.0
"""How long to wait for a connection, in seconds."""
LONGEST_WAIT_S: Final = 3_600
HOPS: Final = "x-edgewise-hops"
"""The header that says how many of these gateways a request came through."""
PASSED_ON: Final = ("x-edgewise-session-id", "x-edgewise-turn-id", "x-edgewise-attempt", HOPS)
"""Headers of the caller that an upstream gets to see."""

_BROKEN: Final = (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException, OSError)


class UpstreamError(ModelError):
    """An upstream refused; `retry_after` is how long it asks to be left alone, in seconds."""

    def __init__(self, error: ModelError, retry_after: int | None) -> None:
        super().__init__(
            error.failure, str(error), retryable=error.can_retry, status_code=error.status_code
        )
        self.retry_after = retry_after


def body_for(route: Route, asked: Mapping[str, Any]) -> bytes:
    """Return what the upstream is asked: all that the caller sent, under the upstream's name."""
    body = {name: value for name, value in asked.items() if name != "fallbacks"}
    body["model"] = route.upstream.model
    if not route.upstream.stream_usage:
        body.pop("stream_options", None)
    elif body.get("stream"):
        body["stream_options"] = {**(body.get("stream_options") or {}), "include_usage": True}
    return json.dumps(body, separators=(",", ":")).encode()


@contextlib.asynccontextmanager
async def posting(
    connections: WarmConnections, route: Route, body: bytes, headers: Mapping[str, str], kind: str
) -> AsyncIterator[httpcore.Response]:
    """Open a 200 answer of this content type, nothing of its body read yet.

    Leaving early closes its connection at once. Raises ModelError and httpcore's errors.
    """
    response = await connections.handle_async_request(_request(route, body, headers, kind))
    try:
        _check(response, kind)
        yield response
    finally:
        await response.aclose()


def _request(route: Route, body: bytes, headers: Mapping[str, str], kind: str) -> httpcore.Request:
    url = f"{route.upstream.base_url.rstrip('/')}/chat/completions"
    sent = {
        **headers,
        HOPS: str(hops_of(headers) + 1),
        "Host": urlsplit(url).netloc,
        "Accept": kind,
        "Accept-Encoding": "identity",
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
    }
    if route.api_key is not None:
        sent["Authorization"] = f"Bearer {route.api_key.get_secret_value()}"
    extensions = {"timeout": {"connect": CONNECT_S}}
    # As they came: a caller's header may hold bytes beyond ASCII.
    encoded = [(name.encode(), value.encode("latin-1")) for name, value in sent.items()]
    return httpcore.Request("POST", url, headers=encoded, content=body, extensions=extensions)


def hops_of(headers: Mapping[str, str]) -> int:
    """Return how many of these gateways a request came through."""
    told = headers.get(HOPS, "")
    return int(told[:9]) if told.isascii() and told.isdecimal() else 0


async def read_whole(
    response: httpcore.Response, silent_ends: AbstractSet[str]
) -> tuple[bytes, dict[str, Any]]:
    """Return the bytes of a completion and what they say; raises ModelError.

    Without a word it is one only where it finishes for one of the reasons given.
    """
    raw = bytearray()
    async for chunk in response.aiter_stream():
        raw += chunk
        if len(raw) > MAX_STREAM_BYTES:
            raise ModelError("too_large", "the answer is beyond 8 MB", retryable=False)
    try:
        said = json.loads(raw)
    except (ValueError, RecursionError):
        raise _bad_answer("the answer is no JSON") from None
    if (error := error_in(said, "in the answer")) is not None:
        raise error
    choices = said.get("choices") if isinstance(said, dict) else None
    if not isinstance(choices, list) or not all(isinstance(choice, dict) for choice in choices):
        raise _bad_answer("the answer is no chat completion")
    if not any(has_answer(choice, "message", silent_ends) for choice in choices):
        raise ModelError("empty", "the model said nothing", retryable=True)
    return bytes(raw), said


@contextlib.contextmanager
def translated(late: str) -> Iterator[None]:
    """Turn what httpcore and the clock raise into ModelError; `late` is the class of a timeout."""
    try:
        yield
    except httpcore.ConnectTimeout:
        raise ModelError("timeout_connect", "it is not reached", retryable=True) from None
    except httpcore.PoolTimeout:
        raise ModelError("busy", "too many requests are under way", retryable=True) from None
    except TimeoutError:
        raise ModelError(late, "it does not answer in time", retryable=True) from None
    except httpcore.ConnectError as error:
        if is_tls(error):
            raise ModelError("tls", "its certificate is refused", retryable=False) from None
        raise ModelError("disconnected", "no connection to it", retryable=True) from None
    except _BROKEN:
        raise ModelError("disconnected", "the connection broke off", retryable=True) from None
    except ValueError:  # what libraries say to a name or a port that they cannot use
        raise ModelError("disconnected", "its address cannot be used", retryable=False) from None


async def drain(chunks: AsyncIterator[bytes], within_s: float) -> None:
    """Read what is left of a finished answer, so that its connection can be used again."""
    with contextlib.suppress(TimeoutError, *_BROKEN):
        async with asyncio.timeout(within_s):
            async for _ in chunks:
                pass


def _check(response: httpcore.Response, kind: str) -> None:
    headers = {name.lower(): value.decode("latin-1") for name, value in response.headers}
    if response.status != HTTPStatus.OK:
        raise UpstreamError(status_error(response.status), _wait(headers))
    if headers.get(b"content-encoding", "identity").lower() != "identity":
        raise _bad_answer("the answer is compressed")
    if headers.get(b"content-type", "").partition(";")[0].strip().lower() != kind:
        raise _bad_answer(f"the answer is not {kind}")


def _bad_answer(message: str) -> ModelError:
    return ModelError("bad_content_type", message, retryable=False)


def _wait(headers: Mapping[bytes, str]) -> int | None:
    """Return how long an upstream asks to be left alone, in seconds."""
    said, date = headers.get(b"retry-after"), headers.get(b"date")
    wait_s = read_retry_after(said, date, datetime.now(UTC))
    return None if wait_s is None else min(math.ceil(wait_s), LONGEST_WAIT_S)
