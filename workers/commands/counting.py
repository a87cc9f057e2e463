"""A line on standard error that shows how far a long command is."""
# ruff: noqa: PLC0415  # a command loads what it needs when it runs

import contextlib
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


class Count:
    """How many there were so far; what is said goes to standard output, past the line."""

    def __init__(self, progress: "Progress", task: "TaskID") -> None:
        self._progress = progress
        self._task = task
        self._on_one_terminal = sys.stdout.isatty() and sys.stderr.isatty()

    def one_more(self) -> None:
        """Count one."""
        self._progress.advance(self._task)

    def say(self, line: str) -> None:
        """Write a line on standard output."""
        if self._on_one_terminal:  # written beside it, the moving line would tear it
            console = self._progress.console
            console.print(line, markup=False, highlight=False, soft_wrap=True)
        else:
            typer.echo(line)


@contextlib.contextmanager
def counting(what: str) -> Iterator[Count]:
    """Count on a line that goes away at the end; without a terminal nothing is shown."""
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn

    console = Console(stderr=True)
    shown = TextColumn("{task.completed} " + what)
    with Progress(
        SpinnerColumn(),
        shown,
        console=console,
        transient=True,
        redirect_stdout=False,
        disable=not console.is_terminal,
    ) as progress:
        yield Count(progress, progress.add_task(what, total=None))
