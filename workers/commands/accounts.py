"""`edgewise accounts`: the owners of agents and keys."""
# ruff: noqa: PLC0415  # a command loads what it needs when it runs

from typing import Annotated

import typer
from pydantic import TypeAdapter, ValidationError

from schemas.account import AccountName
from workers.commands.console import database, write_table

accounts = typer.Typer(help="Make and list accounts.", no_args_is_help=True)

NAME_RULE = "1 to 63 of a-z, 0-9, - and _, beginning with a letter or a digit"


def account_name(text: str | None) -> str | None:
    """Return the name of an account, if there is one; raises typer.BadParameter if it is none."""
    try:
        return None if text is None else TypeAdapter(AccountName).validate_python(text)
    except ValidationError:
        raise typer.BadParameter(NAME_RULE) from None


@accounts.command()
def create(
    name: Annotated[str, typer.Argument(callback=account_name, help=NAME_RULE)],
) -> None:
    """Make an account; then make keys for it: `edgewise keys create --account NAME`."""
    with database() as engine:
        from workers.storage.accounts.keys import make_account

        make_account(engine, name)
        typer.echo(f"account {name} is there", err=True)


@accounts.command("list")
def list_() -> None:
    """List all accounts."""
    with database() as engine:
        from workers.storage.accounts import keys

        rows = [
            (found.name, f"{found.created_at:%Y-%m-%d %H:%M} UTC")
            for found in keys.accounts(engine)
        ]
        write_table(("ACCOUNT", "CREATED"), rows)
