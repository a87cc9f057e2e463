"""`edgewise export`: all agents of an account as a file that `edgewise apply` takes again."""
# ruff: noqa: PLC0415  # a command loads what it needs when it runs

import contextlib
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TextIO

import typer

from workers.commands.console import FAILED
from workers.commands.gateway_client import DEFAULT_URL, Key, Url, gateway
from workers.commands.whole_file import whole_file

_HEAD: Final = (
    "# Keys are never exported: an entry of `llm` without api_key keeps the one that is stored\n"
    "# for its base_url. Tools with headers are left out, and stay as they are.\n"
)


def export(
    *,
    form: Annotated[
        Literal["yaml", "ndjson", "csv"], typer.Option("--format", help="How it is written.")
    ] = "yaml",
    out: Annotated[
        Path | None, typer.Option("--out", help="Where it goes; unset, standard output.")
    ] = None,
    url: Url = DEFAULT_URL,
    key: Key = None,
) -> None:
    """Write all agents, newest first, so that `edgewise apply` makes them so again.

    Keys of models and headers of tools cannot be exported. Applied to the system they came from,
    agents keep theirs; elsewhere they have to be added, and agents without external_id are known
    by ids that exist here alone. CSV holds no tools: those of an agent stay as they are. A file
    that is there is replaced once all is written. Exits with 1 if there is an agent that CSV cannot
    hold.
    """
    from workers.commands.stored_agents import all_agents

    with gateway(url, key) as client, _opened(out) as stream:
        rows = map(_row, all_agents(client))
        if form == "csv":
            from workers.commands.csv_export import write_csv

            count, left_out = write_csv(rows, stream)
        else:
            count, left_out = _write(rows, form, stream), list[str]()
    typer.echo(f"{count} agents", err=True)
    for name in left_out:
        typer.echo(f"edgewise: {name} cannot be written as CSV; export NDJSON or YAML", err=True)
    if left_out:
        raise typer.Exit(FAILED)


def _opened(out: Path | None) -> contextlib.AbstractContextManager[TextIO]:
    return contextlib.nullcontext(sys.stdout) if out is None else whole_file(out)


def _write(rows: Iterable[dict[str, Any]], form: str, stream: TextIO) -> int:
    """Write rows as they come, nothing before the first is there; return how many."""
    count = 0
    for count, row in enumerate(rows, start=1):
        if count == 1 and form == "yaml":
            stream.write(_HEAD)
        stream.write(_text(row, form))
    if form == "yaml" and not count:
        stream.write(f"{_HEAD}[]\n")
    return count


def _text(row: dict[str, Any], form: str) -> str:
    if form == "ndjson":
        return json.dumps(row, ensure_ascii=False) + "\n"
    import yaml

    return str(yaml.safe_dump([row], sort_keys=False, allow_unicode=True))


def _row(agent: dict[str, Any]) -> dict[str, Any]:
    """Return a record as a row: by its owner's name for it where it has one."""
    known = "external_id" if agent["external_id"] else "id"
    gone = {"id", "external_id", "created_at", "updated_at"}
    row = {known: agent[known]} | {name: agent[name] for name in agent if name not in gone}
    if any(tool["http"] and tool["http"]["headers"] for tool in row["tools"]):
        del row["tools"]
    return row
