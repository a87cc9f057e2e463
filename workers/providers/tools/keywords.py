"""What keywords of JSON Schema demand of parts of a value, or of the whole by further schemas."""

from collections.abc import Mapping
from typing import Any, Final

from workers.providers.tools.assertions import canonical, shown
from workers.providers.tools.judging import Case, Mistake, Rule


def _reference(held: Any, case: Case) -> list[Mistake]:
    return case.against(case.judge.resolve(held))


def _all_of(held: Any, case: Case) -> list[Mistake]:
    return [mistake for part in held for mistake in case.against(part)]


def _any_of(held: Any, case: Case) -> list[Mistake]:
    fitting = [part for part in held if not case.against(part)]
    return [] if fitting else case.wrong("fits none of the schemas in anyOf")


def _one_of(held: Any, case: Case) -> list[Mistake]:
    count = sum(not case.against(part) for part in held)
    return [] if count == 1 else case.wrong(f"fits {count} of the schemas in oneOf, not one")


def _not(held: Any, case: Case) -> list[Mistake]:
    mistakes = case.judge.judge(held, case.value, case.place, set())
    return [] if mistakes else case.wrong("fits the schema in not")


def _if(held: Any, case: Case) -> list[Mistake]:
    return case.against(case.schema.get("else" if case.against(held) else "then", True))


def _enum(held: Any, case: Case) -> list[Mistake]:
    is_one = case.judge.canonical(case.value) in case.judge.listed(held)
    return [] if is_one else case.wrong(f"{shown(case.value)} is none of those in enum")


def _const(held: Any, case: Case) -> list[Mistake]:
    is_it = case.judge.canonical(case.value) == case.judge.canonical(held)
    return [] if is_it else case.wrong(f"{shown(case.value)} is not {shown(held)}")


def _unique_items(held: Any, case: Case) -> list[Mistake]:
    if not held or not isinstance(case.value, list):
        return []
    case.judge.canonical(case.value)
    is_unique = len(set(map(canonical, case.value))) == len(case.value)
    return [] if is_unique else case.wrong("the list has an item twice")


def _from(first: int, held: Any, case: Case) -> list[Mistake]:
    """Hold the items of a list against a schema, those before `first` left out."""
    if not isinstance(case.value, list):
        return []
    return case.parts(held, range(first, len(case.value)))


def _items(held: Any, case: Case) -> list[Mistake]:
    return _from(len(case.schema.get("prefixItems", ())), held, case)


def _prefix_items(held: Any, case: Case) -> list[Mistake]:
    if not isinstance(case.value, list):
        return []
    parts = enumerate(held[: len(case.value)])
    return [mistake for index, part in parts for mistake in case.parts(part, [index])]


def _items_of_draft_7(held: Any, case: Case) -> list[Mistake]:
    return _prefix_items(held, case) if isinstance(held, list) else _from(0, held, case)


def _additional_items(held: Any, case: Case) -> list[Mistake]:
    before = case.schema.get("items")
    return _from(len(before), held, case) if isinstance(before, list) else []


def _contains(held: Any, case: Case) -> list[Mistake]:
    least, most = case.schema.get("minContains", 1), case.schema.get("maxContains")
    return _between(least, most, held, case)


def _contains_of_draft_7(held: Any, case: Case) -> list[Mistake]:
    return _between(1, None, held, case)


def _between(least: int, most: int | None, held: Any, case: Case) -> list[Mistake]:
    if not isinstance(case.value, list):
        return []
    parts = enumerate(case.value)
    found = [index for index, part in parts if not case.judge.judge(held, part, None, set())]
    case.seen.update(found)
    if least <= len(found) and (most is None or len(found) <= most):
        return []
    return case.wrong(f"the list has {len(found)} items of the kind in contains")


def _properties(held: Any, case: Case) -> list[Mistake]:
    names = _names(case)
    return [each for name in names if name in held for each in case.parts(held[name], [name])]


def _additional_properties(held: Any, case: Case) -> list[Mistake]:
    known = case.schema.get("properties", {})
    return _others([name for name in _names(case) if name not in known], held, case)


def _others(names: list[Any], held: Any, case: Case) -> list[Mistake]:
    if held is not False:
        return case.parts(held, names)
    return _each(names, "was unexpected", case)


def _each(names: list[Any], text: str, case: Case) -> list[Mistake]:
    case.judge.count(len(names))
    return [mistake for name in names for mistake in case.wrong(f"{shown(name)} {text}")]


def _property_names(held: Any, case: Case) -> list[Mistake]:
    names = _names(case)
    return [each for name in names for each in case.judge.judge(held, name, case.place, set())]


def _required(held: Any, case: Case) -> list[Mistake]:
    if not isinstance(case.value, dict):
        return []
    case.judge.look_through(len(held))
    missing = [name for name in held if name not in case.value]
    return _each(missing, "is a required property", case)


def _dependents(held: Any, case: Case) -> list[Mistake]:
    """Hold an object against what names in it ask for: further names, or a schema."""
    mistakes = []
    for name in _names(case):
        if name in held and isinstance(held[name], list):
            mistakes += _required(held[name], case)
        elif name in held:
            mistakes += case.against(held[name])
    return mistakes


def _unevaluated_items(held: Any, case: Case) -> list[Mistake]:
    if not isinstance(case.value, list):
        return []
    case.judge.look_through(len(case.value))
    return case.parts(held, [n for n in range(len(case.value)) if n not in case.seen])


def _unevaluated_properties(held: Any, case: Case) -> list[Mistake]:
    return _others([name for name in _names(case) if name not in case.seen], held, case)


def _names(case: Case) -> list[str]:
    """Return the names in an object, none where the value is no object."""
    names = list(case.value) if isinstance(case.value, dict) else []
    case.judge.look_through(len(names))
    return names


_IN_BOTH: Final[Mapping[str, Rule]] = {
    "$ref": _reference,
    "allOf": _all_of,
    "anyOf": _any_of,
    "oneOf": _one_of,
    "not": _not,
    "if": _if,
    "enum": _enum,
    "const": _const,
    "uniqueItems": _unique_items,
    "properties": _properties,
    "additionalProperties": _additional_properties,
    "propertyNames": _property_names,
    "required": _required,
}
OF_DRAFT_2020_12: Final[Mapping[str, Rule]] = {
    **_IN_BOTH,
    "contains": _contains,
    "dependentRequired": _dependents,
    "dependentSchemas": _dependents,
    "items": _items,
    "prefixItems": _prefix_items,
    "unevaluatedItems": _unevaluated_items,
    "unevaluatedProperties": _unevaluated_properties,
}
OF_DRAFT_7: Final[Mapping[str, Rule]] = {
    **_IN_BOTH,
    "additionalItems": _additional_items,
    "contains": _contains_of_draft_7,
    "dependencies": _dependents,
    "items": _items_of_draft_7,
}
