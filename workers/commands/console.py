"""What the commands of an operator share: settings, the database, errors in plain words."""
# ruff: noqa: PLC0415  # a command loads what it needs when it runs

import contextlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import typer
from pydantic import ValidationError

from workers.errors import DatabaseUnavailableError, EdgewiseError
from workers.settings import Settings

if TYPE_CHECKING:
    from sqlalchemy import Engine

FAILED = 1


def read_settings() -> Settings:
    """Return the settings in force.

    Leaves with a line for each wrong setting, which names the setting and not its value.
    """
    try:
        return Settings()
    except ValidationError as error:
        for problem in error.errors(include_input=False, include_url=False):
            name = "_".join(str(part) for part in problem["loc"]).upper()
            typer.echo(f"EDGEWISE_{name}: {problem['msg']}", err=True)
        raise typer.Exit(FAILED) from None


@contextlib.contextmanager
def plain_errors() -> Iterator[None]:
    """Turn an error of ours into a line on standard error and exit code 1."""
    try:
        yield
    except DatabaseUnavailableError as error:
        hint = "start it, or mend EDGEWISE_DATABASE_URL; `edgewise doctor` looks whether it answers"
        typer.echo(f"edgewise: {error}: {hint}", err=True)
        raise typer.Exit(FAILED) from None
    except EdgewiseError as error:
        typer.echo(f"edgewise: {error}", err=True)
        raise typer.Exit(FAILED) from None


@contextlib.contextmanager
def database() -> Iterator["Engine"]:
    """Open the database in force, brought up to date; errors come out in plain words."""
    from workers.storage.database import open_engine
    from workers.storage.upgrade import upgrade_engine

    with plain_errors():
        engine = open_engine(read_settings())
        try:
            upgrade_engine(engine)
            yield engine
        finally:
            engine.dispose()


def write_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Write rows on standard output in columns, each as wide as it has to be."""
    lines = [head, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    for line in lines:
        cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        typer.echo("  ".join(cells).rstrip())
