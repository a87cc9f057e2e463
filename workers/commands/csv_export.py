"""Agents as CSV, in the columns that batches take: a table for a spreadsheet and back."""

import csv
import io
import json
import tempfile
from collections.abc import Iterable, Mapping
from typing import Any, Final, TextIO

from pydantic import ValidationError

from schemas.batch import UpsertRow
from workers.batch_files.csv_cells import as_cell
from workers.batch_files.csv_table import CsvReader
from workers.batch_files.rows import FileError

FIRST: Final = ("external_id", "id", "name", "system_prompt", "greeting", "voice", "llm")
"""Columns that stand before the others."""
_BOM: Final = "\ufeff"
"""By this spreadsheets know that a file is UTF-8."""

Row = dict[str, Any]


def write_csv(rows: Iterable[Row], stream: TextIO) -> tuple[int, list[str]]:
    """Write agents as one table; return how many, and the names of those that CSV cannot hold.

    Only names of columns are kept in memory: the rows wait in a temporary file until all columns
    are known. Tools are left out, and an empty list of models, as both would not be read back.
    """
    columns: dict[str, None] = {}
    count, left_out = 0, list[str]()
    with tempfile.TemporaryFile("w+", encoding="utf-8") as waiting:
        for row in rows:
            cells = _cells(row)
            if not _is_read_back(row, cells):
                left_out.append(str(row.get("external_id") or row["id"]))
                continue
            count += 1
            columns |= dict.fromkeys(cells)
            waiting.write(json.dumps(cells) + "\n")
        head = sorted(columns, key=_place)
        waiting.seek(0)
        stream.write(_BOM)
        table = csv.writer(stream)
        table.writerow(head)
        for line in waiting:
            kept = json.loads(line)
            table.writerow([kept.get(column, "") for column in head])
    return count, left_out


def _cells(row: Row) -> dict[str, str]:
    return dict(_leaves({name: value for name, value in row.items() if name != "tools"}, ""))


def _leaves(value: Any, path: str) -> Iterable[tuple[str, str]]:
    """Yield the fields that hold something by their paths, as they are written into cells."""
    if isinstance(value, dict | list):
        inner = value.items() if isinstance(value, dict) else enumerate(value)
        for name, each in inner:
            yield from _leaves(each, f"{path}.{name}" if path else str(name))
    elif isinstance(value, str):
        yield path, as_cell(value)
    elif value is not None:
        yield path, json.dumps(value)


def _is_read_back(row: Row, cells: Mapping[str, str]) -> bool:
    """Tell whether a batch takes these cells for this agent: it does not for all text there is."""
    line = io.StringIO(newline="")
    csv.writer(line).writerows([cells.keys(), cells.values()])
    reader = CsvReader()
    wanted = {name: value for name, value in row.items() if name != "tools" and value != []}
    try:
        (read,) = [*reader.feed(line.getvalue().encode()), *reader.end()]
        return UpsertRow.model_validate(read.fields) == UpsertRow.model_validate(wanted)
    except (FileError, ValidationError, ValueError):
        return False


def _place(column: str) -> tuple[int, tuple[tuple[bool, int, str], ...]]:
    parts = column.split(".")
    rank = FIRST.index(parts[0]) if parts[0] in FIRST else len(FIRST)
    return rank, tuple(
        (not part.isdecimal(), int(part) if part.isdecimal() else 0, part) for part in parts
    )
