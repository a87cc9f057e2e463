"""How many batches a gateway receives at once: each holds some megabytes until it is whole."""

import contextlib
from collections import Counter
from collections.abc import Iterator
from typing import Final

from workers.gateway.rest_errors import RETRY_AFTER_S, ApiError

AT_ONCE: Final = 16
OF_ACCOUNT: Final = 4
"""Those of one account: fewer, so that it cannot lock the others out."""
_HEADERS: Final = {"Retry-After": str(RETRY_AFTER_S), "Connection": "close"}
"""The rest of the body is not swallowed."""


class BatchPlaces:
    """Counts the batches that are being received, and lets no more in than there are places."""

    def __init__(self, at_once: int = AT_ONCE, of_account: int = OF_ACCOUNT) -> None:
        self._at_once = at_once
        self._of_account = of_account
        self._held = Counter[str]()

    @contextlib.contextmanager
    def take(self, account: str) -> Iterator[None]:
        """Hold a place meanwhile.

        Raises ApiError: 429 where the account has all of its places, 503 where the gateway has
        none left.
        """
        if self._held[account] >= self._of_account:
            message = f"{self._of_account} batches of this account are being received already"
            raise ApiError(429, "rate_limited", message, headers=_HEADERS)
        if self._held.total() >= self._at_once:
            message = "as many batches are being received as this gateway takes at once"
            raise ApiError(503, "unavailable", message, headers=_HEADERS)
        self._held[account] += 1
        try:
            yield
        finally:
            self._held[account] -= 1
            self._held += Counter()  # forgets accounts that hold none
