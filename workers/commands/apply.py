"""`edgewise apply`: the agents of a file, sent as one batch."""
# ruff: noqa: PLC0415  # a command loads what it needs when it runs

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from schemas.batch import RowError
from workers.commands.accepted_batch import outcome_of
from workers.commands.agent_file import in_file, read_agents
from workers.commands.console import FAILED
from workers.commands.gateway_client import (
    DEFAULT_URL,
    Key,
    Url,
    gateway,
)
from workers.commands.sent_rows import SentRows

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
    rows = SentRows(file)
    accepted = rows.send(client)
    if accepted is None:
        return rows.errors
    batch, found = outcome_of(client, accepted["id"])
    counts = {**batch, "failed": batch["failed"] + len(rows.errors)}
    typer.echo(", ".join(f"{name} {counts[name]}" for name in COUNTS))
    return sorted([*rows.errors, *map(rows.in_file, found)], key=lambda error: error.line)
