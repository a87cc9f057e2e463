"""The figures of one run as a table for people and as JSON for programs."""

import json
import os
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

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
    table = Table(title="How fast", caption=caption, title_justify="left")
    table.add_column("What")
    table.add_column("Value", justify="right")
    table.add_column("Target", justify="right")
    table.add_column("")
    table.add_column("Beside it", style="dim")
    for figure in figures:
        entry = figure.entry()
        table.add_row(
            figure.name,
            f"{entry['value']:g} {figure.unit}",
            f"{_SIGN[figure.bound]} {figure.target:g} {figure.unit}",
            "[green]reached[/]" if figure.reached else "[red]missed[/]",
            figure.note,
        )
    console.print(table)
