"""Which reader reads what."""

from collections.abc import Callable
from typing import Final

from workers.batch_files.csv_table import CsvReader
from workers.batch_files.json_list import JsonListReader
from workers.batch_files.ndjson import NdjsonReader
from workers.batch_files.rows import RowReader

READERS: Final[dict[str, Callable[[], RowReader]]] = {
    "application/x-ndjson": NdjsonReader,
    "application/json": JsonListReader,
    "text/csv": CsvReader,
}
"""By media type."""
