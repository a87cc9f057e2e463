"""What is wrong with the fields of a body: where, by our own names alone, and in words of JSON.

A name that is none of ours was made up by the sender and may be a key in the wrong place.
"""

from collections.abc import Iterator, Sequence
from types import UnionType
from typing import Annotated, Any, Final, Union, get_args, get_origin

from pydantic import BaseModel

from schemas.error import ErrorItem

MAX_ITEMS: Final = 20
_HIDDEN: Final = "…"
_OBJECT: Final = "Input should be an object"
_LIST: Final = "Input should be a list"
_WORDS: Final = {
    "dict_type": _OBJECT,
    "model_type": _OBJECT,
    "model_attributes_type": _OBJECT,
    "list_type": _LIST,
    "tuple_type": _LIST,
}
_BOUNDS: Final = {"too_long": ("at most", "max_length"), "too_short": ("at least", "min_length")}


def invalid_items(errors: Sequence[Any], shape: Any) -> tuple[ErrorItem, ...]:
    """Turn pydantic's errors about a value of this type into ours, at most 20 of them."""
    return tuple(invalid_item(error, shape) for error in errors[:MAX_ITEMS])


def invalid_item(error: Any, shape: Any) -> ErrorItem:
    """Turn one of pydantic's errors about a value of this type into ours."""
    if error["type"] == "json_invalid":
        return ErrorItem(message="the body is not valid JSON")
    place = error["loc"]
    message = in_words(error)
    if error["type"] == "extra_forbidden":
        message = f"unknown field; one of: {', '.join(_names(_at(shape, place[:-1])))}"
    return ErrorItem(message=message, param=_shown(shape, place))


def in_words(error: Any) -> str:
    """Return what one of pydantic's errors says in words of JSON, without a word about where."""
    kind = error["type"]
    if kind in _WORDS:
        return _WORDS[kind]
    if kind in _BOUNDS:
        bound, limit = _BOUNDS[kind]
        # What is neither a tuple nor a list here is a secret, a text that hides its type.
        is_list = error["ctx"]["field_type"] in {"Tuple", "List"}
        what, unit = ("List", "item") if is_list else ("String", "character")
        number = error["ctx"][limit]
        return f"{what} should have {bound} {number} {unit}{'' if number == 1 else 's'}"
    return str(error["msg"]).removeprefix("Value error, ")


def _shown(shape: Any, place: Sequence[str | int]) -> str | None:
    """Return a place as it may be told: fields that there are, and numbers in lists."""
    found = [
        str(part) if isinstance(part, int) or _at(shape, place[: number + 1]) else _HIDDEN
        for number, part in enumerate(place)
    ]
    return ".".join(found) or None


def _at(shape: Any, place: Sequence[str | int]) -> list[Any]:
    """Return the types that what is at this place may have; none where there is no such place."""
    found = list(_apart(shape))
    for part in place:
        found = [inner for each in found for inner in _below(each, part)]
    return found


def _below(shape: Any, part: str | int) -> Iterator[Any]:
    if isinstance(part, int):
        if get_origin(shape) in (tuple, list):
            yield from _apart(get_args(shape)[0])
    elif _is_model(shape) and part in shape.model_fields:
        yield from _apart(shape.model_fields[part].annotation)


def _apart(shape: Any) -> Iterator[Any]:
    """Take a type out of `Annotated` and apart into those that it is a union of."""
    origin = get_origin(shape)
    if origin is Annotated:
        yield from _apart(get_args(shape)[0])
    elif origin in (Union, UnionType):
        for each in get_args(shape):
            yield from _apart(each)
    else:
        yield shape


def _names(shapes: Sequence[Any]) -> list[str]:
    return [name for shape in shapes if _is_model(shape) for name in shape.model_fields]


def _is_model(shape: Any) -> bool:
    return isinstance(shape, type) and issubclass(shape, BaseModel)
