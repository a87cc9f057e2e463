"""The dialects of JSON Schema that a tool's arguments may be described in."""

from typing import Any, Final

from workers.errors import InvalidToolError

DRAFT_2020_12: Final = "https://json-schema.org/draft/2020-12/schema"
DRAFT_7: Final = "http://json-schema.org/draft-07/schema"


def dialect(schema: dict[str, Any]) -> str:
    """Return which one a schema says that it is in; raises InvalidToolError for others."""
    named = schema.get("$schema", DRAFT_2020_12)
    for known in (DRAFT_2020_12, DRAFT_7):
        if named in (known, f"{known}#"):
            return known
    raise InvalidToolError("$schema names neither draft 2020-12 nor draft-07")
