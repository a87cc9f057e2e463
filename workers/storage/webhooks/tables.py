"""The tables of webhooks, in and out, as the code sees them."""

from typing import Final

from sqlalchemy import BigInteger, Column, Index, Integer, LargeBinary, String, Table, Text

from workers.storage.tables import metadata

webhook_sources: Final = Table(
    "webhook_sources",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("account", String(64), nullable=False),
    Column("name", String(64), nullable=False),
    Column("scheme", String(16), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Index("webhook_sources_by_name", "account", "name", unique=True),
)

webhook_secrets: Final = Table(
    "webhook_secrets",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("owner_id", String(64), nullable=False),
    Column("account", String(64), nullable=False),
    Column("secret", LargeBinary, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger),
    Index("webhook_secrets_by_owner", "owner_id", "created_at"),
)

webhook_receipts: Final = Table(
    "webhook_receipts",
    metadata,
    Column("source_id", String(64), primary_key=True),
    Column("webhook_id", String(256), primary_key=True),
    Column("body_hash", String(64), nullable=False),
    Column("event_id", String(64), nullable=False),
    Column("received_at", BigInteger, nullable=False),
    Index("webhook_receipts_by_body", "source_id", "body_hash"),
    Index("webhook_receipts_by_age", "received_at"),
)

webhook_endpoints: Final = Table(
    "webhook_endpoints",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("account", String(64), nullable=False),
    Column("url", Text, nullable=False),
    Column("events", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("delivered_at", BigInteger),
    Column("disabled_at", BigInteger),
    Index("webhook_endpoints_by_account", "account", "created_at"),
)

webhook_deliveries: Final = Table(
    "webhook_deliveries",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("account", String(64), nullable=False),
    Column("endpoint_id", String(64), nullable=False),
    Column("type", String(64), nullable=False),
    Column("body", Text, nullable=False),
    Column("status", String(16), nullable=False),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("created_at", BigInteger, nullable=False),
    Column("due_at", BigInteger, nullable=False),
    Column("gives_up_at", BigInteger, nullable=False),
    Column("settled_at", BigInteger),
    Column("last_status", Integer),
    Column("last_error", String(64)),
    Index("webhook_deliveries_by_turn", "status", "endpoint_id", "due_at"),
    Index("webhook_deliveries_by_endpoint", "endpoint_id", "status"),
    Index("webhook_deliveries_newest", "created_at", "id"),
)
