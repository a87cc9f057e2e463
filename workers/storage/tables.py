"""The tables, as the code sees them; `migrations` makes them.

Times are whole microseconds since the epoch in UTC, so that order and cursors are exact on
every database. Documents are JSON text.
"""

from datetime import UTC, datetime, timedelta
from typing import Final

from sqlalchemy import BigInteger, Column, Index, Integer, MetaData, String, Table, Text

metadata: Final = MetaData()

agents: Final = Table(
    "agents",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("account", String(64), nullable=False),
    Column("version", Integer, nullable=False),
    Column("document", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    Column("occurred_at", BigInteger),
    Index("agents_newest", "account", "created_at", "id"),
)

config_events: Final = Table(
    "config_events",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("account", String(64), nullable=False),
    Column("kind", String(32), nullable=False),
    Column("agent_id", String(64), nullable=False),
    Column("body", Text, nullable=False),
    Column("status", String(16), nullable=False),
    Column("message", Text),
    Column("rests_since", BigInteger),
    Column("accepted_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger),
    Column("settled_at", BigInteger),
    Column("sealed", Text),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("lease_owner", String(128)),
    Column("lease_until", BigInteger),
    Column("due_at", BigInteger),
    Column("batch_id", String(64)),
    Column("line", Integer),
    Column("code", String(64)),
    Column("param", Text),
    Index("config_events_by_status", "status", "accepted_at"),
    Index("config_events_by_agent", "agent_id", "status", "accepted_at"),
    Index("config_events_by_due", "status", "due_at"),
    Index("config_events_by_batch", "batch_id", "status", "line"),
    Index("config_events_by_settled", "settled_at"),
)

agent_tombstones: Final = Table(
    "agent_tombstones",
    metadata,
    Column("account", String(64), primary_key=True),
    Column("agent_id", String(64), primary_key=True),
    Column("occurred_at", BigInteger, nullable=False),
    Column("removed_at", BigInteger, nullable=False),
    Index("agent_tombstones_by_age", "removed_at"),
)

config_messages: Final = Table(
    "config_messages",
    metadata,
    Column("account", String(64), primary_key=True),
    Column("message_id", String(128), primary_key=True),
    Column("event_id", String(64), nullable=False),
    Column("taken_at", BigInteger, nullable=False),
    Index("config_messages_by_age", "taken_at"),
)

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def to_microseconds(moment: datetime) -> int:
    """Return an aware moment as whole microseconds since the epoch."""
    return (moment - _EPOCH) // timedelta(microseconds=1)


def from_microseconds(count: int) -> datetime:
    """Return the moment, in UTC, of a count of microseconds since the epoch."""
    return _EPOCH + timedelta(microseconds=count)
