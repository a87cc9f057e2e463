"""`edgewise keys`: the API keys of accounts."""
# ruff: noqa: PLC0415  # a command loads what it needs when it runs

from typing import Annotated

import typer
from pydantic import TypeAdapter, ValidationError

from schemas.account import DEFAULT_ACCOUNT, SCOPES, KeyName
from workers.commands.accounts import account_name
from workers.commands.console import database, write_table

keys = typer.Typer(help="Make, list and revoke API keys.", no_args_is_help=True)


def _name(text: str) -> str:
    try:
        return TypeAdapter(KeyName).validate_python(text)
    except ValidationError:
        raise typer.BadParameter("1 to 100 characters in one line") from None


def _scopes(given: list[str]) -> list[str]:
    if not given or set(given) - set(SCOPES):
        raise typer.BadParameter("one of " + ", ".join(SCOPES))
    return given


@keys.command()
def create(
    scope: Annotated[
        list[str],
        typer.Option(
            callback=_scopes,
            help="What it may do: talk, configure, llm, or admin for all; repeat it for several.",
        ),
    ],
    account: Annotated[
        str, typer.Option(callback=account_name, help="Whose key it is.")
    ] = DEFAULT_ACCOUNT,
    name: Annotated[
        str, typer.Option(callback=_name, help="What it is for, to tell it from others.")
    ] = "unnamed",
) -> None:
    """Make a key and write it on standard output, this once: only its hash is kept."""
    with database() as engine:
        from workers.storage.accounts.keys import make_key

        key, text = make_key(engine, account, name, [known for known in SCOPES if known in scope])
        note = f"{key.id} of account {account}; keep it now, it is not shown again"
        typer.echo(note, err=True)
        typer.echo(text)


@keys.command("list")
def list_(
    account: Annotated[
        str | None, typer.Option(callback=account_name, help="Unset, those of all accounts.")
    ] = None,
) -> None:
    """List keys without the keys themselves; revoked ones, too."""
    with database() as engine:
        from workers.storage.accounts import keys as stored

        rows = [
            (
                key.id,
                key.account,
                key.name,
                ",".join(sorted(key.scopes)),
                f"{key.created_at:%Y-%m-%d %H:%M} UTC",
                "live" if key.revoked_at is None else f"revoked {key.revoked_at:%Y-%m-%d %H:%M}",
            )
            for key in stored.keys(engine, account)
        ]
        write_table(("ID", "ACCOUNT", "NAME", "SCOPES", "CREATED", "STATE"), rows)


@keys.command()
def revoke(
    key_id: Annotated[str, typer.Argument(help="Its id, as `edgewise keys list` shows it.")],
) -> None:
    """Revoke a key for good; running gateways refuse it after two seconds at most."""
    with database() as engine:
        from workers.storage.accounts.keys import revoke as revoke_key

        key = revoke_key(engine, key_id)
        typer.echo(f"{key.id} of account {key.account} is revoked", err=True)
