"""What arguments a schema lets through, and that judging them has an end."""

import json
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.providers.schemas import CITY, nested
from workers.errors import ToolError
from workers.providers.tools.arguments import CANNOT, MAX_STEPS, mistakes_in, read_arguments

DRAFT_7 = "http://json-schema.org/draft-07/schema#"
NAMES = st.sampled_from(["a", "b", "c"])
FEW = st.integers(0, 3)
NUMBERS = st.integers(-3, 3) | st.sampled_from([0.5, 1.5, 2.0])
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text("ab", max_size=3),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=8,
)
SCALARS = {
    "type": st.sampled_from(["object", "array", "string", "integer", "number", "null", "boolean"]),
    "enum": st.lists(VALUES, min_size=1, max_size=3),
    "const": VALUES,
    "multipleOf": st.integers(1, 3),
    **dict.fromkeys(["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"], NUMBERS),
    **dict.fromkeys(["minLength", "maxLength", "minItems", "maxItems"], FEW),
    **dict.fromkeys(["minProperties", "maxProperties", "minContains", "maxContains"], FEW),
    "uniqueItems": st.booleans(),
    "required": st.lists(NAMES, unique=True),
    "dependentRequired": st.dictionaries(NAMES, st.lists(NAMES, unique=True)),
}
INNER = ["not", "if", "then", "else", "contains", "propertyNames", "additionalProperties"]
OF_2020_12 = ["items", "unevaluatedItems", "unevaluatedProperties"]


def of_schemas(inner: st.SearchStrategy[Any], *, is_old: bool) -> st.SearchStrategy[Any]:
    """Return schemas that are made of others."""
    lists = st.lists(inner, min_size=1, max_size=3)
    named = st.dictionaries(NAMES, inner, max_size=3)
    parts = {
        **dict.fromkeys(INNER + ([] if is_old else OF_2020_12), inner),
        **dict.fromkeys(["allOf", "anyOf", "oneOf"], lists),
        "properties": named,
        "$ref": st.sampled_from(["#/$defs/x", "#/$defs/y"]),
    }
    if is_old:
        parts |= {"items": inner | lists, "additionalItems": inner}
        parts["dependencies"] = st.dictionaries(NAMES, inner | st.lists(NAMES, unique=True))
    else:
        parts |= {"prefixItems": lists, "dependentSchemas": named}
    return st.fixed_dictionaries({}, optional=parts | SCALARS)


def schemas(*, is_old: bool) -> st.SearchStrategy[Any]:
    """Return schemas whose references lead to what has none."""
    plain = st.booleans() | st.fixed_dictionaries({}, optional=SCALARS)
    whole = st.recursive(plain, lambda inner: of_schemas(inner, is_old=is_old), max_leaves=5)
    return st.tuples(whole.filter(lambda found: isinstance(found, dict)), plain, plain).map(
        lambda found: {**found[0], "$defs": {"x": found[1], "y": found[2]}}
    )


@settings(deadline=None)
@given(schemas(is_old=False), VALUES)
def test_values_are_judged_as_draft_2020_12_has_it(schema: dict[str, Any], value: Any) -> None:
    is_valid = jsonschema_rs.Draft202012Validator(schema).is_valid(value)
    assert (mistakes_in(schema, value) == []) is is_valid


@settings(deadline=None)
@given(schemas(is_old=True), VALUES)
def test_values_are_judged_as_draft_7_has_it(schema: dict[str, Any], value: Any) -> None:
    schema = {**schema, "$schema": DRAFT_7}
    is_valid = jsonschema_rs.Draft7Validator(schema).is_valid(value)
    assert (mistakes_in(schema, value) == []) is is_valid


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


def of_a(schema: Any, **more: Any) -> dict[str, Any]:
    return {"type": "object", "properties": {"a": schema}, **more}


ITEMS: dict[str, Any] = {"a": [{"x": n} for n in range(600)]}
NUMBERS_1: dict[str, Any] = {"a": [1] * 2_700}
HEAVY = {
    "references that double": (nested(60), {"city": "Bern"}),
    "a reference to itself": ({"type": "object", "$ref": "#"}, {}),
    "unique items again and again": (of_a({"allOf": [{"uniqueItems": True}] * 400}), ITEMS),
    "any of many for each item": (
        of_a({"items": {"anyOf": [*({"minimum": n} for n in range(2, 22)), {}]}}),
        NUMBERS_1,
    ),
    "items without a demand": (of_a({"allOf": [{"items": {}}] * 900}), NUMBERS_1),
    "one of the lists": (of_a({"allOf": [{"enum": [[n]]} for n in range(900)]}), NUMBERS_1),
    "many names for each item": (
        of_a({"items": {"required": [f"{n}" for n in range(2_000)]}}),
        {"a": [{}] * 2_700},
    ),
    "many missing names behind references": (
        {
            "type": "object",
            "allOf": [{"$ref": "#/$defs/all"}] * 68,
            "$defs": {"all": {"required": [f"{n}" for n in range(2_200)]}},
        },
        {},
    ),
    "what is left over": (
        of_a({"allOf": [{"unevaluatedItems": {}}, {"contains": {}}] * 300}),
        NUMBERS_1,
    ),
    "what depends on what, twice": (
        {
            "type": "object",
            "unevaluatedProperties": False,
            "$ref": "#/$defs/s0",
            "$defs": {
                f"s{n}": {"dependentSchemas": {key: {"$ref": f"#/$defs/s{n + 1}"} for key in "ab"}}
                for n in range(60)
            }
            | {"s60": {}},
        },
        {"a": 1, "b": 2},
    ),
}


@pytest.mark.parametrize(("schema", "arguments"), HEAVY.values(), ids=HEAVY)
def test_what_takes_too_many_steps_is_left_off(
    schema: dict[str, Any], arguments: dict[str, Any]
) -> None:
    assert mistakes_in(schema, arguments) == [CANNOT]


UNFIT: dict[str, dict[str, Any]] = {
    reference: of_a({"$ref": reference}, required=["a"], minProperties=1)
    for reference in (
        "#/required",
        "#/type",
        "#/type/x",
        "#/minProperties",
        "#/nope",
        "#x",
        "#/%ff",
    )
} | {
    "elsewhere": of_a({"$ref": "https://evil.example/"}),
    "no type": of_a({"type": "word"}),
    "no number": of_a({"minimum": "x"}),
    "no multiple": of_a({"multipleOf": 0}),
    "no list": of_a({"allOf": 5}),
}


def test_much_that_is_simple_is_judged() -> None:
    item = {"type": "integer", "minimum": 0, "maximum": 9, "enum": list(range(10))}
    assert mistakes_in(of_a({"items": item, "uniqueItems": False}), {"a": [1] * 2_700}) == []
    assert mistakes_in(of_a({"uniqueItems": True}), {"a": [*range(2_000), 5]}) == [
        "a: the list has an item twice"
    ]
    assert MAX_STEPS < 10 * 2_700


@pytest.mark.parametrize("schema", UNFIT.values(), ids=UNFIT)
def test_a_schema_that_cannot_be_applied_is_left_off(schema: dict[str, Any]) -> None:
    assert mistakes_in(schema, {"a": 10**19}) == [CANNOT]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[1]", "no JSON object"),
        ('"x"', "no JSON object"),
        ("7", "no JSON object"),
        ("{", "not valid JSON"),
        ('{"a": NaN}', "NaN"),
        ('{"a": 1e999}', "too large"),
        ('{"a": 1%s}' % ("0" * 400), "digits"),
        ('{"a": "\\ud800"}', "surrogate"),
        ('{"a": "\ud800"}', "surrogate"),
        ('{"a": 1, "a": 2}', "twice"),
        ("[" * 8_000, "deep"),
        ("x" * 8_193, "longer than 8192"),
    ],
)
def test_arguments_that_cannot_be_read_are_told_of(text: str, reason: str) -> None:
    with pytest.raises(ToolError, match=reason):
        read_arguments(text)


def test_no_arguments_are_an_empty_object() -> None:
    assert read_arguments("") == {}
    assert read_arguments(json.dumps({"a": 1})) == {"a": 1}
