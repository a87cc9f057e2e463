"""Opening and ending a session over HTTP: WHIP (RFC 9725), made two-way by the gateway."""

import json
import ssl
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urljoin, urlsplit

import httpx

from edge.errors import BusyError, DeviceError, RefusedError, UnreachableError
from edge.settings import DeviceSettings

MAX_ANSWER_BYTES: Final = 64_000
DELETE_S: Final = 2.0
SDP: Final = "application/sdp"


@dataclass(frozen=True, slots=True)
class Answer:
    """The gateway's SDP, and the session to delete at the end; None if it named none of its own."""

    sdp: str
    session_url: str | None


def http_client(settings: DeviceSettings) -> httpx.AsyncClient:
    """Return a client that carries the Bearer key, follows no redirects and uses no proxy."""
    return httpx.AsyncClient(
        headers={"Authorization": f"Bearer {settings.api_key.get_secret_value()}"},
        timeout=httpx.Timeout(settings.connect_s, connect=min(5.0, settings.connect_s)),
        verify=_trust(settings.server),
        trust_env=False,
    )


def _trust(server: str) -> ssl.SSLContext:
    """Return the system's certificates; for plain http none, which saves a device 5 MB."""
    if server.startswith("http:"):
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    return ssl.create_default_context()


async def post_offer(http: httpx.AsyncClient, settings: DeviceSettings, offer: str) -> Answer:
    """Send the offer; raises Refused-, Busy- or UnreachableError with what to do next."""
    url = settings.sessions_url
    try:
        response = await http.post(url, content=offer, headers={"Content-Type": SDP, "Accept": SDP})
    except httpx.InvalidURL as error:
        raise UnreachableError(f"{settings.server} is not a usable address: {error}.") from error
    except httpx.HTTPError as error:
        raise UnreachableError(
            f"no answer from {settings.server} ({_reason(error)}); "
            "is the server running (`edgewise up`), and is --server right?"
        ) from error
    if response.status_code != httpx.codes.CREATED:
        raise refusal(response, settings)
    kind = response.headers.get("content-type", "").partition(";")[0].strip()
    if kind != SDP or len(response.content) > MAX_ANSWER_BYTES:
        raise UnreachableError(
            f"{settings.server} answered, but not as an Edgewise gateway does; check --server."
        )
    return Answer(response.text, _own_url(url, response.headers.get("location")))


async def delete_session(http: httpx.AsyncClient, session_url: str | None) -> None:
    """End the session on the gateway; a gateway that is gone is no error."""
    if session_url is None:
        return
    try:
        await http.delete(session_url, timeout=DELETE_S)
    except httpx.HTTPError:
        return


def refusal(response: httpx.Response, settings: DeviceSettings) -> DeviceError:
    """Return the error that fits the gateway's answer, in words for the user."""
    code, message = _said(response)
    status = response.status_code
    if status in {401, 403}:
        return RefusedError(
            f"{settings.server} does not accept the API key ({message or status}); set "
            "EDGEWISE_API_KEY to one with the scope `talk`, or the one that `edgewise up` shows.",
            server_code=code or "unauthorized",
        )
    if status == httpx.codes.NOT_FOUND and code != "not_found":
        return RefusedError(
            f"{settings.server} knows no agent {settings.agent}; create it with POST /v1/agents, "
            "or list those there are with GET /v1/agents.",
            server_code=code or "agent_not_found",
        )
    if status in {429, 503}:
        return BusyError(
            f"{settings.server} has no room now ({message or status}); try again later.",
            retry_after_s=_seconds(response.headers.get("retry-after")),
        )
    if response.is_server_error:
        return UnreachableError(
            f"{settings.server} failed (HTTP {status}); look at the server's log."
        )
    return RefusedError(
        f"{settings.server} refused the session (HTTP {status}): {message or 'no reason given'}; "
        "check --server and that device and server have the same version.",
        server_code=code or "refused",
    )


def _said(response: httpx.Response) -> tuple[str, str]:
    """Return `code` and `message` of an error body, or two empty strings."""
    try:
        body: Any = json.loads(response.content[:MAX_ANSWER_BYTES])
    except ValueError:
        return "", ""
    if not isinstance(body, dict):
        return "", ""
    return str(body.get("code", ""))[:100], str(body.get("message", ""))[:300]


def _seconds(text: str | None) -> float:
    return min(float(text), 300.0) if text is not None and text.isdecimal() else 0.0


def _own_url(request_url: str, location: str | None) -> str | None:
    """Return the session's URL; None if it lies on another server, which gets no key of ours."""
    if not location:
        return None
    url = urljoin(request_url, location)
    ours, theirs = urlsplit(request_url), urlsplit(url)
    return url if (ours.scheme, ours.netloc) == (theirs.scheme, theirs.netloc) else None


def _reason(error: httpx.HTTPError) -> str:
    if isinstance(error, httpx.TimeoutException):
        return "it took too long"
    return str(error) or type(error).__name__
