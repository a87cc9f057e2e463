"""Leaves out of a reply what nobody wants to hear, code and a model's thoughts: pure.

What is left out depends on the text alone, never on how the model's deltas were cut.
"""

import re
from typing import Final

HELD: Final = 1_000
"""Characters that are kept of a block until its end shows that it is one."""

_BLOCKS: Final = {"```": "```", "<think>": "</think>", "<thinking>": "</thinking>"}
_OPENER: Final = re.compile("|".join(_BLOCKS))
_LONGEST: Final = max(map(len, _BLOCKS))


class Audible:
    """Takes text as it comes and gives back what is to be heard, a line feed for each block."""

    def __init__(self) -> None:
        self._text = ""
        self._at = 0
        """How much of the text is done with; it is cut off once a delta, not once a block."""
        self._closer = ""
        self._held: str | None = None
        """What a block holds that began in the midst of a line, where Markdown has none."""
        self._in_line = False

    def push(self, delta: str) -> str:
        """Return what is now certain to be heard."""
        self._text += delta
        heard = []
        while (part := self._leave() if self._closer else self._enter()) is not None:
            heard.append(part)
        self._text, self._at = self._text[self._at :], 0
        if not self._closer:
            sure = len(self._text) - _half_opener(self._text)
            heard.append(self._hear(self._text[:sure]))
            self._text = self._text[sure:]
        return "".join(heard)

    def flush(self) -> str:
        """Return what is left, at the end of the reply; a block that has no end ends there."""
        if not self._closer:
            rest = self._text
        else:
            rest = "" if self._held is None else self._held + self._text
        self._text, self._closer, self._held, self._in_line = "", "", None, False
        return rest

    def _enter(self) -> str | None:
        """Return what comes before the next block and enter it; None where none begins."""
        found = _OPENER.search(self._text, self._at)
        if found is None:
            return None
        before = self._hear(self._text[self._at : found.start()])
        self._held = "" if self._in_line else None
        self._closer = _BLOCKS[found[0]]
        self._at = found.end()
        return before + self._hear("\n")

    def _leave(self) -> str | None:
        """Go on behind the block; None where its end is not there yet."""
        end = self._text.find(self._closer, self._at)
        if end >= 0:
            self._at, self._closer, self._held = end + len(self._closer), "", None
            return ""
        certain = max(self._at, len(self._text) - len(self._closer) + 1)
        if self._held is not None:
            self._held += self._text[self._at : certain]
            if len(self._held) > HELD:
                self._held = None
        self._at = certain
        return None

    def _hear(self, text: str) -> str:
        line = text.rpartition("\n")
        self._in_line = bool(line[2].strip()) or (self._in_line and not line[1])
        return text


def _half_opener(text: str) -> int:
    """Return how many characters at the end may be the beginning of an opener."""
    for size in range(min(_LONGEST - 1, len(text)), 0, -1):
        if any(opener.startswith(text[-size:]) for opener in _BLOCKS):
            return size
    return 0
