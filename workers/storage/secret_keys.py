"""Which key-encryption keys this database knows, and which is current.

New values are written under the current one only. That it is written down here, and not in a
file, is what keeps a worker with lost or wrong key files from writing what nobody can read.
Each function works inside a transaction of its caller.
"""

from datetime import datetime
from typing import Final

from sqlalchemy import Connection, insert, select, text, update

from workers.errors import StorageUnavailableError
from workers.storage.secret_tables import secret_keys
from workers.storage.tables import to_microseconds

_LOOKS: Final = 5
"""How many rotations in a row may overtake a look for the current key."""


def current_key(connection: Connection) -> str | None:
    """Return the current key's id, None before the first; it stays so until the transaction ends.

    Who makes another one current waits for that, so nothing is written under the old one after.
    Raises StorageUnavailableError where it changes all the time.
    """
    query = select(secret_keys.c.id).where(secret_keys.c.is_current).with_for_update(read=True)
    for _ in range(_LOOKS):
        current: str | None = connection.execute(query).scalar()
        # PostgreSQL: what waited for a rotation looks at the old row again, which is current no
        # more, and does not see the new one. The next statement does.
        if current is not None or not known_keys(connection):
            return current
    raise StorageUnavailableError("the current key is being changed")


def known_keys(connection: Connection) -> list[str]:
    """Return the ids of all keys that ever were current, the oldest first."""
    query = select(secret_keys.c.id).order_by(secret_keys.c.known_since)
    return [str(row[0]) for row in connection.execute(query)]


def make_first(connection: Connection, key_id: str, now: datetime) -> str:
    """Make this key the current one where no key was before; return the one that is current."""
    if connection.dialect.name == "postgresql":
        # One at a time: of two that are the first, the second finds the key of the other.
        connection.execute(text("LOCK TABLE secret_keys IN SHARE ROW EXCLUSIVE MODE"))
    current = current_key(connection)
    if current is not None:
        return current
    make_current(connection, key_id, now)
    return key_id


def make_current(connection: Connection, key_id: str, now: datetime) -> None:
    """Make this key the current one, known already or not."""
    connection.execute(update(secret_keys).values(is_current=False))
    change = update(secret_keys).where(secret_keys.c.id == key_id).values(is_current=True)
    if connection.execute(change).rowcount == 0:
        connection.execute(
            insert(secret_keys).values(id=key_id, is_current=True, known_since=to_microseconds(now))
        )
