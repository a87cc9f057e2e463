"""Reading the JSON of a request: RFC 8259 without what two readers understand differently.

Refused besides what is no JSON: a name twice in one object, NaN and Infinity, numbers that
overflow, half a surrogate pair, deep nesting. What is wrong is said, what was sent is not.
"""

import json
import math
import re
from itertools import chain
from typing import Any, Final, NoReturn

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request

MAX_DEPTH: Final = 64
MAX_DIGITS: Final = 20
"""Longest whole number, with its sign: all that fit 64 bits, and a little more."""
_EXACT: Final = 2**53
_BROKEN_OFF: Final = 400
_OTHER_TYPE: Final = 415
_INVALID: Final = 422
_JSON_TYPE: Final = re.compile(r"application/(?:[^/]*\+)?json")
_TOO_DEEP: Final = f"the body is nested more than {MAX_DEPTH} deep"
_ESCAPED_HALF: Final = re.compile(r"\\u[dD][89a-fA-F]")
_HALF_PAIR: Final = re.compile(r"[\ud800-\udfff]")


class NotJsonError(Exception):
    """A body is not JSON as it is taken here; the message says what is wrong and quotes nothing."""


def read_json(body: bytes) -> Any:
    """Return what a body spells; raises NotJsonError."""
    try:
        text = body.decode()
    except UnicodeDecodeError:
        raise NotJsonError("the body is not UTF-8") from None
    try:
        found = json.loads(
            text,
            object_pairs_hook=_object,
            parse_int=_whole,
            parse_float=_fraction,
            parse_constant=_no_constant,
        )
    except RecursionError:
        raise NotJsonError(_TOO_DEEP) from None
    except ValueError:
        raise NotJsonError("the body is not valid JSON") from None
    has_escapes = _ESCAPED_HALF.search(text) is not None
    if has_escapes or text.count("[") + text.count("{") > MAX_DEPTH:
        _check_shape(found, has_escapes=has_escapes)
    return found


def with_strict_json(request: Request) -> Request:
    """Return the request as one whose `json()` is `read_json`; a fault is a 422."""
    return _StrictRequest(request.scope, request.receive)


async def refuse_other_types(request: Request) -> None:
    """Raise a 415 for a body that is not sent as JSON; nothing at all may be of any type."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if _JSON_TYPE.fullmatch(media_type):
        return
    try:
        body = await request.body()
    except ClientDisconnect:
        raise HTTPException(_BROKEN_OFF, "the body broke off") from None
    if body:
        raise HTTPException(_OTHER_TYPE, "send the body as `Content-Type: application/json`")


class _StrictRequest(Request):
    async def json(self) -> Any:
        try:
            return read_json(await self.body())
        except NotJsonError as error:
            raise HTTPException(_INVALID, str(error)) from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise NotJsonError("the body has a name twice in one object")
    return found


def _whole(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise NotJsonError(f"the body has a whole number of more than {MAX_DIGITS} digits")
    return int(digits)


def _fraction(text: str) -> float:
    """Return a number; one without a fraction is whole, however it is spelt (JSON Schema)."""
    number = float(text)
    if not math.isfinite(number):
        raise NotJsonError("the body has a number that is too large")
    return int(number) if number.is_integer() and abs(number) < _EXACT else number


def _no_constant(_name: str) -> NoReturn:
    raise NotJsonError("the body has NaN or Infinity, which JSON does not know")


def _check_shape(found: Any, *, has_escapes: bool) -> None:
    """Raise NotJsonError for deep nesting, and for half a surrogate pair, which has no UTF-8."""
    level, depth = [found], 0
    while level:
        if has_escapes and any(type(held) is str and _HALF_PAIR.search(held) for held in level):
            raise NotJsonError("the body has half a surrogate pair")
        below = [held for held in level if type(held) is list]
        objects = [held for held in level if type(held) is dict]
        depth += bool(below or objects)
        if depth > MAX_DEPTH:
            raise NotJsonError(_TOO_DEEP)
        level = [*chain(*below), *chain(*objects), *chain(*(each.values() for each in objects))]
