"""Cuts a reply into sentences while it is still being written: pure, one character at a time.

Where a sentence ends depends on the text alone, never on how the model's deltas were cut:
a further attempt at the same reply yields the same sentences.
"""

import re
from typing import Final

MAX_SENTENCE: Final = 300
"""Longest sentence in characters; a longer one is cut at the last space."""
FIRST_CLAUSE: Final = 40
"""From this length on the first sentence is cut at a comma, so that speech can begin."""

_FENCE: Final = "```"
_ENDS: Final = ".!?…"
_WIDE_ENDS: Final = "。！？"  # noqa: RUF001  # the full stops of Chinese and Japanese
_CLOSERS: Final = "\"')]}»”’*_`"  # noqa: RUF001  # typographic quotes are meant
_CLAUSE_ENDS: Final = ",;:"
# fmt: off
_NEVER: Final = frozenset((
    "mr", "mrs", "ms", "dr", "prof", "sr", "jr", "st", "mt", "no", "vs", "e.g", "i.e",
    "fig", "gen", "col", "sen", "rep", "gov", "hon", "capt", "lt", "sgt", "approx", "dept", "est",
    "ft", "messrs", "pp", "vol", "ch", "sec", "ed", "eds", "al", "cf", "viz", "ca",
))
# fmt: on
"""Abbreviations that a sentence does not end with."""
# fmt: off
_PERHAPS: Final = frozenset((
    "etc", "a.m", "p.m", "inc", "ltd", "co", "corp", "u.s", "u.k", "e.u", "u.n", "ph.d", "b.c",
    "a.d",
))
# fmt: on
"""Abbreviations that end a sentence if the next word begins with a capital."""
_ENUMERATION: Final = re.compile(r"(?:^|\n)\s*\d{1,3}\.$")


class SentenceCutter:
    """Takes text as it comes and gives back whole sentences, as early as that is sensible."""

    def __init__(self) -> None:
        self._text = ""
        self._first = True
        self._waiting = False  # whether the sentence ends depends on the next word
        self._in_code = False

    def push(self, delta: str) -> list[str]:
        """Return the sentences that `delta` completes, with their markup."""
        return [sentence for char in delta for sentence in self._take(char)]

    def flush(self) -> list[str]:
        """Return what is left, at the end of the reply."""
        sentences = [] if self._in_code else self._cut(len(self._text))
        self._text, self._waiting, self._in_code = "", False, False
        return sentences

    def _take(self, char: str) -> list[str]:
        cut: list[str] = []
        if self._waiting and not char.isspace():
            self._waiting = False
            if not char.islower():
                cut = self._cut(len(self._text))
        self._text += char
        if self._text.endswith(_FENCE):
            return cut + self._fence()
        if self._in_code:
            self._text = self._text[-len(_FENCE) :]
            return cut
        return cut + self._cut(self._end(char))

    def _fence(self) -> list[str]:
        """Leave code blocks out: nobody wants to hear them."""
        before = "" if self._in_code else self._text[: -len(_FENCE)]
        self._in_code = not self._in_code
        self._text = before
        return self._cut(len(before))

    def _end(self, char: str) -> int:
        """Return how much of the text is a sentence now; 0 if none is."""
        text = self._text
        if char in _WIDE_ENDS or char == "\n":
            return len(text)
        if char.isspace() and self._is_over(text[:-1].rstrip(_CLOSERS)):
            return len(text)
        if self._first and char == " " and len(text) > FIRST_CLAUSE and text[-2] in _CLAUSE_ENDS:
            return len(text)
        if len(text) >= MAX_SENTENCE:
            return text.rfind(" ") + 1 or len(text)
        return 0

    def _is_over(self, text: str) -> bool:
        """Tell whether a sentence ends with `text`, which a space follows."""
        if not text or text[-1] not in _ENDS:
            return False
        if text[-1] in "!?":
            return True
        if text.endswith(("...", "…")):
            self._waiting = True
            return False
        word = text.rsplit(None, 1)[-1].lower().strip("\"'([{*_.")
        if word in _PERHAPS:
            self._waiting = True
            return False
        is_initial = len(word) == 1 and word.isalpha() and text[-2:-1].isupper() and word != "i"
        return not (word in _NEVER or is_initial or _ENUMERATION.search(text))

    def _cut(self, end: int) -> list[str]:
        sentence, self._text = self._text[:end].strip(), self._text[end:]
        if not any(char.isalnum() for char in sentence):
            return []
        self._first = False
        return [sentence]
