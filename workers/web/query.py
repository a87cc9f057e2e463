"""Queries, read as strictly as bodies: each name once, whole numbers in digits alone."""

from collections import Counter
from collections.abc import Iterable
from typing import Final, get_origin

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import BeforeValidator
from pydantic.fields import FieldInfo

_LONGEST: Final = 20


def refuse_repeats(request: Request, fields: Iterable[tuple[str, FieldInfo]]) -> None:
    """Raise RequestValidationError where a name that counts once stands more than once.

    Of two limits the last would count, and nobody would hear of the other.
    """
    said = Counter(name for name, _ in request.query_params.multi_items())
    single = {name for name, field in fields if get_origin(field.annotation) is not list}
    if repeated := sorted(name for name in single if said[name] > 1):
        raise RequestValidationError(
            [
                {
                    "type": "repeated",
                    "loc": ("query", name),
                    "msg": "may be given once",
                    "input": None,
                }
                for name in repeated
            ]
        )


def _in_digits(text: object) -> object:
    if isinstance(text, str) and not (
        text.isascii() and text.removeprefix("-").isdigit() and len(text) <= _LONGEST
    ):
        raise ValueError("Input should be a whole number, in digits alone")
    return text


IN_DIGITS: Final = BeforeValidator(_in_digits)
"""For a number in a query: what is written otherwise (` 6`, `6.0`, `6_0`) is refused.

It stands behind the bounds: in front of them it would hide them from OpenAPI."""
