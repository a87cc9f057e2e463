"""The tables of batches and of the rows that could not be applied, as the code sees them."""

from typing import Final

from sqlalchemy import BigInteger, Column, Index, Integer, String, Table, Text

from workers.storage.tables import metadata

batches: Final = Table(
    "batches",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("account", String(64), nullable=False),
    Column("status", String(16), nullable=False),
    Column("idempotency_key", String(255)),
    Column("body_hash", String(64)),
    Column("total", Integer, nullable=False, server_default="0"),
    Column("staged", Integer, nullable=False, server_default="0"),
    Column("created", Integer, nullable=False, server_default="0"),
    Column("updated", Integer, nullable=False, server_default="0"),
    Column("unchanged", Integer, nullable=False, server_default="0"),
    Column("deleted", Integer, nullable=False, server_default="0"),
    Column("failed", Integer, nullable=False, server_default="0"),
    Column("created_at", BigInteger, nullable=False),
    Column("finished_at", BigInteger),
    Column("due_at", BigInteger, nullable=False),
    Index("batches_by_key", "account", "idempotency_key", unique=True),
    Index("batches_by_due", "status", "due_at"),
)

batch_errors: Final = Table(
    "batch_errors",
    metadata,
    Column("batch_id", String(64), primary_key=True),
    Column("line", Integer, primary_key=True),
    Column("code", String(64), nullable=False),
    Column("message", Text, nullable=False),
    Column("param", Text),
)
