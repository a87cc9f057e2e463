"""One call of a tool over HTTP: to public addresses, without redirects, 8 KiB of answer."""

import asyncio
import json
import ssl
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import httpx
from pydantic import SecretStr

from workers.errors import BlockedAddressError, InvalidBaseUrlError, ToolError
from workers.providers.base_url_allow import Allow
from workers.providers.pinned_client import pinned_client
from workers.providers.resolve import Resolve, system_resolve

MAX_ANSWER: Final = 8_192
"""Bytes of an answer that the model is told; the rest is cut off, and it is told that, too."""
CONNECT_S: Final = 5.0
KEEPALIVE_S: Final = 4.0
"""Shorter than common servers keep a connection (5 s): a call must not meet one that closes."""
SHORTEST_SECRET: Final = 8
"""Shorter words of headers, such as `Bearer` or `Basic`, may stand in an answer."""
_CUT: Final = "\n[cut off after 8 KiB]"


@dataclass(frozen=True)
class HttpCall:
    """What to send where; `headers` hold secrets."""

    url: str
    method: str
    headers: Sequence[tuple[str, SecretStr]]
    arguments: dict[str, Any]
    ids: dict[str, str]
    """Headers that tell the tool's owner which session, turn and call this is."""


def open_tool_client(
    connections: int,
    allow: Allow,
    *,
    verify: ssl.SSLContext | None = None,
    resolve: Resolve = system_resolve,
) -> httpx.AsyncClient:
    """Make the HTTP client that all tools of a worker share."""
    return pinned_client(
        allow,
        connections=connections,
        connect_s=CONNECT_S,
        keepalive_s=KEEPALIVE_S,
        verify=verify,
        resolve=resolve,
    )


async def call_http_tool(client: httpx.AsyncClient, call: HttpCall, timeout_s: float) -> str:
    """Return the text that the tool answers, cut off after 8 KiB.

    Raises ToolError, fit for the model: nothing of headers or addresses is in it. Whoever
    cancels this closes the connection.
    """
    try:
        async with asyncio.timeout(timeout_s), client.stream(**_request(call)) as response:
            _check(response)
            text = await _text(response, _secrets(call))
    except TimeoutError:
        raise ToolError(f"no answer within {timeout_s:g} seconds") from None
    except (BlockedAddressError, InvalidBaseUrlError):
        raise ToolError("the tool's address is not allowed") from None
    except httpx.ConnectTimeout:
        raise ToolError("the tool is not reached in time") from None
    except (httpx.HTTPError, httpx.InvalidURL):
        raise ToolError("the connection to the tool failed") from None
    except ValueError:
        raise ToolError("the arguments cannot be sent") from None
    if response.is_success:
        return text
    raise ToolError(f"status {response.status_code}", text)


def _request(call: HttpCall) -> dict[str, Any]:
    headers = {
        "Accept": "application/json, text/*;q=0.9",
        "Accept-Encoding": "identity",
        "User-Agent": "edgewise",
        **call.ids,
        **{name: value.get_secret_value() for name, value in call.headers},
    }
    request: dict[str, Any] = {"method": call.method, "url": call.url, "headers": headers}
    if call.method == "GET":
        return {**request, "params": {k: _as_text(v) for k, v in call.arguments.items()}}
    return {**request, "json": call.arguments}


def _as_text(value: Any) -> Any:
    """Return a value as httpx writes it into a query; lists and objects as JSON."""
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False)
    return value


def _check(response: httpx.Response) -> None:
    """Raise ToolError unless the answer is text, uncompressed."""
    if response.is_redirect:
        raise ToolError(f"status {response.status_code}: redirects are not followed")
    if response.headers.get("content-encoding", "identity").lower() != "identity":
        raise ToolError("the answer is compressed")
    kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    is_text = kind.startswith("text/") or kind.endswith(("/json", "+json", "/xml", "+xml"))
    if kind and not is_text:
        raise ToolError(f"status {response.status_code}, and the answer is neither text nor JSON")


async def _text(response: httpx.Response, secrets: Sequence[bytes]) -> str:
    """Return the answer, cut off, without secrets: some servers repeat what they are sent."""
    most = MAX_ANSWER + max(map(len, secrets), default=0)
    body = bytearray()
    async for chunk in response.aiter_raw():
        body += chunk
        if len(body) > most:
            break
    # What is read beyond the cut shows whether a secret begins before it.
    text = _without(secrets, bytes(body[:most])).decode("utf-8", "replace")
    return text + _CUT if len(body) > MAX_ANSWER else text


def _secrets(call: HttpCall) -> list[bytes]:
    """Return the values of the headers, and the words that they are made of."""
    values = [value.get_secret_value() for _, value in call.headers]
    words = {word for value in values for word in (value, *value.split())}
    return [word.encode() for word in words if len(word) >= SHORTEST_SECRET]


def _without(secrets: Sequence[bytes], body: bytes) -> bytes:
    """Return what is before the cut, each secret that begins there replaced."""
    kept, at = bytearray(), 0
    for start, end in sorted(_places(secrets, body)):
        if at <= start < MAX_ANSWER:
            kept += body[at:start] + "…".encode()
        if start < MAX_ANSWER:
            at = max(at, end)
    return bytes(kept + body[at:MAX_ANSWER])


def _places(secrets: Sequence[bytes], body: bytes) -> Iterator[tuple[int, int]]:
    for secret in secrets:
        start = body.find(secret)
        while start >= 0:
            yield start, start + len(secret)
            start = body.find(secret, start + 1)
