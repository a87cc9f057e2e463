"""When an LLM entry is probed, by whom, and what was found."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Add the columns; entries that are there already are due at once."""
    op.add_column(
        "llm_entries",
        sa.Column("probe_due_at", sa.BigInteger, nullable=False, server_default="0"),
    )
    op.add_column("llm_entries", sa.Column("probe_lease", sa.String(32)))
    op.add_column("llm_entries", sa.Column("probe_result", sa.Text))
    op.create_index("llm_entries_by_probe", "llm_entries", ["probe_due_at"])
