"""Whole records of a gateway's agents: all of them, or those that rows of a file are about.

By pages of 50, so that a fleet of 10,000 takes some 200 requests and is never in memory.
"""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Final, NamedTuple
from urllib.parse import quote

import httpx

from schemas.batch import DeleteRow, RowError, UpsertRow
from workers.commands.gateway_client import answer_of

PAGE: Final = 50
"""Whole records that a gateway gives at once."""
AT_ONCE: Final = 4
LOT: Final = 200
"""Rows that are read on before one of them is looked up, those that fail included."""
QUERY_BYTES: Final = 6_000
"""Names in one request; proxies take some 8,000 bytes."""

Record = dict[str, Any]


class ReadRow(NamedTuple):
    """A row that may be sent, and its line."""

    line: int
    row: UpsertRow | DeleteRow

    @property
    def name(self) -> tuple[str, str]:
        """What the agent is known by, and as what."""
        known = "id" if self.row.id is not None else "external_id"
        return known, str(getattr(self.row, known))


Lot = list[ReadRow | RowError]


def all_agents(client: httpx.Client) -> Iterator[Record]:
    """Yield the records of all agents, newest first."""
    query: dict[str, str | int] = {"limit": PAGE, "full": "true"}
    while True:
        page = answer_of(client.get("/v1/agents", params=query))
        yield from page["agents"]
        if not page["has_more"]:
            return
        query["cursor"] = page["response_metadata"]["next_cursor"]


def beside_stored(
    client: httpx.Client, rows: Iterator[ReadRow | RowError]
) -> Iterator[tuple[ReadRow | RowError, Record | None]]:
    """Yield each row with the record of its agent, None where there is none, in their order."""
    under_way: deque[tuple[Lot, Future[dict[tuple[str, str], Record]]]] = deque()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for lot in _lots(rows):
            under_way.append((lot, pool.submit(_look_up, client, lot)))
            if len(under_way) > AT_ONCE:
                yield from _paired(*under_way.popleft())
        while under_way:
            yield from _paired(*under_way.popleft())


def _lots(rows: Iterator[ReadRow | RowError]) -> Iterator[Lot]:
    """Cut rows into lots that one request can ask for."""
    lot: Lot = []
    names = size = 0
    for row in rows:
        length = 0
        if isinstance(row, ReadRow):
            length = sum(len(quote(part, safe="")) for part in row.name) + 2
        if lot and (len(lot) == LOT or names == PAGE or size + length > QUERY_BYTES):
            yield lot
            lot, names, size = [], 0, 0
        lot.append(row)
        names += length > 0
        size += length
    if lot:
        yield lot


def _look_up(client: httpx.Client, lot: Lot) -> dict[tuple[str, str], Record]:
    names = [row.name for row in lot if isinstance(row, ReadRow)]
    if not names:
        return {}
    page = answer_of(client.get("/v1/agents", params=[("full", "true"), *names]))
    records = {("id", str(each["id"])): each for each in page["agents"]}
    return records | {("external_id", str(each["external_id"])): each for each in page["agents"]}


def _paired(
    lot: Lot, found: Future[dict[tuple[str, str], Record]]
) -> Iterator[tuple[ReadRow | RowError, Record | None]]:
    records = found.result()
    for row in lot:
        yield row, records.get(row.name) if isinstance(row, ReadRow) else None
