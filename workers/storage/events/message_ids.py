"""Which messages of other programs were taken, so that each takes effect once.

Each function works inside a transaction of its caller.
"""

from datetime import datetime

from sqlalchemy import Connection, insert, select

from workers.storage.tables import config_messages, to_microseconds

_columns = config_messages.c


def find_message(connection: Connection, account: str, message_id: str) -> str | None:
    """Return the event that a message became; None where it was not taken."""
    query = select(_columns.event_id).where(
        _columns.account == account, _columns.message_id == message_id
    )
    return connection.execute(query).scalar()


def add_message(
    connection: Connection, account: str, message_id: str, event_id: str, now: datetime
) -> None:
    """Note that a message became this event; raises IntegrityError where another was first."""
    connection.execute(
        insert(config_messages).values(
            account=account,
            message_id=message_id,
            event_id=event_id,
            taken_at=to_microseconds(now),
        )
    )
