"""Headers of HTTP tools with their encrypted values."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "tool_headers",
        sa.Column("agent_id", sa.String(64), primary_key=True),
        sa.Column("entry", sa.Integer, primary_key=True),
        sa.Column("account", sa.String(64), nullable=False),
        sa.Column("tool", sa.String(64), nullable=False),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("url", sa.Text, nullable=False),
        sa.Column("key_id", sa.String(16), nullable=False),
        sa.Column("value", sa.LargeBinary, nullable=False),
    )
    op.create_index("tool_headers_by_key", "tool_headers", ["key_id", "agent_id", "entry"])
