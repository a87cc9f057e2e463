"""Batches in the database: received, turned on, counted. Inside a transaction of the caller.

A batch is `receiving` until its body is there whole, then `running` until every row is settled,
then `done`. Its rows are config events; while it is `receiving` nobody applies them.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final, Literal, NamedTuple

from sqlalchemy import Connection, case, insert, select, update

from schemas.batch import Batch, BatchAccepted, RowError
from workers.storage.batches.tables import batch_errors, batches
from workers.storage.tables import config_events, from_microseconds, to_microseconds

Effect = Literal["created", "updated", "unchanged", "deleted", "failed"]
"""What became of a row."""

_COUNTS: Final[tuple[Effect, ...]] = ("created", "updated", "unchanged", "deleted", "failed")
RESEND_S: Final = 10.0
"""A batch of which no row was settled for so many seconds is sent again."""

_columns = batches.c
_settled = sum((_columns[name] for name in _COUNTS[1:]), start=_columns[_COUNTS[0]])


class HeldKey(NamedTuple):
    """What an idempotency key stands for."""

    answer: BatchAccepted
    body_hash: str | None
    """None: the body is still being received."""


def find_by_key(connection: Connection, account: str, idempotency_key: str) -> HeldKey | None:
    """Return what an account's idempotency key stands for, None where it is new."""
    query = select(batches).where(
        _columns.account == account, _columns.idempotency_key == idempotency_key
    )
    row = connection.execute(query).one_or_none()
    if row is None:
        return None
    status: Literal["running", "done"] = "running" if row.staged else "done"
    return HeldKey(BatchAccepted(id=row.id, status=status, total=row.total), row.body_hash)


def open_batch(
    connection: Connection,
    batch_id: str,
    account: str,
    idempotency_key: str | None,
    *,
    now: datetime,
    due_at: datetime,
) -> None:
    """Make a batch that is being received; past `due_at` it is given up unless it is extended.

    Raises sqlalchemy's IntegrityError where the idempotency key is taken.
    """
    connection.execute(
        insert(batches).values(
            id=batch_id,
            account=account,
            status="receiving",
            idempotency_key=idempotency_key,
            created_at=to_microseconds(now),
            due_at=to_microseconds(due_at),
        )
    )


def extend(connection: Connection, batch_id: str, due_at: datetime) -> bool:
    """Keep a batch that is being received; False where it was given up."""
    keep = update(batches).where(_columns.id == batch_id, _columns.status == "receiving")
    return connection.execute(keep.values(due_at=to_microseconds(due_at))).rowcount == 1


def turn_on(
    connection: Connection,
    batch_id: str,
    body_hash: str,
    *,
    staged: int,
    failed: int,
    now: datetime,
) -> BatchAccepted | None:
    """Let the rows of a batch be applied from now on; None where it was given up before."""
    status: Literal["running", "done"] = "running" if staged else "done"
    change = update(batches).where(_columns.id == batch_id, _columns.status == "receiving")
    values = {
        "status": status,
        "body_hash": body_hash,
        "total": staged + failed,
        "staged": staged,
        "failed": failed,
        "due_at": to_microseconds(now + timedelta(seconds=RESEND_S)),
        "finished_at": None if staged else to_microseconds(now),
    }
    if connection.execute(change.values(**values)).rowcount != 1:
        return None
    return BatchAccepted(id=batch_id, status=status, total=staged + failed)


def count_rows(
    connection: Connection, batch_id: str, counts: Mapping[Effect, int], now: datetime
) -> None:
    """Add what became of rows to the counts of their batch; the last of them ends it.

    Called in the transaction that settles them, so that each is counted once.
    """
    more = sum(counts.values())
    is_last = _settled + more >= _columns.total
    moment = to_microseconds(now)
    values = {name: _columns[name] + counts.get(name, 0) for name in _COUNTS}
    due_at = to_microseconds(now + timedelta(seconds=RESEND_S))
    connection.execute(
        update(batches)
        .where(_columns.id == batch_id)
        .values(
            **values,
            due_at=due_at,
            status=case((is_last, "done"), else_=_columns.status),
            finished_at=case((is_last, moment), else_=None),
        )
    )


def count_dead(connection: Connection, event_id: str, reason: str, now: datetime) -> None:
    """Count an event as failed that just died, where it is a row of a batch."""
    columns = config_events.c
    query = select(columns.batch_id, columns.line).where(
        columns.id == event_id, columns.batch_id.is_not(None)
    )
    row = connection.execute(query).one_or_none()
    if row is not None:
        error = RowError(line=row.line, code="internal_error", message=reason)
        note_errors(connection, row.batch_id, [error])
        count_rows(connection, row.batch_id, {"failed": 1}, now)


def note_errors(connection: Connection, batch_id: str, errors: Sequence[RowError]) -> None:
    """Keep why rows failed."""
    if errors:
        rows = [{"batch_id": batch_id, **error.model_dump()} for error in errors]
        connection.execute(insert(batch_errors), rows)


def errors_after(connection: Connection, batch_id: str, line: int, limit: int) -> list[RowError]:
    """Return up to `limit` errors of a batch, by line, from behind this one on."""
    columns = batch_errors.c
    query = (
        select(columns.line, columns.code, columns.message, columns.param)
        .where(columns.batch_id == batch_id, columns.line > line)
        .order_by(columns.line)
        .limit(limit)
    )
    return [RowError(**row._mapping) for row in connection.execute(query)]  # noqa: SLF001  # SQLAlchemy's documented name for it


def find_batch(connection: Connection, account: str, batch_id: str) -> Batch | None:
    """Return how far a batch of this account is; None where there is none, or not whole yet."""
    query = select(batches).where(
        _columns.id == batch_id, _columns.account == account, _columns.status != "receiving"
    )
    row = connection.execute(query).one_or_none()
    if row is None:
        return None
    counts = {name: getattr(row, name) for name in _COUNTS}
    return Batch(
        id=row.id,
        status=row.status,
        total=row.total,
        done=sum(counts.values()),
        **counts,
        created_at=from_microseconds(row.created_at),
        finished_at=None if row.finished_at is None else from_microseconds(row.finished_at),
    )
