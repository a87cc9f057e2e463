"""When changes came about, what is left of agents that are gone, and indexes to sweep by."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Add the column, the table of tombstones and the indexes."""
    op.add_column("agents", sa.Column("occurred_at", sa.BigInteger))
    op.create_table(
        "agent_tombstones",
        sa.Column("account", sa.String(64), primary_key=True),
        sa.Column("agent_id", sa.String(64), primary_key=True),
        sa.Column("occurred_at", sa.BigInteger, nullable=False),
        sa.Column("removed_at", sa.BigInteger, nullable=False),
    )
    op.create_index("agent_tombstones_by_age", "agent_tombstones", ["removed_at"])
    op.create_index("config_events_by_settled", "config_events", ["settled_at"])
