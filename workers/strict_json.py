"""Reading JSON: RFC 8259 without what two readers understand differently. Pure.

Refused besides what is no JSON: a name twice in one object, NaN and Infinity, numbers that
overflow, half a surrogate pair, deep nesting. What is wrong is said, what was written is not.
"""

import json
import math
import re
from itertools import chain
from typing import Any, Final, NoReturn

MAX_DEPTH: Final = 64
MAX_DIGITS: Final = 20
"""Longest whole number, with its sign: all that fit 64 bits, and a little more."""
_EXACT: Final = 2**53
_TOO_DEEP: Final = f"is nested more than {MAX_DEPTH} deep"
_ESCAPED_HALF: Final = re.compile(r"\\u[dD][89a-fA-F]")
_HALF_PAIR: Final = re.compile(r"[\ud800-\udfff]")


class NotJsonError(Exception):
    """A text is not JSON as it is taken here; the message says of it what is wrong."""


def parse_json(text: str) -> Any:
    """Return what a text spells; raises NotJsonError."""
    try:
        found = _DECODER.decode(text)
    except RecursionError:
        raise NotJsonError(_TOO_DEEP) from None
    except ValueError:
        raise NotJsonError("is not valid JSON") from None
    has_halves = bool(_ESCAPED_HALF.search(text) or _HALF_PAIR.search(text))
    if has_halves or text.count("[") + text.count("{") > MAX_DEPTH:
        _check_shape(found, has_halves=has_halves)
    return found


def whole_text(text: str) -> str:
    """Return a text that UTF-8 can express: halves of surrogate pairs joined, lone ones U+FFFD.

    A JSON text in pieces may break between the two escapes of a character (RFC 8259, section 7).
    """
    if not _HALF_PAIR.search(text):
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise NotJsonError("has a name twice in one object")
    return found


def _whole(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise NotJsonError(f"has a whole number of more than {MAX_DIGITS} digits")
    return int(digits)


def _fraction(text: str) -> float:
    """Return a number; one without a fraction is whole, however it is spelt (JSON Schema)."""
    number = float(text)
    if not math.isfinite(number):
        raise NotJsonError("has a number that is too large")
    return int(number) if number.is_integer() and abs(number) < _EXACT else number


def _no_constant(_name: str) -> NoReturn:
    raise NotJsonError("has NaN or Infinity, which JSON does not know")


def _check_shape(found: Any, *, has_halves: bool) -> None:
    """Raise NotJsonError for deep nesting, and for half a surrogate pair, which has no UTF-8."""
    level, depth = [found], 0
    while level:
        if has_halves and any(type(held) is str and _HALF_PAIR.search(held) for held in level):
            raise NotJsonError("has half a surrogate pair")
        below = [held for held in level if type(held) is list]
        objects = [held for held in level if type(held) is dict]
        depth += bool(below or objects)
        if depth > MAX_DEPTH:
            raise NotJsonError(_TOO_DEEP)
        level = [*chain(*below), *chain(*objects), *chain(*(each.values() for each in objects))]


_DECODER: Final = json.JSONDecoder(  # made once: making it takes longer than reading a row
    object_pairs_hook=_object,
    parse_int=_whole,
    parse_float=_fraction,
    parse_constant=_no_constant,
)
