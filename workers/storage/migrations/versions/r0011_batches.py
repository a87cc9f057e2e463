"""Batches, the rows of theirs that failed, and the events that belong to one."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    """Create the tables, and say on each event which row of which batch it is."""
    op.add_column("config_events", sa.Column("batch_id", sa.String(64)))
    op.add_column("config_events", sa.Column("line", sa.Integer))
    op.create_index("config_events_by_batch", "config_events", ["batch_id", "status", "line"])
    counts = ("total", "staged", "created", "updated", "unchanged", "deleted", "failed")
    op.create_table(
        "batches",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("account", sa.String(64), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("idempotency_key", sa.String(255)),
        sa.Column("body_hash", sa.String(64)),
        *(sa.Column(name, sa.Integer, nullable=False, server_default="0") for name in counts),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("finished_at", sa.BigInteger),
        sa.Column("due_at", sa.BigInteger, nullable=False),
    )
    op.create_index("batches_by_key", "batches", ["account", "idempotency_key"], unique=True)
    op.create_index("batches_by_due", "batches", ["status", "due_at"])
    op.create_table(
        "batch_errors",
        sa.Column("batch_id", sa.String(64), primary_key=True),
        sa.Column("line", sa.Integer, primary_key=True),
        sa.Column("code", sa.String(64), nullable=False),
        sa.Column("message", sa.Text, nullable=False),
        sa.Column("param", sa.Text),
    )
