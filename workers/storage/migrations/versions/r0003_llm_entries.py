"""LLM entries with their encrypted keys; sealed values of events that wait to be applied."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Create the tables of entries and of key ids, and the column for sealed values."""
    op.create_table(
        "llm_entries",
        sa.Column("agent_id", sa.String(64), primary_key=True),
        sa.Column("entry", sa.Integer, primary_key=True),
        sa.Column("account", sa.String(64), nullable=False),
        sa.Column("base_url", sa.Text, nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("key_id", sa.String(16), nullable=False),
        sa.Column("api_key", sa.LargeBinary, nullable=False),
    )
    op.create_index("llm_entries_by_key", "llm_entries", ["key_id", "agent_id", "entry"])
    op.create_table(
        "secret_keys",
        sa.Column("id", sa.String(16), primary_key=True),
        sa.Column("is_current", sa.Boolean, nullable=False),
        sa.Column("known_since", sa.BigInteger, nullable=False),
    )
    op.add_column("config_events", sa.Column("sealed", sa.Text))
    op.create_index(
        "config_events_by_agent", "config_events", ["agent_id", "status", "accepted_at"]
    )
