"""Which web pages may call REST from a browser: those that the operator names, and no others.

Never with credentials: a key travels in a header that a page sets itself, so no cookie and
no stored password of a visitor is ever sent along.
"""

import re
from typing import Final

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from workers.errors import ConfigurationError

MAX_AGE_S: Final = 600
_ORIGIN: Final = re.compile(r"https?://(?:[a-z0-9.-]+|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?")
_METHODS: Final = ("GET", "POST", "PUT", "PATCH", "DELETE")
_TAKEN: Final = ("Authorization", "Content-Type", "Idempotency-Key", "X-Request-Id")
_SHOWN: Final = ("Location", "Retry-After", "X-Request-Id")


def add_cors(app: FastAPI, origins: str) -> None:
    """Let pages of these origins, separated by commas, call; raises ConfigurationError."""
    allowed = [origin for each in origins.split(",") if (origin := each.strip())]
    for origin in allowed:
        if origin != "*" and not _ORIGIN.fullmatch(origin):
            raise ConfigurationError(
                f"EDGEWISE_CORS_ORIGINS: `{origin}` is no origin such as https://app.example.com"
            )
    if allowed:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=allowed,
            allow_methods=_METHODS,
            allow_headers=_TAKEN,
            expose_headers=_SHOWN,
            max_age=MAX_AGE_S,
        )
