"""Which key-encryption keys this database knows, and which is current.

New values are written under the current one only. That it is written down here, and not in a
file, is what keeps a worker with lost or wrong key files from writing what nobody can read.
Each function works inside a transaction of its caller.
"""

from datetime import datetime

from sqlalchemy import Connection, insert, select, update

from workers.storage.secret_tables import secret_keys
from workers.storage.tables import to_microseconds


def current_key(connection: Connection) -> str | None:
    """Return the current key's id, None before the first; it stays so until the transaction ends.

    Who makes another one current waits for that, so nothing is written under the old one after.
    """
    query = select(secret_keys.c.id).where(secret_keys.c.is_current).with_for_update(read=True)
    return connection.execute(query).scalar()


def known_keys(connection: Connection) -> list[str]:
    """Return the ids of all keys that ever were current, the oldest first."""
    query = select(secret_keys.c.id).order_by(secret_keys.c.known_since)
    return [str(row[0]) for row in connection.execute(query)]


def make_current(connection: Connection, key_id: str, now: datetime) -> None:
    """Make this key the current one, known already or not."""
    connection.execute(update(secret_keys).values(is_current=False))
    change = update(secret_keys).where(secret_keys.c.id == key_id).values(is_current=True)
    if connection.execute(change).rowcount == 0:
        connection.execute(
            insert(secret_keys).values(id=key_id, is_current=True, known_since=to_microseconds(now))
        )
