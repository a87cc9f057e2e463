"""`edgewise apply`: the agents of a file, sent as one batch."""
# ruff: noqa: PLC0415  # a command loads what it needs when it runs

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from schemas.batch import RowError
from schemas.ids import new_id
from workers.commands.accepted_batch import outcome_of
from workers.commands.agent_file import in_file, read_agents
from workers.commands.console import FAILED
from workers.commands.gateway_client import (
    DEFAULT_URL,
    Key,
    Url,
    answer_of,
    gateway,
)

if TYPE_CHECKING:
    import httpx

SHOWN: Final = 50
"""Failed rows that are shown."""
COUNTS: Final = ("created", "updated", "unchanged", "deleted", "failed")


def apply(
    file: Annotated[
        Path,
        typer.Argument(
            help="Agents as YAML, JSON, NDJSON or CSV, told by the end of its name.",
            exists=True,
            dir_okay=False,
        ),
    ],
    *,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would change, and change nothing.")
    ] = False,
    url: Url = DEFAULT_URL,
    key: Key = None,
) -> None:
    """Make, change and delete agents as a file says; those it does not name stay as they are.

    Write ${NAME} for an api_key, and it is taken from the environment. Exits with 1 if a row
    failed; the others are applied all the same.
    """
    with gateway(url, key) as client:
        if dry_run:
            from workers.commands.apply_preview import preview

            errors = preview(client, read_agents(file))
        else:
            errors = _apply(client, file)
    for line in in_file(file, errors[:SHOWN]):
        typer.echo(line, err=True)
    if len(errors) > SHOWN:
        typer.echo(f"… and {len(errors) - SHOWN} more", err=True)
    if errors:
        raise typer.Exit(FAILED)


def _apply(client: "httpx.Client", file: Path) -> list[RowError]:
    """Send a file, wait until it is applied, and return the rows that failed."""
    lines: list[int] = []
    errors: list[RowError] = []

    def body() -> Iterator[bytes]:
        for row in read_agents(file):
            if row.error is not None:
                errors.append(row.error)
                continue
            lines.append(row.line)
            yield json.dumps(row.fields, ensure_ascii=False).encode() + b"\n"

    first = next(sent := body(), None)
    if first is None:
        return errors

    def whole() -> Iterator[bytes]:
        yield first
        yield from sent

    headers = {"Content-Type": "application/x-ndjson", "Idempotency-Key": new_id("req")}
    accepted = answer_of(client.post("/v1/batches", content=whole(), headers=headers, timeout=600))
    batch, found = outcome_of(client, accepted["id"])
    counts = {**batch, "failed": batch["failed"] + len(errors)}
    typer.echo(", ".join(f"{name} {counts[name]}" for name in COUNTS))
    errors += [error.model_copy(update={"line": lines[error.line - 1]}) for error in found]
    return sorted(errors, key=lambda error: error.line)
