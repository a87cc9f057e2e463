"""`edgewise webhooks`: what was sent to endpoints, what was not taken in, and where they are."""
# ruff: noqa: PLC0415  # a command loads what it needs when it runs

from datetime import UTC, datetime
from typing import Annotated, NoReturn

import typer

from workers.commands.console import FAILED, database, write_table
from workers.commands.webhook_endpoints import change, endpoints, rotate

webhooks = typer.Typer(
    help="List webhooks that go out, look at one, send it again; change endpoints.",
    no_args_is_help=True,
)
for _verb in (endpoints, change, rotate):
    webhooks.command()(_verb)
AsJson = Annotated[bool, typer.Option("--json", help="Write JSON instead of a table.")]
Id = Annotated[str, typer.Argument(help="Its id, as `edgewise webhooks list` shows it.")]
Endpoint = Annotated[str | None, typer.Option(help="Only those for this endpoint.")]


def _status(given: str | None) -> str | None:
    if given not in (None, "pending", "delivered", "failed"):
        raise typer.BadParameter("pending, delivered or failed")
    return given


Status = Annotated[
    str | None, typer.Option(callback=_status, help="Only those: pending, delivered or failed.")
]


@webhooks.command("list")
def list_all(
    *,
    status: Status = None,
    endpoint: Endpoint = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many at most.")] = 50,
    as_json: AsJson = False,
) -> None:
    """List webhooks, the newest first; JSON has one object per line."""
    from workers.storage.database import reading
    from workers.storage.webhooks.deliveries import list_deliveries

    with database() as engine, reading(engine) as connection:
        found = list_deliveries(
            connection,
            status=status,  # type: ignore[arg-type]  # the callback has looked
            endpoint_id=endpoint,
            limit=limit,
        )
    if as_json:
        for each in found:
            typer.echo(each.model_dump_json(exclude={"body"}))
        return
    head = ("WEBHOOK", "STATUS", "TYPE", "ENDPOINT", "TRIES", "CREATED", "ANSWER")
    rows = [
        (
            each.id,
            each.status,
            each.type,
            each.endpoint_id,
            str(each.attempts),
            f"{each.created_at:%Y-%m-%d %H:%M:%S} UTC",
            str(each.last_status or each.last_error or "-"),
        )
        for each in found
    ]
    write_table(head, rows)


@webhooks.command()
def show(webhook_id: Id) -> None:
    """Show one webhook as JSON: what it says, how often it was tried, when it is tried next."""
    from workers.storage.database import reading
    from workers.storage.webhooks.deliveries import find_delivery

    with database() as engine, reading(engine) as connection:
        found = find_delivery(connection, webhook_id)
    if found is None:
        _leave("there is no such webhook; `edgewise webhooks list` shows those there are")
    typer.echo(found.model_dump_json(indent=2))


@webhooks.command()
def resend(
    webhook_id: Annotated[
        str | None, typer.Argument(help="Its id, as `edgewise webhooks list` shows it.")
    ] = None,
    *,
    failed: Annotated[bool, typer.Option("--failed", help="All that have failed.")] = False,
    endpoint: Endpoint = None,
) -> None:
    """Send webhooks again, under the same id; a running config worker does it within seconds.

    An endpoint that was disabled is sent to again.
    """
    from workers.storage.database import reading, writing
    from workers.storage.webhooks.deliveries import find_delivery, list_deliveries, send_again
    from workers.storage.webhooks.endpoints import enable_endpoint

    if (webhook_id is None) == (not failed):
        raise typer.BadParameter("name a webhook, or say --failed")
    with database() as engine:
        with reading(engine) as connection:
            if webhook_id is not None:
                one = find_delivery(connection, webhook_id)
                found = [] if one is None else [one]
            else:
                found = list_deliveries(
                    connection, status="failed", endpoint_id=endpoint, limit=100_000
                )
        count = 0
        for each in found:
            with writing(engine) as connection:
                count += send_again(connection, each.id, datetime.now(UTC))
                enable_endpoint(connection, each.endpoint_id)
    if webhook_id is not None and not found:
        _leave("there is no such webhook; `edgewise webhooks list` shows those there are")
    if webhook_id is not None and not count:
        _leave("it still waits to be sent; `edgewise webhooks show` says when")
    typer.echo(f"to be sent again: {count}", err=True)


def _leave(reason: str) -> NoReturn:
    typer.echo(f"edgewise: {reason}", err=True)
    raise typer.Exit(FAILED)
