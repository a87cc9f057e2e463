"""Is the peer still there? Pure: counts of packets and seconds in, a verdict out."""

from dataclasses import dataclass
from enum import Enum
from typing import Final

CONNECT_S: Final = 15.0
"""A client that has not connected after this is gone."""


class Life(Enum):
    """What the silence of a peer means."""

    ALIVE = "alive"
    DEGRADED = "degraded"
    GONE = "gone"


@dataclass(frozen=True)
class Patience:
    """How long a peer may be silent, in seconds."""

    degraded_s: float
    gone_s: float


DEVICE: Final = Patience(degraded_s=2.0, gone_s=5.0)
"""Our own clients send a sign of life every second."""
STRANGER: Final = Patience(degraded_s=8.0, gone_s=15.0)
"""Others send only their RTCP reports, about every 5 s."""


class Liveness:
    """Follows the count of packets that have arrived from one peer."""

    def __init__(self, now: float) -> None:
        self._packets = 0
        self._last_sign = now

    def look(self, packets: int, now: float, patience: Patience) -> Life:
        """Take in the count so far and say how the peer is."""
        if packets != self._packets:
            self._packets = packets
            self._last_sign = now
        silent = now - self._last_sign
        if silent >= patience.gone_s:
            return Life.GONE
        return Life.DEGRADED if silent >= patience.degraded_s else Life.ALIVE
