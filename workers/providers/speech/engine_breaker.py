"""Keeps turns from waiting for a speech engine that is known to be dead."""

import time
from collections.abc import Callable
from typing import Final

FAILURES: Final = 2
"""So many in a row open it."""
OPEN_S: Final = 10.0
LONGEST_S: Final = 300.0
"""How long it stays open, at first and at most; doubled by each try that fails."""


class EngineBreaker:
    """Closed: the engine is asked. Open: it is not, but for one try when its time is up."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._failures = 0
        self._open_s = OPEN_S
        self._open_until: float | None = None

    @property
    def is_open(self) -> bool:
        """Whether the engine is to be left alone now."""
        return self._open_until is not None and self._now() < self._open_until

    def may_ask(self) -> bool:
        """Tell whether to ask the engine; of those who come when its time is up, one may."""
        if self.is_open:
            return False
        if self._open_until is not None:
            self._open_until = self._now() + self._open_s
        return True

    def succeeded(self) -> None:
        """Close it."""
        self._failures, self._open_s, self._open_until = 0, OPEN_S, None

    def failed(self, *, for_good: bool = False) -> None:
        """Count a failure; `for_good` opens it at the first."""
        self._failures += 1
        was_open = self._open_until is not None
        if was_open:
            self._open_s = min(2 * self._open_s, LONGEST_S)
        if was_open or for_good or self._failures >= FAILURES:
            self._open_until = self._now() + self._open_s
