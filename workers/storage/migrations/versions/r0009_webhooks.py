"""Webhooks: sources and endpoints with their secrets, what came in, what goes out."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Create the tables of webhooks."""
    _ways_in()
    _ways_out()


def _ways_in() -> None:
    op.create_table(
        "webhook_sources",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("account", sa.String(64), nullable=False),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("scheme", sa.String(16), nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
    )
    op.create_index("webhook_sources_by_name", "webhook_sources", ["account", "name"], unique=True)
    op.create_table(
        "webhook_secrets",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("owner_id", sa.String(64), nullable=False),
        sa.Column("account", sa.String(64), nullable=False),
        sa.Column("secret", sa.LargeBinary, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("expires_at", sa.BigInteger),
    )
    op.create_index("webhook_secrets_by_owner", "webhook_secrets", ["owner_id", "created_at"])
    op.create_table(
        "webhook_receipts",
        sa.Column("source_id", sa.String(64), primary_key=True),
        sa.Column("webhook_id", sa.String(256), primary_key=True),
        sa.Column("body_hash", sa.String(64), nullable=False),
        sa.Column("event_id", sa.String(64), nullable=False),
        sa.Column("received_at", sa.BigInteger, nullable=False),
    )
    op.create_index("webhook_receipts_by_body", "webhook_receipts", ["source_id", "body_hash"])
    op.create_index("webhook_receipts_by_age", "webhook_receipts", ["received_at"])


def _ways_out() -> None:
    op.create_table(
        "webhook_endpoints",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("account", sa.String(64), nullable=False),
        sa.Column("url", sa.Text, nullable=False),
        sa.Column("events", sa.Text, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("delivered_at", sa.BigInteger),
        sa.Column("disabled_at", sa.BigInteger),
    )
    op.create_index("webhook_endpoints_by_account", "webhook_endpoints", ["account", "created_at"])
    op.create_table(
        "webhook_deliveries",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("account", sa.String(64), nullable=False),
        sa.Column("endpoint_id", sa.String(64), nullable=False),
        sa.Column("type", sa.String(64), nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("due_at", sa.BigInteger, nullable=False),
        sa.Column("gives_up_at", sa.BigInteger, nullable=False),
        sa.Column("settled_at", sa.BigInteger),
        sa.Column("last_status", sa.Integer),
        sa.Column("last_error", sa.String(64)),
    )
    op.create_index("webhook_deliveries_by_due", "webhook_deliveries", ["status", "due_at"])
    op.create_index(
        "webhook_deliveries_by_endpoint", "webhook_deliveries", ["endpoint_id", "status"]
    )
    op.create_index("webhook_deliveries_newest", "webhook_deliveries", ["created_at", "id"])
