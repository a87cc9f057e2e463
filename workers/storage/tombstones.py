"""What is remembered of agents that are gone, so that a late change does not bring one back.

Each function works inside a transaction of its caller.
"""

from datetime import datetime

from sqlalchemy import Connection, and_, insert, select, update

from workers.storage.tables import agent_tombstones, from_microseconds, to_microseconds

_columns = agent_tombstones.c


def find_tombstone(connection: Connection, account: str, agent_id: str) -> datetime | None:
    """Return when an agent that is gone was last changed; None where nothing is known of it."""
    query = select(_columns.occurred_at).where(
        _columns.account == account, _columns.agent_id == agent_id
    )
    held = connection.execute(query).scalar()
    return None if held is None else from_microseconds(held)


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
