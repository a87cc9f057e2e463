"""Since when an event rests for the reason that it names: it waits for names only so long."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    """Add the column; for what rests already, the time counts from its next rest."""
    op.add_column("config_events", sa.Column("rests_since", sa.BigInteger))
