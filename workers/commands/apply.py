"""`edgewise apply`: the agents of a file, sent as one batch."""
# ruff: noqa: PLC0415  # a command loads what it needs when it runs

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from schemas.batch import RowError
from schemas.ids import new_id
from workers.commands.agent_file import in_file, read_agents
from workers.commands.console import FAILED
from workers.commands.gateway_client import (
    DEFAULT_URL,
    GatewayRefusedError,
    Key,
    Url,
    answer_of,
    gateway,
)

if TYPE_CHECKING:
    import httpx

POLL_S: Final = 0.3
STALLED_S: Final = 120.0
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
            yield json.dumps(row.fields, default=str).encode() + b"\n"

    first = next(sent := body(), None)
    if first is None:
        if not errors:
            raise GatewayRefusedError("the file has no agents")
        return errors

    def whole() -> Iterator[bytes]:
        yield first
        yield from sent

    headers = {"Content-Type": "application/x-ndjson", "Idempotency-Key": new_id("req")}
    accepted = answer_of(client.post("/v1/batches", content=whole(), headers=headers, timeout=600))
    path = f"/v1/batches/{accepted['id']}"
    batch = _wait(client, path)
    counts = {**batch, "failed": batch["failed"] + len(errors)}
    typer.echo(", ".join(f"{name} {counts[name]}" for name in COUNTS))
    if batch["failed"]:
        answer = client.get(f"{path}/errors")
        found = (RowError.model_validate_json(line) for line in answer.text.splitlines())
        errors += [error.model_copy(update={"line": lines[error.line - 1]}) for error in found]
    return sorted(errors, key=lambda error: error.line)


def _wait(client: "httpx.Client", path: str) -> dict[str, Any]:
    """Show how far a batch is until it is done; raises GatewayRefusedError where it stalls."""
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("applying", total=None)
        done, moved_at = -1, time.monotonic()
        while True:
            batch: dict[str, Any] = answer_of(client.get(path))
            progress.update(task, total=batch["total"], completed=batch["done"])
            if batch["status"] == "done":
                return batch
            if batch["done"] > done:
                done, moved_at = batch["done"], time.monotonic()
            if time.monotonic() - moved_at > STALLED_S:
                raise GatewayRefusedError(
                    f"nothing was applied for {STALLED_S:.0f} s; it goes on when a config worker "
                    f"runs, and GET {path} says how far it is"
                )
            time.sleep(POLL_S)
