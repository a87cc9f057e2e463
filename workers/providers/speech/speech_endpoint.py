"""An OpenAI-compatible speech engine over HTTP: its failures have the classes of the model's."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

import httpx
from pydantic import SecretStr

from workers.errors import BlockedAddressError, EdgewiseError, InvalidBaseUrlError
from workers.providers.tls_errors import is_tls

OF_ONE_USER: Final = frozenset({400, 413, 422})
"""Statuses by which a server says that the request itself is at fault."""


class EndpointError(EdgewiseError):
    """A speech endpoint failed; `failure` is a class as of a ModelError, the message repeats it."""

    def __init__(self, failure: str, message: str, status_code: int | None = None) -> None:
        super().__init__(f"{message} ({failure})")
        self.failure = failure
        self.status_code = status_code

    @property
    def is_of_one_user(self) -> bool:
        """Whether odd words or odd audio can bring it about: it says nothing to other users."""
        return self.failure == "empty" or self.status_code in OF_ONE_USER


@dataclass(frozen=True)
class SpeechEndpoint:
    """Where an engine is reached."""

    base_url: str
    model: str
    api_key: SecretStr | None = None

    def url(self, path: str) -> str:
        """Return the URL of one of its pages."""
        return f"{self.base_url.rstrip('/')}/{path}"

    @property
    def headers(self) -> dict[str, str]:
        """What every request says."""
        headers = {"Accept-Encoding": "identity"}
        if self.api_key is not None:
            headers["Authorization"] = f"Bearer {self.api_key.get_secret_value()}"
        return headers


def media_type(response: httpx.Response) -> str:
    """Return the answer's media type, without parameters, in lower case."""
    return str(response.headers.get("content-type", "")).partition(";")[0].strip().lower()


def check(response: httpx.Response) -> None:
    """Raise EndpointError unless the answer is a plain 200."""
    status = response.status_code
    if status != HTTPStatus.OK:
        raise EndpointError(_class_of(status), f"status {status}", status)
    if response.headers.get("content-encoding", "identity").lower() != "identity":
        raise EndpointError("bad_content_type", "the answer is compressed")


def _class_of(status: int) -> str:
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return "http_429"
    return f"http_{min(max(status // 100, 3), 5)}xx"


@contextlib.contextmanager
def translated(late: str) -> Iterator[None]:
    """Turn what httpx and a deadline raise into EndpointError; `late` is the class of the latter.

    Nothing of the answer goes along.
    """
    try:
        yield
    except httpx.ConnectTimeout:
        raise EndpointError("timeout_connect", "the endpoint is not reached") from None
    except TimeoutError:
        raise EndpointError(late, "the endpoint takes too long") from None
    except httpx.ConnectError as error:
        if is_tls(error):
            raise EndpointError("tls", "the certificate is refused") from None
        raise EndpointError("disconnected", "no connection to the endpoint") from None
    except (BlockedAddressError, InvalidBaseUrlError) as error:
        raise EndpointError("blocked_address", str(error)) from None
    except (httpx.HTTPError, httpx.InvalidURL):
        raise EndpointError("disconnected", "the connection broke off") from None


class Deadline:
    """Seconds that may be spent waiting for one answer; what its reader takes does not count."""

    def __init__(self, total_s: float) -> None:
        self._left = total_s
        self._now = asyncio.get_running_loop().time

    @contextlib.asynccontextmanager
    async def wait(self, at_most_s: float) -> AsyncIterator[None]:
        """Raise TimeoutError where the block takes longer than that, or than what is left."""
        began = self._now()
        try:
            async with asyncio.timeout(min(at_most_s, self._left)):
                yield
        finally:
            self._left -= self._now() - began
