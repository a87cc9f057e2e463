"""The tables of the history of sessions, as the code sees them; `migrations` makes them."""

from typing import Final

from sqlalchemy import BigInteger, Column, ForeignKey, Index, String, Table, Text

from workers.storage.tables import metadata

sessions: Final = Table(
    "sessions",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("account", String(64), nullable=False),
    Column("agent_id", String(64), nullable=False),
    Column("status", String(16), nullable=False),
    Column("reason", String(32)),
    Column("started_at", BigInteger, nullable=False),
    Column("seen_at", BigInteger, nullable=False),
    Column("ended_at", BigInteger),
    Index("sessions_newest", "account", "started_at", "id"),
    Index("sessions_by_status", "status", "seen_at"),
)

session_entries: Final = Table(
    "session_entries",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("session_id", String(64), ForeignKey("sessions.id", ondelete="CASCADE"), nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("document", Text, nullable=False),
    Index("session_entries_in_order", "session_id", "at", "id"),
)

session_messages: Final = Table(
    "session_messages",
    metadata,
    Column(
        "session_id", String(64), ForeignKey("sessions.id", ondelete="CASCADE"), primary_key=True
    ),
    Column("digest", String(16), primary_key=True),
    Column("body", Text, nullable=False),
)
