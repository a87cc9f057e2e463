"""How long endpoints take to their first word, as far as this process has seen."""

from collections import OrderedDict, deque
from typing import Final

ENDPOINTS: Final = 1_024
SAMPLES: Final = 100
"""Kept for each endpoint, the latest."""
ENOUGH: Final = 20
"""From this many on there is a 95th percentile worth acting on."""


class Latencies:
    """Seconds to the first word, for up to 1,024 endpoints, those asked last."""

    def __init__(self) -> None:
        self._samples: OrderedDict[str, deque[float]] = OrderedDict()

    def add(self, endpoint: str, seconds: float) -> None:
        """Note how long it took once."""
        samples = self._samples.setdefault(endpoint, deque(maxlen=SAMPLES))
        self._samples.move_to_end(endpoint)
        samples.append(seconds)
        if len(self._samples) > ENDPOINTS:
            self._samples.popitem(last=False)

    def p95(self, endpoint: str) -> float | None:
        """Return what 95 of 100 did not exceed; None before there are 20."""
        samples = self._samples.get(endpoint, ())
        if len(samples) < ENOUGH:
            return None
        return sorted(samples)[-(-len(samples) * 95 // 100) - 1]
