"""Which sentences a further attempt may still say: pure."""

import re
from dataclasses import dataclass

from schemas.turn import Spoken


@dataclass(frozen=True)
class Place:
    """Where a sentence goes in the reply: its number, and how many packets were heard already."""

    number: int
    heard: int = 0


class Placement:
    """Numbers the sentences of a reply behind those that an earlier attempt has said.

    The model is asked the same again and mostly says the same again; a sentence that was
    heard whole is passed over once for each time it was heard, one that was cut short goes on
    from where it was cut.
    """

    def __init__(self, spoken: tuple[Spoken, ...]) -> None:
        self._open = list(enumerate(spoken))
        self._next = len(spoken)

    def place(self, text: str) -> Place | None:
        """Return the place of the next sentence; None if it was heard whole."""
        for entry in self._open:
            number, spoken = entry
            if _normal(spoken.text) == _normal(text):
                self._open.remove(entry)
                return None if spoken.complete else Place(number, spoken.packets)
        self._next += 1
        return Place(self._next - 1)


def _normal(text: str) -> str:
    """Return the words alone, in lower case."""
    return " ".join(re.findall(r"\w+", text.lower()))
