"""Where a `$ref` leads: to a place in the schema that it stands in, and nowhere else. Pure."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

Schema = dict[str, Any] | bool


class References:
    """The places of one schema."""

    def __init__(self, root: dict[str, Any]) -> None:
        self._root = root
        self._found: dict[str, Schema] = {}
        self._anchors = dict(_anchored(root))

    def resolve(self, reference: Any) -> Schema:
        """Return what a JSON pointer (RFC 6901) or an anchor leads to.

        Raises LookupError or ValueError unless that is an object or a boolean.
        """
        if not isinstance(reference, str) or not reference.startswith("#"):
            raise ValueError("the reference leads out of the schema")
        if reference not in self._found:
            self._found[reference] = self._look_up(unquote(reference[1:]))
        return self._found[reference]

    def _look_up(self, fragment: str) -> Schema:
        found: Any
        if fragment and not fragment.startswith("/"):
            found = self._anchors[fragment]
        else:
            found = self._root
            for part in fragment.split("/")[1:]:
                name = part.replace("~1", "/").replace("~0", "~")
                found = found[int(name)] if isinstance(found, list) else _inside(found)[name]
        if isinstance(found, dict | bool):
            return found
        raise ValueError("the reference leads to what is no schema")


def _inside(value: Any) -> dict[str, Any]:
    if isinstance(value, dict):
        return value
    raise LookupError("there is nothing inside")


def _anchored(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and isinstance(value.get("$anchor"), str):
        yield value["$anchor"], value
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for part in inner:
        yield from _anchored(part)
