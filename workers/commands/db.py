"""`edgewise db`: the SQL database."""
# ruff: noqa: PLC0415  # a command loads what it needs when it runs

import typer

from workers.commands.console import plain_errors, read_settings

db = typer.Typer(help="Look after the SQL database.", no_args_is_help=True)


@db.command()
def upgrade() -> None:
    """Bring the database to the newest form; the parts also do it when they start.

    May be broken off and run again at any time.
    """
    from workers.storage.upgrade import upgrade as upgrade_database

    with plain_errors():
        upgrade_database(read_settings())
    typer.echo("the database has the newest form", err=True)
