"""Cuts a reply into sentences while it is still being written: pure, one character at a time.

Where a sentence ends depends on the text alone, never on how the model's deltas were cut:
a further attempt at the same reply yields the same sentences.
"""

import re
from typing import Final

from workers.turns.audible import Audible

MAX_SENTENCE: Final = 300
"""Longest sentence in characters; a longer one is cut at the last space."""
FIRST_CLAUSE: Final = 40
"""From this length on the first sentence is cut at a comma, so that speech can begin."""

FIRST_WIDE_CLAUSE: Final = 12
"""The same in Chinese and Japanese, whose characters are whole syllables."""

_DOUBTLESS: Final = "!?؟।۔"  # noqa: RUF001  # those of Arabic, Hindi and Urdu, too
_ENDS: Final = f".…{_DOUBTLESS}"
_WIDE_ENDS: Final = "。！？"  # noqa: RUF001  # the full stops of Chinese and Japanese
_WIDE_OPENERS: Final = "「『（【《“"  # noqa: RUF001  # their quotes and brackets
_WIDE_CLOSERS: Final = "」』）】》”"  # noqa: RUF001  # Chinese and Japanese
_WIDE_CLAUSE_ENDS: Final = "，；："  # noqa: RUF001  # Chinese and Japanese
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
        self._depth = 0  # of wide quotes and brackets
        self._quoted = False  # a sentence has ended within them; they may end with it
        self._audible = Audible()

    def push(self, delta: str) -> list[str]:
        """Return the sentences that `delta` completes, with their markup."""
        heard = self._audible.push(delta)
        return [sentence for char in heard for sentence in self._take(char)]

    def flush(self) -> list[str]:
        """Return what is left, at the end of the reply."""
        rest = self._audible.flush()
        sentences = [sentence for char in rest for sentence in self._take(char)]
        sentences += self._cut(len(self._text))
        self._text, self._depth, self._waiting, self._quoted = "", 0, False, False
        return sentences

    def _take(self, char: str) -> list[str]:
        cut: list[str] = []
        if self._waiting and not char.isspace():
            self._waiting = False
            if not char.islower():
                cut = self._cut(len(self._text))
        if self._quoted and char not in _WIDE_CLOSERS:
            self._quoted = False
            cut += self._cut(len(self._text))
        self._text += char
        self._depth += (char in _WIDE_OPENERS) - (char in _WIDE_CLOSERS)
        self._depth = 0 if char == "\n" else max(0, self._depth)
        return cut + self._cut(self._end(char))

    def _end(self, char: str) -> int:
        """Return how much of the text is a sentence now; 0 if none is."""
        text = self._text
        if self._quoted or char in _WIDE_ENDS:
            self._quoted = self._depth > 0 and len(text) < MAX_SENTENCE
            return 0 if self._quoted else len(text)
        if char == "\n" or (self._first and self._is_clause(char)):
            return len(text)
        if char.isspace() and self._is_over(text[:-1].rstrip(_CLOSERS)):
            return len(text)
        if len(text) >= MAX_SENTENCE:
            return text.rfind(" ") + 1 or len(text)
        return 0

    def _is_clause(self, char: str) -> bool:
        text = self._text
        if char == " ":
            return len(text) > FIRST_CLAUSE and text[-2] in _CLAUSE_ENDS
        return char in _WIDE_CLAUSE_ENDS and len(text) > FIRST_WIDE_CLAUSE

    def _is_over(self, text: str) -> bool:
        """Tell whether a sentence ends with `text`, which a space follows."""
        if not text or text[-1] not in _ENDS:
            return False
        if text[-1] in _DOUBTLESS:
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
