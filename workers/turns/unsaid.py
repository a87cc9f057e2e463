"""What is written and not said yet: the model goes at its own pace, the voice at another."""

import asyncio
from collections import deque
from typing import Final

from workers.errors import ModelError
from workers.turns.filler import Aside

MOST: Final = 2_000
"""Sentences that the model may be ahead of the voice: more than an hour of speech."""
LAST_WORDS: Final = 16
"""Of a reply that fails, so many sentences are still said before the apology."""


class Unsaid:
    """Sentences in order, for one who writes and one who says them."""

    def __init__(self) -> None:
        self._sentences: deque[str | Aside] = deque()
        self._changed = asyncio.Event()
        self._is_whole = False
        self.error: ModelError | None = None
        """What the reply failed with."""

    def put(self, sentence: str | Aside) -> None:
        """Add a sentence, never waiting; raises ModelError where the voice is left too far behind.

        To wait for the voice would be to let the model's deadlines pass.
        """
        if len(self._sentences) >= MOST:
            raise ModelError("too_large", f"{MOST} sentences are still unsaid", retryable=False)
        self._sentences.append(sentence)
        self._changed.set()

    def end(self, error: ModelError | None = None) -> None:
        """Note that nothing more comes; with an error, that most of what is left is not said."""
        self.error = error
        while error is not None and len(self._sentences) > LAST_WORDS:
            self._sentences.pop()
        self._is_whole = True
        self._changed.set()

    async def next(self) -> str | Aside | None:
        """Return the next sentence, waiting for it; None behind the last."""
        while not self._sentences and not self._is_whole:
            self._changed.clear()
            await self._changed.wait()
        return self._sentences.popleft() if self._sentences else None
