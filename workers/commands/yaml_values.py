"""From the nodes of YAML to what JSON knows: no dates, no bytes, no name twice, nothing endless."""

import json
from typing import Any, Final

import yaml

from schemas.batch import MAX_ROW_BYTES
from workers.batch_files.rows import RawRow, bad_row, json_row, too_long
from workers.strict_json import MAX_DEPTH

_TAG: Final = "tag:yaml.org,2002:"
_MERGE: Final = f"{_TAG}merge"
_LARGEST: Final = 1e308
_NO_VALUE: Final = "JSON has no such value; if it is text, as a date is, put it in quotes"
_NO_NAME: Final = "the name of a field is text; put it in quotes"
_NO_MERGE: Final = "only mappings can be merged"


class _RowFaultError(Exception):
    """What is wrong with a row, and at which node."""

    def __init__(self, node: yaml.Node, message: str) -> None:
        super().__init__(message)
        self.line = line_of(node)
        self.message = message


class _TooLongError(Exception):
    """Aliases make more of a row than a row may hold."""


def line_of(node: yaml.Node) -> int:
    """Return the line on which a node begins, from 1."""
    return int(node.start_mark.line) + 1


def row_of(loader: Any, node: yaml.Node) -> RawRow:
    """Return the row that a node spells, or why it spells none, with the line of what is wrong."""
    line = line_of(node)
    if not isinstance(node, yaml.MappingNode):
        return bad_row(line, "the row is no mapping of fields")
    try:
        text = json.dumps(_Values(loader).mapping(node, 1), ensure_ascii=False)
    except _RowFaultError as fault:
        return bad_row(fault.line, fault.message)
    except _TooLongError:
        return too_long(line)
    encoded = text.encode(errors="surrogatepass")
    return json_row(line, encoded) if len(encoded) <= MAX_ROW_BYTES else too_long(line)


class _Values:
    """The values of one row's nodes; an alias counts each time it is used."""

    def __init__(self, loader: Any) -> None:
        self._loader = loader
        self._count = 0

    def mapping(self, node: yaml.Node, depth: int) -> dict[str, Any]:
        """Return the fields of a mapping, its own before those that it merges."""
        own, merged = dict[str, Any](), dict[str, Any]()
        for key, value in node.value:
            if key.tag == _MERGE:
                merged |= self._merged(value, depth)
                continue
            name = self._scalar(key)
            if not isinstance(name, str):
                raise _RowFaultError(key, _NO_NAME)
            if name in own:
                raise _RowFaultError(key, "the row has this name twice in one mapping")
            own[name] = self._value(value, depth + 1)
        return merged | own

    def _merged(self, node: yaml.Node, depth: int) -> dict[str, Any]:
        """Return what `<<` brings: of several mappings the first one that has a name."""
        merged = dict[str, Any]()
        for each in reversed(node.value) if isinstance(node, yaml.SequenceNode) else [node]:
            if not isinstance(each, yaml.MappingNode):
                raise _RowFaultError(each, _NO_MERGE)
            self._enter(each, depth + 1)
            merged |= self.mapping(each, depth + 1)
        return merged

    def _value(self, node: yaml.Node, depth: int) -> Any:
        if isinstance(node, yaml.ScalarNode):
            self._enter(node, 0)
            return self._scalar(node)
        self._enter(node, depth)
        if node.tag == f"{_TAG}map":
            return self.mapping(node, depth)
        if node.tag == f"{_TAG}seq":
            return [self._value(each, depth + 1) for each in node.value]
        raise _RowFaultError(node, _NO_VALUE)

    def _enter(self, node: yaml.Node, depth: int) -> None:
        self._count += 1
        if self._count > MAX_ROW_BYTES:  # each takes a byte at least
            raise _TooLongError
        if depth > MAX_DEPTH:
            raise _RowFaultError(node, f"the row is nested more than {MAX_DEPTH} deep")

    def _scalar(self, node: yaml.Node) -> Any:
        try:
            value = self._loader.construct_document(node)
        except (ValueError, yaml.YAMLError):
            raise _RowFaultError(node, _NO_VALUE) from None
        is_number = isinstance(value, int | float) and abs(value) < _LARGEST
        if value is None or is_number or isinstance(value, str):
            return value
        raise _RowFaultError(node, _NO_VALUE)
