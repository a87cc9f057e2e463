"""Which endpoints take no question for the usage of a stream."""

from typing import Final

MOST: Final = 10_000


class SilentOnUsage:
    """Endpoints that refused `stream_options`: what one turn has learnt, the next need not."""

    def __init__(self) -> None:
        self._known: set[str] = set()

    def __contains__(self, base_url: str) -> bool:
        return base_url in self._known

    def add(self, base_url: str) -> None:
        """Remember an endpoint; of very many, all are forgotten, and learnt again."""
        if len(self._known) >= MOST:
            self._known.clear()
        self._known.add(base_url)
