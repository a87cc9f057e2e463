"""The JSON Schema of a tool's arguments: whether arguments can be judged by it."""

from typing import Any, Final

from jsonschema import Draft7Validator, Draft202012Validator
from jsonschema.exceptions import SchemaError
from jsonschema.protocols import Validator

from workers.errors import InvalidToolError
from workers.providers.tool_dialects import DRAFT_7, DRAFT_2020_12, dialect

_VALIDATORS: Final[dict[str, type[Validator]]] = {
    DRAFT_2020_12: Draft202012Validator,
    DRAFT_7: Draft7Validator,
}
_REFUSED: Final = frozenset(
    {"$id", "$dynamicRef", "$recursiveRef", "$vocabulary", "patternProperties"}
)


def check_parameters(schema: dict[str, Any]) -> None:
    """Raise InvalidToolError, which says why, unless arguments can be judged by this schema."""
    if schema.get("type") != "object":
        raise InvalidToolError('the schema of the arguments must say "type": "object"')
    try:
        _VALIDATORS[dialect(schema)].check_schema(schema)
    except SchemaError as error:
        place = ".".join(str(part) for part in error.absolute_path) or "schema"
        raise InvalidToolError(f"{place} is not as JSON Schema has it") from None
    except RecursionError:
        raise InvalidToolError("the schema is nested too deep") from None
    _look_through(schema)


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
