"""Why an event was rejected, as its caller is told: a code and a field beside the message."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    """Add the columns; of events that were rejected before, only the message is known."""
    op.add_column("config_events", sa.Column("code", sa.String(64)))
    op.add_column("config_events", sa.Column("param", sa.Text))
