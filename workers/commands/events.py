"""`edgewise events`: what became of the changes that were accepted."""
# ruff: noqa: PLC0415  # a command loads what it needs when it runs

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from schemas.config_event import Status
from workers.commands.console import FAILED, database

if TYPE_CHECKING:
    from workers.storage.events.reports import EventReport

events = typer.Typer(
    help="List config events, look at one, try a dead one again.", no_args_is_help=True
)
AsJson = Annotated[bool, typer.Option("--json", help="Write JSON instead of a table.")]
EventId = Annotated[str, typer.Argument(help="Its id, as `edgewise events list` shows it.")]


@events.command("list")
def list_all(
    *,
    status: Annotated[Status | None, typer.Option(help="Only those of this status.")] = None,
    account: Annotated[str | None, typer.Option(help="Only those of this account.")] = None,
    agent: Annotated[str | None, typer.Option(help="Only those about this agent's id.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many at most.")] = 50,
    as_json: AsJson = False,
) -> None:
    """List events, the newest first; JSON has one object per line."""
    from workers.storage.database import reading
    from workers.storage.events.reports import list_events

    with database() as engine, reading(engine) as connection:
        found = list_events(connection, status, limit, account=account, agent_id=agent)
    if as_json:
        for event in found:
            typer.echo(event.model_dump_json())
        return
    rows = [
        (
            event.id,
            str(event.status),
            event.account,
            event.kind,
            event.agent_id,
            str(event.attempts),
            _moment(event.accepted_at),
            event.message or "",
        )
        for event in found
    ]
    _write(("EVENT", "STATUS", "ACCOUNT", "KIND", "AGENT", "TRIES", "ACCEPTED", "REASON"), rows)


@events.command()
def show(event_id: EventId, *, as_json: AsJson = False) -> None:
    """Show how one event fares: its attempts, its reason, who is on it, when it is sent again."""
    from workers.storage.database import reading
    from workers.storage.events.reports import report_event

    with database() as engine, reading(engine) as connection:
        event = report_event(connection, event_id)
    if event is None:
        _leave("there is no such event; `edgewise events list` shows those there are")
    if as_json:
        typer.echo(event.model_dump_json(indent=2))
        return
    values = json.loads(event.model_dump_json())
    _write(("FIELD", "VALUE"), [(name, _text(event, name)) for name in values])


@events.command()
def retry(event_id: EventId) -> None:
    """Let a dead event be tried again; a running config worker takes it up within seconds.

    Refused where its caller was told that nothing changed, or the agent was changed since.
    """
    from workers.storage.database import writing
    from workers.storage.events.leases import revive
    from workers.storage.events.reports import report_event

    with database() as engine, writing(engine) as connection:
        event = report_event(connection, event_id)
        if event is None:
            _leave("there is no such event; `edgewise events list` shows those there are")
        if event.status != "dead":
            _leave(f"only a dead event can be tried again, and this one is {event.status}")
        if not revive(connection, event_id, datetime.now(UTC)):
            _leave(
                "its caller was told that nothing changed; send the change anew"
                if event.expires_at is not None
                else "its batch counted it as failed; send the row anew"
                if event.batch_id is not None
                else "the agent was changed by a later event since; send the change anew"
            )
    typer.echo(f"{event_id} is pending again", err=True)


def _leave(reason: str) -> NoReturn:
    typer.echo(f"edgewise: {reason}", err=True)
    raise typer.Exit(FAILED)


def _text(event: "EventReport", name: str) -> str:
    value = getattr(event, name)
    if isinstance(value, datetime):
        return _moment(value)
    return "-" if value is None else str(value)


def _moment(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"


def _write(head: tuple[str, ...], rows: Sequence[Sequence[str]]) -> None:
    """Write a table; where no terminal sets a width, nothing is cut or wrapped."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in head:
        table.add_column(name, no_wrap=name != "REASON", overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 1_000
    console.print(table)
