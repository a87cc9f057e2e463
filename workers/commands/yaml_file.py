"""YAML files of agents: their rows, and the line on which each field of a row stands."""
# ruff: noqa: PLC0415  # a command loads what it needs when it runs

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from schemas.batch import RowError
from workers.batch_files.rows import FileError, RawRow

SUFFIXES: Final = (".yaml", ".yml")


def read_yaml(file: Path) -> Iterator[RawRow]:
    """Yield the rows of a file, `line` being where each begins; raises FileError."""
    import yaml

    from workers.commands.yaml_values import row_of

    loader = _loader(file)
    try:
        for node in _rows(loader):
            yield row_of(loader, node)
    except yaml.YAMLError as error:
        raise _no_yaml(error) from None
    finally:
        loader.dispose()


def at_fields(file: Path, errors: Sequence[RowError]) -> list[RowError]:
    """Return the errors of rows with the line of the field that each is about, where it has one."""
    import yaml

    try:
        rows = _rows_by_line(file)
    except (OSError, yaml.YAMLError, FileError):  # it has changed since it was sent
        return list(errors)
    return [
        error.model_copy(update={"line": _line_of(rows[error.line], error.param or "")})
        if error.line in rows
        else error
        for error in errors
    ]


def _rows_by_line(file: Path) -> dict[int, Any]:
    from workers.commands.yaml_values import line_of

    loader = _loader(file)
    try:
        return {line_of(node): node for node in reversed(_rows(loader))}
    finally:
        loader.dispose()


def _loader(file: Path) -> Any:
    import yaml

    fastest = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml's, where PyYAML has it
    try:
        return fastest(file.read_bytes())
    except yaml.YAMLError as error:
        raise _no_yaml(error) from None


def _rows(loader: Any) -> list[Any]:
    """Return the nodes of the rows: those of the list that the file is, or that `agents` is."""
    import yaml

    try:
        found = loader.get_single_node()
    except RecursionError:
        raise FileError("is nested too deep") from None
    if isinstance(found, yaml.MappingNode):
        if sum(key.value == "agents" for key, _ in found.value) > 1:
            raise FileError("holds `agents` twice")
        found = _child(found, "agents")
    if not isinstance(found, yaml.SequenceNode):
        raise FileError("holds no list of agents")
    return list(found.value)


def _line_of(node: Any, path: str) -> int:
    """Return the line of the innermost part of a path that is there."""
    from workers.commands.yaml_values import line_of

    line = line_of(node)
    for name in path.split(".") if path else ():
        node = _child(node, name)
        if node is None:
            break
        line = line_of(node)
    return line


def _child(node: Any, name: str) -> Any:
    import yaml

    if isinstance(node, yaml.MappingNode):
        return next((value for key, value in node.value if key.value == name), None)
    if isinstance(node, yaml.SequenceNode) and name.isdecimal() and int(name) < len(node.value):
        return node.value[int(name)]
    return None


def _no_yaml(error: Exception) -> FileError:
    mark = getattr(error, "problem_mark", None)
    where = f"line {mark.line + 1}: " if mark else ""
    return FileError(f"{where}not valid YAML")
