"""Notices a model that goes round in circles: pure."""

import re
from collections import deque
from typing import Final

from workers.errors import ModelError

ROUNDS: Final = 4
"""So often the same sentences in the same order are a circle."""
LONGEST: Final = 8
"""Sentences of a circle, at most."""
WORDS: Final = 12
"""A circle of fewer words in all, "no, no, no", may be meant."""


class Repetition:
    """Looks at each sentence of a reply, in order."""

    def __init__(self) -> None:
        self._last: deque[str] = deque(maxlen=ROUNDS * LONGEST)

    def take(self, sentence: str) -> None:
        """Take the next sentence; raises ModelError where it closes a circle."""
        self._last.append(" ".join(re.findall(r"\w+", sentence.lower())))
        said = list(self._last)
        for length in range(1, len(said) // ROUNDS + 1):
            rounds = said[-length * ROUNDS :]
            is_circle = rounds == rounds[:length] * ROUNDS
            if is_circle and len(" ".join(rounds).split()) >= WORDS:
                raise ModelError("repeating", "the model repeats itself", retryable=True)
