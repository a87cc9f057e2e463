"""Which models take no question for the usage of a stream."""

from typing import Final

MOST: Final = 10_000


class SilentOnUsage:
    """Models that refused `stream_options`: what one turn has learnt, the next need not.

    Each goes by its base URL and its name: behind one address there may be many.
    """

    def __init__(self) -> None:
        self._known: set[tuple[str, str]] = set()

    def __contains__(self, model: tuple[str, str]) -> bool:
        return model in self._known

    def add(self, model: tuple[str, str]) -> None:
        """Remember a model; of very many, all are forgotten, and learnt again."""
        if len(self._known) >= MOST:
            self._known.clear()
        self._known.add(model)
