"""`edgewise health`: whether a part of this machine (or container) serves, as an exit code."""

import socket
from typing import Final, Literal

import httpx
from redis.exceptions import RedisError

from workers.errors import EdgewiseError
from workers.settings import Settings
from workers.storage.presence import Kind, is_here
from workers.storage.redis_client import connect_blocking
from workers.supervision.addresses import address_of, with_redis_of_home

Serving = Literal["gateway", "llm-gateway"]
ANSWER_S: Final = 3.0
HTTP_OK: Final = 200


class NotHealthyError(EdgewiseError):
    """The part does not serve; the message says what was tried."""


def check_server(settings: Settings, part: Serving) -> None:
    """Ask the part that runs in this home for /healthz; raises NotHealthyError."""
    address = address_of(settings, part)
    if address is None:
        raise NotHealthyError(f"no {part} is running in {settings.home_path}")
    url = f"{address}/healthz"
    try:
        status = httpx.get(url, timeout=ANSWER_S, trust_env=False).status_code
    except httpx.HTTPError as error:
        raise NotHealthyError(f"{url} does not answer ({type(error).__name__})") from None
    if status != HTTP_OK:
        raise NotHealthyError(f"{url} answers {status}")


def check_worker(settings: Settings, kind: Kind) -> None:
    """Look whether a worker of this kind on this host announces itself; raises NotHealthyError."""
    try:
        with connect_blocking(with_redis_of_home(settings)) as redis:
            here = is_here(redis, kind, socket.gethostname())
    except (RedisError, OSError) as error:
        raise NotHealthyError(f"Redis does not answer ({type(error).__name__})") from None
    if not here:
        raise NotHealthyError(f"no {kind} worker of this host has announced itself for 5 s")
