"""Schemas of arguments: which are taken, and what arguments they let through."""

import json
from typing import Any

import pytest

from workers.errors import InvalidToolError
from workers.providers.tool_parameters import as_json, check_parameters, mistakes_in

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


@pytest.mark.parametrize(
    "schema",
    [
        CITY,
        {"type": "object"},
        {"type": "object", "$schema": "http://json-schema.org/draft-07/schema#"},
        {"type": "object", "additionalProperties": {"type": "string"}},
        nested(60),
    ],
)
def test_a_schema_is_taken(schema: dict[str, Any]) -> None:
    check_parameters(schema)


@pytest.mark.parametrize(
    "schema",
    [
        {},
        {"type": "array"},
        {"type": "object", "properties": []},
        {"type": "object", "required": "city"},
        {"type": "object", "properties": {"a": {"type": "word"}}},
        {"type": "object", "properties": {"a": {"$ref": "https://evil.example/schema"}}},
        {"type": "object", "properties": {"a": {"$ref": "file:///etc/passwd"}}},
        {"type": "object", "$id": "https://evil.example/"},
        {"type": "object", "$schema": "https://evil.example/schema"},
        {"type": "object", "patternProperties": {"^(a+)+$": {}}},
    ],
)
def test_a_schema_is_refused(schema: dict[str, Any]) -> None:
    with pytest.raises(InvalidToolError) as caught:
        check_parameters(schema)
    assert "evil" not in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "mistakes"),
    [
        ({"city": "Bern"}, []),
        ({"city": "a" * 60 + "!"}, []),
        ({"city": "Bern", "days": 7}, []),
        ({"days": 8}, ["'city' is a required property", "days: 8 is greater"]),
        ({"city": 5}, ["city: 5 is not of type 'string'"]),
        ({"city": "Bern", "x": 1}, ["'x' was unexpected"]),
    ],
)
def test_arguments_are_held_against_the_schema(
    arguments: dict[str, Any], mistakes: list[str]
) -> None:
    found = mistakes_in(CITY, arguments)
    assert len(found) == len(mistakes)
    for mistake in mistakes:
        assert any(mistake in line for line in found)


@pytest.mark.parametrize("schema", [nested(60), {"type": "object", "$ref": "#"}])
def test_a_schema_that_unfolds_without_end_is_left_off(schema: dict[str, Any]) -> None:
    (line,) = mistakes_in(schema, {"city": "Bern"})
    assert "cannot be applied" in line


@pytest.mark.parametrize("text", ["[1]", "{", '{"a": NaN}', "[" * 10_000, '"x"', "7"])
def test_what_is_no_object_is_no_arguments(text: str) -> None:
    assert as_json(text) is None


def test_no_arguments_are_an_empty_object() -> None:
    assert as_json("") == {}
    assert as_json(json.dumps({"a": 1})) == {"a": 1}
