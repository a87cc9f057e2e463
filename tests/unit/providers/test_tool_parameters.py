"""Schemas of arguments: which are taken."""

from typing import Any

import pytest

from tests.unit.providers.schemas import CITY, nested
from workers.errors import InvalidToolError
from workers.providers.tool_parameters import check_parameters


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
