"""When LLM entries are probed, by whom, and what came of it; in a transaction of the caller.

It is all kept in the entry's own row. A new entry is due at once without anybody writing that
down, and what was found goes with the entry that it was found of. `probe_due_at` is the lease,
too: while somebody probes, it is when that somebody is taken for dead.
"""

from collections.abc import Collection
from datetime import datetime
from typing import Final, NamedTuple

from sqlalchemy import Connection, and_, or_, select, update

from schemas.llm_health import EntryHealth, ProbeResult
from workers.storage.agents.llm_rows import ENTRY, Place, StoredEntry, entry_of_row
from workers.storage.secret_tables import llm_entries
from workers.storage.tables import to_microseconds

ASKED: Final = -1
"""The time at which an entry is due that a user asked about: before all others."""

_columns = llm_entries.c


class DueProbe(NamedTuple):
    """An entry whose time has come; `due_at` must be as it was for it to be taken."""

    place: Place
    account: str
    base_url: str
    due_at: int


class Busy(NamedTuple):
    """Whose entries are left alone: endpoints and accounts with as many probes as they may have."""

    base_urls: Collection[str]
    accounts: Collection[str]


def due_probes(
    connection: Connection, now: datetime, limit: int, busy: Busy, *, scheduled: bool
) -> list[DueProbe]:
    """Return up to `limit` entries to probe, those asked about first, then the most overdue.

    Without `scheduled`, only what a user asked about and what a dead worker left unfinished.
    """
    is_due = _columns.probe_due_at <= to_microseconds(now)
    if not scheduled:
        is_due = and_(is_due, or_(_columns.probe_due_at < 0, _columns.probe_lease.is_not(None)))
    query = (
        select(
            _columns.agent_id,
            _columns.entry,
            _columns.account,
            _columns.base_url,
            _columns.probe_due_at,
        )
        .where(
            is_due,
            _columns.base_url.not_in(busy.base_urls),
            _columns.account.not_in(busy.accounts),
        )
        .order_by(_columns.probe_due_at)
        .limit(limit)
    )
    return [DueProbe((row[0], row[1]), *row[2:]) for row in connection.execute(query)]


def take_probe(
    connection: Connection, due: DueProbe, lease: str, until: datetime
) -> StoredEntry | None:
    """Take an entry to probe and return it; None where another was first or it has changed."""
    agent_id, entry = due.place
    here = and_(_columns.agent_id == agent_id, _columns.entry == entry)
    taken = connection.execute(
        update(llm_entries)
        .where(here, _columns.probe_due_at == due.due_at)
        .values(probe_lease=lease, probe_due_at=to_microseconds(until))
    )
    if taken.rowcount != 1:
        return None
    return entry_of_row(connection.execute(select(*ENTRY).where(here)).one())


def record_probe(
    connection: Connection, place: Place, lease: str, result: ProbeResult, next_at: datetime
) -> bool:
    """Keep what was found; False where the lease was lost or the entry replaced meanwhile."""
    done = connection.execute(
        update(llm_entries)
        .where(
            _columns.agent_id == place[0],
            _columns.entry == place[1],
            _columns.probe_lease == lease,
        )
        .values(
            probe_lease=None,
            probe_due_at=to_microseconds(next_at),
            probe_result=result.model_dump_json(exclude_none=True),
        )
    )
    return done.rowcount == 1


def ask_for_probe(connection: Connection, agent_id: str, now: datetime) -> None:
    """Let the entries of an agent be probed next, but for those that are being probed."""
    is_free = or_(_columns.probe_lease.is_(None), _columns.probe_due_at <= to_microseconds(now))
    connection.execute(
        update(llm_entries).where(_columns.agent_id == agent_id, is_free).values(probe_due_at=ASKED)
    )


def probe_those_lost(connection: Connection, keys_here: Collection[str]) -> int:
    """Let entries that are under none of these keys be due, as new ones are; return how many.

    What is found of them is that their key cannot be opened. Those of which that was found before
    are due as well: their key may be back.
    """
    is_lost = _columns.key_id.not_in(list(keys_here))
    was_lost = _columns.probe_result.contains("credentials_unavailable")
    lost = update(llm_entries).where(or_(is_lost, was_lost), _columns.probe_lease.is_(None))
    return connection.execute(lost.values(probe_due_at=0)).rowcount


def health_of(
    connection: Connection, agent_id: str, now: datetime, *, scheduled: bool
) -> tuple[EntryHealth, ...]:
    """Return the entries of an agent in order, each with its last probe; no key is read."""
    query = (
        select(
            _columns.entry,
            _columns.base_url,
            _columns.model,
            _columns.probe_lease,
            _columns.probe_due_at,
            _columns.probe_result,
        )
        .where(_columns.agent_id == agent_id)
        .order_by(_columns.entry)
    )
    latest = to_microseconds(now) if scheduled else ASKED
    return tuple(
        EntryHealth(
            entry=row.entry,
            base_url=row.base_url,
            model=row.model,
            pending=row.probe_lease is not None or row.probe_due_at <= latest,
            **ProbeResult.model_validate_json(row.probe_result or "{}").model_dump(),
        )
        for row in connection.execute(query)
    )
