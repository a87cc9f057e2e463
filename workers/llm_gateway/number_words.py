"""Numbers as speech-to-text writes them: "twelve", "a hundred and five", "three point one"."""

from fractions import Fraction
from typing import Final

# fmt: off
_ONES: Final = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine",
    "ten", "eleven", "twelve", "thirteen", "fourteen", "fifteen",
    "sixteen", "seventeen", "eighteen", "nineteen",
)
# fmt: on
_UNITS: Final = {word: value for value, word in enumerate(_ONES)} | {
    # What the speech-to-text engine hears instead; the rest of the sum tells them apart.
    "oh": 0,
    "won": 1,
    "to": 2,
    "too": 2,
    "for": 4,
    "ate": 8,
}
_TENS: Final = {
    word: 10 * value
    for value, word in enumerate(
        ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"], start=2
    )
}
_SCALES: Final = (("billion", 10**9), ("million", 10**6), ("thousand", 1_000))
_ARTICLES: Final = frozenset({"a", "an"})


def read_number(words: list[str], start: int) -> tuple[Fraction, int] | None:
    """Return the number spelled from `start` on and where it ends; None where there is none."""
    total, position = _whole(words, start)
    if position == start:
        return None
    if _at(words, position) != "point":
        return Fraction(total), position
    digits = ""
    after = position + 1
    while (digit := _UNITS.get(_at(words, after), 10)) < 10:  # noqa: PLR2004  # one digit
        digits, after = f"{digits}{digit}", after + 1
    if not digits:
        return Fraction(total), position
    return Fraction(f"{total}.{digits}"), after


def _whole(words: list[str], start: int) -> tuple[int, int]:
    total, position = 0, start
    for scale, factor in _SCALES:
        value, after = _below_thousand(words, position)
        if after > position and _at(words, after) == scale:
            total, position = total + value * factor, _skip_and(words, after + 1)
    value, after = _below_thousand(words, position)
    if after == position and position > start and words[position - 1] == "and":
        return total, position - 1
    return total + value, after


def _below_thousand(words: list[str], start: int) -> tuple[int, int]:
    value, position = _below_hundred(words, start)
    if position == start and _at(words, start) in _ARTICLES:
        if _at(words, start + 1) in {"hundred", "thousand", "million", "billion"}:
            value, position = 1, start + 1
        else:
            return 0, start
    if position == start or _at(words, position) != "hundred":
        return value, position
    value, position = value * 100, position + 1
    rest, after = _below_hundred(words, _skip_and(words, position))
    return (value + rest, after) if rest else (value, position)


def _below_hundred(words: list[str], start: int) -> tuple[int, int]:
    word = _at(words, start)
    if word in _UNITS:
        return _UNITS[word], start + 1
    if word not in _TENS:
        return 0, start
    unit = _UNITS.get(_at(words, start + 1), 0)
    if 0 < unit < 10:  # noqa: PLR2004  # "twenty one", but not "twenty twelve"
        return _TENS[word] + unit, start + 2
    return _TENS[word], start + 1


def _skip_and(words: list[str], position: int) -> int:
    return position + (_at(words, position) == "and")


def _at(words: list[str], position: int) -> str:
    return words[position] if position < len(words) else ""
