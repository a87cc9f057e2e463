"""What is remembered of agents that are gone, so that a late change does not bring one back.

Each function works inside a transaction of its caller.
"""

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import Connection, and_, insert, select, update

from workers.storage.tables import agent_tombstones, from_microseconds, to_microseconds

_columns = agent_tombstones.c


def find_tombstones(
    connection: Connection, agent_ids: Collection[str]
) -> dict[tuple[str, str], datetime]:
    """Return when agents that are gone were last changed, by account and id, where it is known."""
    query = select(_columns.account, _columns.agent_id, _columns.occurred_at).where(
        _columns.agent_id.in_(agent_ids)
    )
    found = connection.execute(query)
    return {(row.account, row.agent_id): from_microseconds(row.occurred_at) for row in found}


def put_tombstone(
    connection: Connection,
    account: str,
    agent_id: str,
    *,
    occurred_at: datetime,
    removed_at: datetime,
) -> None:
    """Remember that an agent is gone, and when its removal came about."""
    values = {
        "occurred_at": to_microseconds(occurred_at),
        "removed_at": to_microseconds(removed_at),
    }
    this = and_(_columns.account == account, _columns.agent_id == agent_id)
    if connection.execute(update(agent_tombstones).where(this).values(**values)).rowcount == 0:
        connection.execute(
            insert(agent_tombstones).values(account=account, agent_id=agent_id, **values)
        )
