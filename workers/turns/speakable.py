"""Takes out of a sentence what is for eyes alone, markup and pictures: pure."""

import re
import unicodedata
from typing import Final

_RULES: Final = (
    (re.compile(r"!\[([^\]]*)\]\([^)\s]*\)"), r"\1"),  # image
    (re.compile(r"\[([^\]]+)\]\([^)\s]*\)"), r"\1"),  # link
    (re.compile(r"https?://\S+"), "a link"),
    (re.compile(r"^\s{0,3}(?:#{1,6}|>+)\s+", re.MULTILINE), ""),  # heading, quote
    (re.compile(r"^\s*(?:[-*+•]|\d{1,3}[.)])\s+", re.MULTILINE), ""),  # list item
    (re.compile(r"^\s*(?:[-*_]\s*){3,}$", re.MULTILINE), ""),  # rule
    (re.compile(r"\*+|`+|~~"), ""),  # emphasis, code
    (re.compile(r"(?<!\w)_+|_+(?!\w)"), ""),  # emphasis, but snake_case stays
    (re.compile(r"</?[A-Za-z][^<>]{0,200}>"), ""),  # tag, but 3 < 5 stays
    (re.compile(r"\|"), " "),  # table
)
_PICTURES: Final = frozenset({"So", "Sk", "Cs", "Co", "Cn", "Cc", "Cf"})
_SPOKEN_SYMBOLS: Final = frozenset("°©®™")
_VARIATIONS: Final = re.compile("[\ufe00-\ufe0f\u20e3]")


def speakable(sentence: str) -> str:
    """Return the sentence as it is to be said; empty if nothing of it can be."""
    for pattern, replacement in _RULES:
        sentence = pattern.sub(replacement, sentence)
    sentence = _VARIATIONS.sub("", sentence)
    words = "".join(char if _is_said(char) else " " for char in sentence)
    text = " ".join(words.split())
    return text if any(char.isalnum() for char in text) else ""


def _is_said(char: str) -> bool:
    return unicodedata.category(char) not in _PICTURES or char in _SPOKEN_SYMBOLS
