"""The JSON Schema of a tool's arguments: whether it is one, and whether arguments fit it.

Nothing is fetched: a reference leads to a place in the schema itself. `pattern` is for the
model's eyes alone and not held against arguments, for a regular expression of somebody's can
take for ever; what a reference may unfold into is bounded for the same reason.
"""

import json
from collections.abc import Iterator
from typing import Any, Final

from jsonschema import Draft7Validator, Draft202012Validator
from jsonschema.exceptions import SchemaError, ValidationError
from jsonschema.protocols import Validator
from jsonschema.validators import extend
from referencing import Registry
from referencing.exceptions import Unresolvable

from workers.errors import InvalidToolError

MAX_REFERENCES: Final = 1_000
"""References followed while one call's arguments are looked at."""
MAX_SHOWN: Final = 5
"""Mistakes that the model is told of at once."""
_DIALECTS: Final[dict[str, type[Validator]]] = {
    "https://json-schema.org/draft/2020-12/schema": Draft202012Validator,
    "http://json-schema.org/draft-07/schema": Draft7Validator,
}
_DEFAULT: Final = "https://json-schema.org/draft/2020-12/schema"
_REFUSED: Final = frozenset(
    {"$id", "$dynamicRef", "$recursiveRef", "$vocabulary", "patternProperties"}
)
_NOTHING_TO_FETCH: Final[Registry[Any]] = Registry()


def check_parameters(schema: dict[str, Any]) -> None:
    """Raise InvalidToolError, which says why, unless arguments can be judged by this schema."""
    if schema.get("type") != "object":
        raise InvalidToolError('the schema of the arguments must say "type": "object"')
    try:
        _dialect(schema).check_schema(schema)
    except SchemaError as error:
        place = ".".join(str(part) for part in error.absolute_path) or "schema"
        raise InvalidToolError(f"{place} is not as JSON Schema has it") from None
    except RecursionError:
        raise InvalidToolError("the schema is nested too deep") from None
    _look_through(schema)


def mistakes_in(schema: dict[str, Any], arguments: dict[str, Any]) -> list[str]:
    """Return what is wrong with the arguments, at most five lines fit for the model."""
    count = _Count()
    lenient = extend(_dialect(schema), {"$ref": count.follow, "pattern": _pass_over})
    validator = lenient(schema, registry=_NOTHING_TO_FETCH)
    found = []
    try:
        for error in validator.iter_errors(arguments):
            place = ".".join(str(part) for part in error.absolute_path) or "arguments"
            found.append(f"{place}: {error.message[:200]}")
            if len(found) == MAX_SHOWN:
                break
    except (Unresolvable, RecursionError, _TooManyError):
        return ["arguments: the schema of the tool cannot be applied to them"]
    return found


class _TooManyError(Exception):
    pass


class _Count:
    def __init__(self) -> None:
        self._left = MAX_REFERENCES

    def follow(
        self, validator: Any, reference: str, instance: Any, _schema: Any
    ) -> Iterator[ValidationError]:
        self._left -= 1
        if self._left < 0:
            raise _TooManyError
        found: Iterator[ValidationError] = validator._validate_reference(  # noqa: SLF001  # what the library's own `$ref` calls; a test pins it
            ref=reference, instance=instance
        )
        yield from found


def _pass_over(
    _validator: Any, _pattern: Any, _instance: Any, _schema: Any
) -> Iterator[ValidationError]:
    return iter(())


def _dialect(schema: dict[str, Any]) -> type[Validator]:
    named = schema.get("$schema", _DEFAULT)
    found = _DIALECTS.get(named.removesuffix("#")) if isinstance(named, str) else None
    if found is None:
        raise InvalidToolError("$schema names neither draft 2020-12 nor draft-07")
    return found


def _look_through(schema: Any) -> None:
    """Refuse references that lead elsewhere, and what only regular expressions could decide."""
    if isinstance(schema, list):
        for part in schema:
            _look_through(part)
    elif isinstance(schema, dict):
        for name, value in schema.items():
            if name in _REFUSED and not isinstance(value, bool):
                raise InvalidToolError(f"{name} is not supported in the schema of arguments")
            if name == "$ref" and isinstance(value, str) and not value.startswith("#"):
                raise InvalidToolError("$ref leads out of the schema; only # and what follows may")
            _look_through(value)


def as_json(text: str) -> dict[str, Any] | None:
    """Return arguments as the model wrote them, None where they are no JSON object."""
    try:
        value = json.loads(text or "{}", parse_constant=_refuse)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _refuse(_constant: str) -> None:
    raise ValueError("NaN and infinities are no JSON")
