"""Schemas of arguments: which are taken."""

from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.providers.schemas import CITY, nested
from workers.errors import InvalidToolError
from workers.providers.tools.parameters import check_parameters

DRAFT_7 = "http://json-schema.org/draft-07/schema#"
DRAFT_2020_12 = "https://json-schema.org/draft/2020-12/schema"


def refers(reference: str) -> dict[str, Any]:
    """Return a schema with some places and a reference."""
    return {
        "type": "object",
        "required": ["a"],
        "properties": {"a": {"$ref": reference}, "b": {"type": "string", "$anchor": "there"}},
        "$defs": {"some thing": {"items": {"/": True}}},
        "x-not-of-json-schema": [{"type": "string"}, {"type": "evil"}],
    }


@pytest.mark.parametrize(
    "schema",
    [
        CITY,
        {"type": "object"},
        {"type": "object", "$schema": "http://json-schema.org/draft-07/schema#"},
        {"type": "object", "additionalProperties": {"type": "string"}},
        nested(60),
        refers("#"),
        refers("#/properties/b"),
        refers("#/$defs/some%20thing/items/~1"),
        refers("#there"),
        refers("#/x-not-of-json-schema/0"),
        {"type": "object", "properties": {"$id": {}, "patternProperties": {"pattern": "\\p{L}("}}},
        {"type": "object", "const": {"$ref": "#/nope"}, "x-more": {"$ref": "#/nope"}},
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
        {"type": "object", "properties": {"a": {"$schema": DRAFT_7}}},
        {"type": "object", "$schema": ["evil"]},
        refers("#/$defs/nope"),
        refers("#/properties/b/type"),
        refers("#/required"),
        refers("#/required/0"),
        refers("#/type"),
        refers("#/type/x"),
        refers("#nowhere"),
        refers("#/x-not-of-json-schema/1"),
        refers("#/x-not-of-json-schema/x"),
    ],
)
def test_a_schema_is_refused(schema: dict[str, Any]) -> None:
    with pytest.raises(InvalidToolError) as caught:
        check_parameters(schema)
    assert "evil" not in str(caught.value)


VALUES = st.recursive(
    st.sampled_from([None, True, 0, 2, -1, 0.5, 3.0, "string", "a", "b", "-"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("ab"), inner, max_size=2)
    ),
    max_leaves=4,
)
KEYWORDS = st.sampled_from(
    [
        "$anchor",
        "$comment",
        "$defs",
        "$dynamicAnchor",
        "additionalItems",
        "additionalProperties",
        "allOf",
        "anyOf",
        "const",
        "contains",
        "contentEncoding",
        "contentMediaType",
        "contentSchema",
        "default",
        "definitions",
        "dependencies",
        "dependentRequired",
        "dependentSchemas",
        "deprecated",
        "description",
        "else",
        "enum",
        "examples",
        "exclusiveMaximum",
        "exclusiveMinimum",
        "format",
        "if",
        "items",
        "maxContains",
        "maxItems",
        "maxLength",
        "maxProperties",
        "maximum",
        "minContains",
        "minItems",
        "minLength",
        "minProperties",
        "minimum",
        "multipleOf",
        "not",
        "oneOf",
        "pattern",
        "prefixItems",
        "properties",
        "propertyNames",
        "readOnly",
        "required",
        "then",
        "title",
        "type",
        "unevaluatedItems",
        "unevaluatedProperties",
        "uniqueItems",
        "writeOnly",
        "unknown",
    ]
)
SCHEMAS = st.recursive(VALUES, lambda inner: st.dictionaries(KEYWORDS, inner | VALUES, max_size=2))


@settings(deadline=None)
@given(st.sampled_from([DRAFT_7, DRAFT_2020_12]), KEYWORDS, SCHEMAS)
def test_what_is_refused_is_what_the_schemas_of_schemas_refuse(
    dialect: str, keyword: str, held: Any
) -> None:
    schema = {"$schema": dialect, "type": "object", "properties": {"c": {keyword: held}}}
    if jsonschema_rs.meta.is_valid(schema):
        check_parameters(schema)
    else:
        with pytest.raises(InvalidToolError):
            check_parameters(schema)
