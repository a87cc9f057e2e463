"""What the keywords of JSON Schema demand of a value by itself, without its parts: pure."""

from collections.abc import Callable, Hashable, Mapping
from fractions import Fraction
from operator import ge, gt, le, lt
from typing import Any, Final

MAX_SHOWN: Final = 60
"""Characters of a value that a mistake shows."""


def is_number(value: Any) -> bool:
    """Return whether a value is a number to JSON, to which true and false are none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_whole(value: Any) -> bool:
    """Return whether a value is an integer to JSON Schema, to which 1.0 is one."""
    return is_number(value) and (isinstance(value, int) or value.is_integer())


def shown(value: Any) -> str:
    """Return a value as a mistake shows it: text and numbers shortened, of the others the kind."""
    if isinstance(value, list):
        return "the list"
    if isinstance(value, dict):
        return "the object"
    text = repr(value[:MAX_SHOWN] if isinstance(value, str) else value)
    return text[:MAX_SHOWN]


def canonical(value: Any) -> Hashable:
    """Return what is equal for values that are equal to JSON Schema: 1 and 1.0, not 1 and true."""
    if isinstance(value, bool):
        return (bool, value)
    if isinstance(value, list):
        return tuple(canonical(part) for part in value)
    if isinstance(value, dict):
        return frozenset((name, canonical(part)) for name, part in value.items())
    return value  # type: ignore[no-any-return]  # text, a number or None


def size(value: Any) -> int:
    """Return how many values are in a value, itself included."""
    if isinstance(value, dict):
        value = value.values()
    elif not isinstance(value, list):
        return 1
    return 1 + sum(map(size, value))


_TYPES: Final[Mapping[str, Callable[[Any], bool]]] = {
    "array": lambda value: isinstance(value, list),
    "boolean": lambda value: isinstance(value, bool),
    "integer": is_whole,
    "null": lambda value: value is None,
    "number": is_number,
    "object": lambda value: isinstance(value, dict),
    "string": lambda value: isinstance(value, str),
}
TYPES: Final = frozenset(_TYPES)


def _type(held: Any, value: Any) -> str | None:
    names = [held] if isinstance(held, str) else held
    if any(_TYPES[name](value) for name in names):
        return None
    return f"{shown(value)} is not of type {', '.join(map(repr, names))}"


def _multiple_of(held: Any, value: Any) -> str | None:
    if not is_number(value):
        return None
    if isinstance(held, int) and isinstance(value, int):
        is_one = value % held == 0
    else:
        # As they are spelt: 0.3 is a multiple of 0.1.
        is_one = (Fraction(repr(value)) / Fraction(repr(held))).denominator == 1
    return None if is_one else f"{shown(value)} is not a multiple of {held}"


def _bound(
    kind: Callable[[Any], bool],
    measure: Callable[[Any], Any],
    is_beyond: Callable[[Any, Any], bool],
    words: str,
) -> Callable[[Any, Any], str | None]:
    def judge(held: Any, value: Any) -> str | None:
        if kind(value) and is_beyond(measure(value), held):
            return f"{shown(value)} {words} {held}"
        return None

    return judge


def _itself(value: Any) -> Any:
    return value


_TEXT, _LIST, _OBJECT = _TYPES["string"], _TYPES["array"], _TYPES["object"]

ASSERTIONS: Final[Mapping[str, Callable[[Any, Any], str | None]]] = {
    "type": _type,
    "multipleOf": _multiple_of,
    "maximum": _bound(is_number, _itself, gt, "is greater than the maximum of"),
    "minimum": _bound(is_number, _itself, lt, "is less than the minimum of"),
    "exclusiveMaximum": _bound(is_number, _itself, ge, "is not less than"),
    "exclusiveMinimum": _bound(is_number, _itself, le, "is not greater than"),
    "maxLength": _bound(_TEXT, len, gt, "has more characters than"),
    "minLength": _bound(_TEXT, len, lt, "has fewer characters than"),
    "maxItems": _bound(_LIST, len, gt, "has more items than"),
    "minItems": _bound(_LIST, len, lt, "has fewer items than"),
    "maxProperties": _bound(_OBJECT, len, gt, "has more properties than"),
    "minProperties": _bound(_OBJECT, len, lt, "has fewer properties than"),
}
"""By keyword: what is wrong with a value, None where nothing is."""
