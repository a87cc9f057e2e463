"""The rows of a file on their way to a gateway, as one batch."""

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Any, Final

import httpx
import typer

from schemas.batch import RowError
from schemas.ids import new_id
from workers.commands.agent_file import read_agents
from workers.commands.gateway_client import answer_of
from workers.providers.retry_after import read_retry_after

ARRIVE_S: Final = 600.0
BUSY_S: Final = 300.0
"""How long a gateway that asks to wait is tried again, in seconds."""
LEAST_S: Final = 0.5
_ASKS_TO_WAIT: Final = frozenset({409, 429, 503})
"""Of 409, the one that says when: the same batch is still coming in, or it broke off just now."""


class SentRows:
    """Sends those rows of a file that can be read, and knows which were not and why."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._lines: list[int] = []
        self.errors: list[RowError] = []

    def send(self, client: httpx.Client) -> Any:
        """Return what the gateway accepted, None where the file has no row that can be sent.

        A gateway that says when to try again is tried again, for a while. Raises AgentFileError
        and GatewayRefusedError.
        """
        headers = {"Content-Type": "application/x-ndjson", "Idempotency-Key": new_id("req")}
        until = time.monotonic() + BUSY_S
        has_told = False
        while True:
            rows = self._read()
            first = next(rows, None)
            if first is None:
                return None
            body = chain([first], rows)
            answer = client.post("/v1/batches", content=body, headers=headers, timeout=ARRIVE_S)
            wait_s = _wait_s(answer)
            if wait_s is None or time.monotonic() + wait_s > until:
                return answer_of(answer)
            if not has_told:
                what = f"the gateway asks to wait ({answer.status_code})"
                typer.echo(f"edgewise: {what}; trying again for {BUSY_S:.0f} s", err=True)
                has_told = True
            time.sleep(wait_s)

    def in_file(self, error: RowError) -> RowError:
        """Return an error of a row that was sent with its line in the file."""
        return error.model_copy(update={"line": self._lines[error.line - 1]})

    def _read(self) -> Iterator[bytes]:
        self._lines, self.errors = [], []
        for row in read_agents(self._file):
            if row.error is not None:
                self.errors.append(row.error)
                continue
            self._lines.append(row.line)
            yield json.dumps(row.fields, ensure_ascii=False).encode() + b"\n"


def _wait_s(answer: httpx.Response) -> float | None:
    """Return after how many seconds an answer wants to be asked again, None where it does not."""
    if answer.status_code not in _ASKS_TO_WAIT:
        return None
    said, date = answer.headers.get("retry-after"), answer.headers.get("date")
    wait_s = read_retry_after(said, date, datetime.now(UTC))
    return None if wait_s is None else max(LEAST_S, wait_s)
