"""When the user is judged to be done: pure, times in seconds on the caller's clock."""

from dataclasses import dataclass


@dataclass(frozen=True)
class EndpointRule:
    """How long a silence ends a turn where the agent does not say, and how long a turn may be."""

    silence_s: float
    longest_s: float


class Endpoint:
    """Watches the gate of one turn; begins with the gate open."""

    def __init__(self, longest_s: float, now: float) -> None:
        self._began = now
        self._longest_s = longest_s
        self._ends_after_s = longest_s
        self._silent_since: float | None = None

    @property
    def is_paused(self) -> bool:
        """True while the gate is shut."""
        return self._silent_since is not None

    def opened(self) -> None:
        """Take in that the user speaks on."""
        self._silent_since = None

    def closed(self, now: float, silence_s: float, ends_after_s: float) -> None:
        """Take in that the gate shut, `silence_s` after the last speech; `ends_after_s` end it."""
        self._ends_after_s = ends_after_s
        self._silent_since = max(now - silence_s, self._began)

    def due(self) -> float:
        """Return when the turn ends unless the gate opens before."""
        longest = self._began + self._longest_s
        if self._silent_since is None:
            return longest
        return min(self._silent_since + self._ends_after_s, longest)

    def silence_s(self, now: float) -> float:
        """Return for how long the user has been silent."""
        return 0.0 if self._silent_since is None else max(0.0, now - self._silent_since)
