"""The JSON Schema of a tool's arguments: whether arguments can be judged by it.

What JSON Schema's own schemas of schemas say, without their cost: a large agent has some
thousand schemas in its tools, and live sessions share the processor.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from workers.errors import InvalidToolError
from workers.providers.tools.assertions import TYPES, is_number, is_whole
from workers.providers.tools.dialects import DRAFT_7, dialect
from workers.providers.tools.references import References

Place = tuple[str, ...]
_REFUSED: Final = frozenset(
    {"$id", "$dynamicRef", "$recursiveRef", "$vocabulary", "patternProperties"}
)
_ANCHOR: Final = re.compile(r"[A-Za-z_][-A-Za-z0-9._]*")


def check_parameters(schema: dict[str, Any]) -> None:
    """Raise InvalidToolError, which says why, unless arguments can be judged by this schema."""
    if schema.get("type") != "object":
        raise InvalidToolError('the schema of the arguments must say "type": "object"')
    named, references = dialect(schema), References(schema)
    values, parts = (_VALUES_7, _PARTS_7) if named == DRAFT_7 else (_VALUES, _PARTS)
    waiting: list[tuple[Place, Any]] = [((), schema)]
    checked = set()
    while waiting:
        place, found = waiting.pop()
        if isinstance(found, bool) or id(found) in checked:
            continue
        checked.add(id(found))
        if not isinstance(found, dict):
            raise _wrong(place)
        for keyword, held in found.items():
            here = (*place, keyword)
            _check(named, keyword, held, here, values)
            if keyword == "$ref":
                waiting.append((here, _resolve(references, held)))
            if (inside := parts.get(keyword)) is not None:
                waiting += inside(held, here)


def _wrong(place: Place) -> InvalidToolError:
    spelt = ".".join(place)[:200] or "schema"
    return InvalidToolError(f"{spelt} is not as JSON Schema has it")


def _check(
    named: str, keyword: str, held: Any, place: Place, values: "Mapping[str, Callable[[Any], bool]]"
) -> None:
    if keyword in _REFUSED:
        raise InvalidToolError(f"{keyword} is not supported in the schema of arguments")
    if keyword == "$schema" and dialect({keyword: held}) != named:
        raise InvalidToolError("$schema is not the same in all parts of the schema")
    if (is_right := values.get(keyword)) is not None and not is_right(held):
        raise _wrong(place)


def _resolve(references: References, held: Any) -> Any:
    if isinstance(held, str) and not held.startswith("#"):
        raise InvalidToolError("$ref leads out of the schema; only # and what follows may")
    try:
        return references.resolve(held)
    except (LookupError, ValueError):
        raise InvalidToolError("$ref leads to no place in the schema that is a schema") from None


def _text(held: Any) -> bool:
    return isinstance(held, str)


def _boolean(held: Any) -> bool:
    return isinstance(held, bool)


def _list(held: Any) -> bool:
    return isinstance(held, list)


def _count(held: Any) -> bool:
    return is_whole(held) and held >= 0


def _above_zero(held: Any) -> bool:
    return is_number(held) and held > 0


def _names(held: Any) -> bool:
    return isinstance(held, list) and all(map(_text, held)) and len(set(held)) == len(held)


def _names_by_name(held: Any) -> bool:
    return isinstance(held, dict) and all(map(_names, held.values()))


def _type(held: Any) -> bool:
    if isinstance(held, str):
        return held in TYPES
    return _names(held) and bool(held) and TYPES.issuperset(held)


def _anchor(held: Any) -> bool:
    return isinstance(held, str) and _ANCHOR.fullmatch(held) is not None


Inside = Iterator[tuple[Place, Any]]


def _one(held: Any, place: Place) -> Inside:
    yield place, held


def _each(held: Any, place: Place) -> Inside:
    """Return the schemas in a list that has at least one."""
    if not isinstance(held, list) or not held:
        raise _wrong(place)
    return (((*place, str(number)), part) for number, part in enumerate(held))


def _named(held: Any, place: Place) -> Inside:
    if not isinstance(held, dict):
        raise _wrong(place)
    return (((*place, name), part) for name, part in held.items())


def _one_or_each(held: Any, place: Place) -> Inside:
    return _each(held, place) if isinstance(held, list) else _one(held, place)


def _dependencies(held: Any, place: Place) -> Inside:
    """Return the schemas among what names depend on; names are of no further interest."""
    return ((inner, part) for inner, part in _named(held, place) if not _names(part))


_TEXTS: Final = ("$comment", "title", "description", "format", "contentEncoding")
_COUNTS: Final = ("maxItems", "maxLength", "maxProperties", "minItems", "minLength")
_NUMBERS: Final = ("exclusiveMaximum", "exclusiveMinimum", "maximum", "minimum")
_VALUES_7: Final[Mapping[str, Callable[[Any], bool]]] = {
    **dict.fromkeys((*_TEXTS, "$ref", "contentMediaType", "pattern"), _text),
    **dict.fromkeys((*_COUNTS, "minProperties"), _count),
    **dict.fromkeys(_NUMBERS, is_number),
    **dict.fromkeys(("enum", "examples"), _list),
    **dict.fromkeys(("readOnly", "writeOnly", "uniqueItems"), _boolean),
    "multipleOf": _above_zero,
    "required": _names,
    "type": _type,
}
_VALUES: Final[Mapping[str, Callable[[Any], bool]]] = {
    **_VALUES_7,
    **dict.fromkeys(("minContains", "maxContains"), _count),
    **dict.fromkeys(("$anchor", "$dynamicAnchor"), _anchor),
    "dependentRequired": _names_by_name,
    "deprecated": _boolean,
}
_IN_BOTH: Final[Mapping[str, Callable[[Any, Place], Inside]]] = {
    **dict.fromkeys(("not", "if", "then", "else", "contains", "propertyNames"), _one),
    **dict.fromkeys(("allOf", "anyOf", "oneOf"), _each),
    **dict.fromkeys(("properties", "definitions"), _named),
    "additionalProperties": _one,
    "dependencies": _dependencies,
}
_PARTS_7: Final[Mapping[str, Callable[[Any, Place], Inside]]] = {
    **_IN_BOTH,
    "additionalItems": _one,
    "items": _one_or_each,
}
_PARTS: Final[Mapping[str, Callable[[Any, Place], Inside]]] = {
    **_IN_BOTH,
    **dict.fromkeys(("items", "unevaluatedItems", "unevaluatedProperties"), _one),
    **dict.fromkeys(("$defs", "dependentSchemas"), _named),
    "contentSchema": _one,
    "prefixItems": _each,
}
