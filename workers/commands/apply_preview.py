"""What `edgewise apply --dry-run` shows: field by field, and never a key."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import typer
from pydantic import ValidationError

from schemas.agent import AgentFields
from schemas.batch import DeleteRow, RowError, UpsertRow
from workers.batch_files.rows import RawRow
from workers.commands.counting import counting
from workers.commands.row_checks import normal_url, provisos, refusal_of
from workers.commands.stored_agents import ReadRow, beside_stored
from workers.web.invalid_fields import invalid_item


def preview(client: httpx.Client, rows: Iterator[RawRow]) -> list[RowError]:
    """Write what each row would change; return the rows that would fail.

    Of a long file some hundred rows are in memory at a time.
    """
    errors, unchanged = list[RowError](), 0
    with counting("rows compared") as count:
        for row, held in beside_stored(client, map(_read, rows)):
            count.one_more()
            if isinstance(row, RowError):
                errors.append(row)
                continue
            refusal = refusal_of(row.row, held) if isinstance(row.row, UpsertRow) else None
            if refusal is not None:
                errors.append(_error(row.line, refusal.message, refusal.param))
                continue
            shown = _difference(row.row, held)
            unchanged += not shown
            for line in shown:
                count.say(line)
    typer.echo(f"= {unchanged} unchanged")
    return errors


def _read(raw: RawRow) -> ReadRow | RowError:
    if raw.error is not None:
        return raw.error
    model = DeleteRow if raw.fields.get("delete") is True else UpsertRow
    try:
        return ReadRow(raw.line, model.model_validate(raw.fields))
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        param = ".".join(str(part) for part in first["loc"]) or None
        return _error(raw.line, invalid_item(first, model).message, param)


def _error(line: int, message: str, param: str | None) -> RowError:
    return RowError(line=line, code="validation_error", message=message, param=param)


def _difference(row: UpsertRow | DeleteRow, held: dict[str, Any] | None) -> list[str]:
    name = row.external_id or row.id
    if isinstance(row, DeleteRow):
        return [] if held is None else [f"- {name}"]
    wanted = row.model_dump(mode="json", include=set(AgentFields.model_fields))
    if row.llm is not None:
        wanted["llm"] = [{"base_url": normal_url(e.base_url), "model": e.model} for e in row.llm]
    if row.tools is not None:
        wanted["tools"] = [_tool(tool.model_dump(mode="json")) for tool in row.tools]
    before, after = _flat(held or {}), _flat(wanted)
    known = {path for path in before if path.split(".")[0] in wanted}
    lines = [
        f"    {path}: {_shown(before, path)} -> {_shown(after, path)}"
        for path in sorted(known | after.keys())
        if held is not None and _shown(before, path) != _shown(after, path)
    ]
    lines += [
        f"    llm.{number}.api_key: sent; it is not known here whether it is another one"
        for number, entry in enumerate(row.llm or ())
        if held is not None and entry.api_key is not None
    ]
    lines += [f"    {proviso}" for proviso in provisos(row, held)]
    if held is None:
        return [f"+ {name}", *lines]
    return [f"~ {name}", *lines] if lines else []


def _tool(tool: dict[str, Any]) -> dict[str, Any]:
    if tool["http"]:
        tool["http"]["headers"] = [{"name": header["name"]} for header in tool["http"]["headers"]]
    return tool


def _shown(fields: dict[str, Any], path: str) -> str:
    return json.dumps(fields.get(path), ensure_ascii=False)


def _flat(value: Any, path: str = "") -> dict[str, Any]:
    """Return the leaves of a document by their paths; an empty list or object is a leaf."""
    inner = value.items() if isinstance(value, dict) else enumerate(value)
    found: dict[str, Any] = {}
    for name, each in inner:
        place = f"{path}.{name}" if path else str(name)
        if isinstance(each, dict | list) and each:
            found |= _flat(each, place)
        elif each not in ([], {}):
            found[place] = each
    return found
