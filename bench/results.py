"""The figures of one run as a table for people and as JSON for programs."""

import json
import os
from collections.abc import Sequence
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from bench.figure import Figure

_SIGN = {"at most": "≤", "at least": "≥"}


def write_json(figures: Sequence[Figure], file: Path) -> None:
    """Write the figures to `file`, whole or not at all."""
    draft = file.with_suffix(".new")
    entries = [figure.entry() for figure in figures]
    draft.write_text(json.dumps(entries, indent=2, ensure_ascii=False) + "\n")
    draft.replace(file)


def print_table(figures: Sequence[Figure], console: Console, *, took_s: float) -> None:
    """Print the figures, what they should be, and the load of the machine beside them."""
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    caption = f"{took_s:.0f} s on {os.cpu_count()} cores, load {load} (1, 5, 15 min)"
    table = Table(title="How fast", caption=caption, box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("What", ratio=1)
    table.add_column("Value", justify="right", no_wrap=True)
    table.add_column("Target", justify="right", no_wrap=True)
    table.add_column("Unit", no_wrap=True)
    table.add_column("", no_wrap=True)
    for figure in figures:
        table.add_row(
            _described(figure),
            f"{figure.entry()['value']:g}",
            f"{_SIGN[figure.bound]} {figure.target:g}",
            figure.unit,
            Text("reached", "green") if figure.reached else Text("missed", "bold red"),
        )
    console.print(table)


def _described(figure: Figure) -> Text:
    """Return the figure's name, and its note dimmed on lines of its own."""
    name = Text(figure.name)
    return name.append(f"\n{figure.note}", "dim") if figure.note else name
