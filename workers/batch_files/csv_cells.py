"""What a cell of CSV stands for: text, or where a field wants one a number or a truth value.

Spreadsheets take a cell that begins with `=`, `+`, `-`, `@`, a tab or a carriage return for a
formula. In a file that is made here such text has an apostrophe before it, which is taken away
when the file is read; so has text that begins with apostrophes and then one of these.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from math import isfinite
from typing import Any, Final

from schemas.batch import UpsertRow

_FORMULA: Final = re.compile(r"'*[=+\-@\t\r]")
_NUMBER: Final = re.compile(r"-?[0-9]{1,15}((?:\.[0-9]{1,20})?(?:[eE][+-]?[0-9]{1,3})?)", re.ASCII)
_TRUTH: Final = {"true": True, "false": False}
Path = Sequence[str]


def as_cell(text: str) -> str:
    """Return text as it is written into a cell: never a formula."""
    return f"'{text}" if _FORMULA.match(text) else text


def text_of(cell: str) -> str:
    """Return the text that a cell stands for."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell


def value_of(path: Path, cell: str) -> str | float | bool:
    """Return what a cell stands for in the column of a field; what fits no number stays text."""
    kind = _kinds().get(_key(path))
    if kind == "boolean":
        return _TRUTH.get(cell.lower(), cell)
    if kind == "number" and (found := _NUMBER.fullmatch(cell)) and isfinite(float(cell)):
        return float(cell) if found[1] else int(cell)
    return text_of(cell)


def _key(path: Path) -> tuple[str, ...]:
    return tuple("*" if name.isdecimal() else name for name in path)


@cache
def _kinds() -> Mapping[tuple[str, ...], str]:
    """Return which fields of a row are numbers or truth values, by their paths."""
    schema = UpsertRow.model_json_schema()
    return dict(_leaves(schema, schema.get("$defs", {}), ()))


def _leaves(
    node: Mapping[str, Any], known: Mapping[str, Any], path: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], str]]:
    if "$ref" in node:
        node = known[node["$ref"].rpartition("/")[2]]
    for choice in node.get("anyOf", ()):
        yield from _leaves(choice, known, path)
    match node.get("type"):
        case "integer" | "number":
            yield path, "number"
        case "boolean":
            yield path, "boolean"
        case "array":
            yield from _leaves(node.get("items", {}), known, (*path, "*"))
        case "object":
            for name, inner in node.get("properties", {}).items():
                yield from _leaves(inner, known, (*path, name))
