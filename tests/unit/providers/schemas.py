"""JSON Schemas that more than one test looks at."""

from typing import Any

CITY = {
    "type": "object",
    "properties": {
        "city": {"type": "string", "pattern": "^(a+)+$"},
        "days": {"$ref": "#/$defs/days"},
    },
    "required": ["city"],
    "additionalProperties": False,
    "$defs": {"days": {"type": "integer", "maximum": 7}},
}


def nested(depth: int) -> dict[str, Any]:
    """Return a schema whose references unfold into 2 to the power of `depth`."""
    steps = {
        f"s{n}": {"allOf": [{"$ref": f"#/$defs/s{n + 1}"}, {"$ref": f"#/$defs/s{n + 1}"}]}
        for n in range(depth)
    }
    return {"type": "object", "$ref": "#/$defs/s0", "$defs": {**steps, f"s{depth}": {}}}
