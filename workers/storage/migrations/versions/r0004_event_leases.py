"""Leases and counted attempts of config events, and when each is looked at again."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add the columns; events that wait already are looked at at once."""
    op.add_column(
        "config_events", sa.Column("attempts", sa.Integer, nullable=False, server_default="0")
    )
    op.add_column("config_events", sa.Column("lease_owner", sa.String(128)))
    op.add_column("config_events", sa.Column("lease_until", sa.BigInteger))
    op.add_column("config_events", sa.Column("due_at", sa.BigInteger))
    op.execute("UPDATE config_events SET due_at = accepted_at WHERE status = 'pending'")
    op.create_index("config_events_by_due", "config_events", ["status", "due_at"])
