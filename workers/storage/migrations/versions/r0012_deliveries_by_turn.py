"""Messages to endpoints are found endpoint by endpoint."""

from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    """Put the index of what is due in the order in which it is asked for."""
    columns = ["status", "endpoint_id", "due_at"]
    op.create_index("webhook_deliveries_by_turn", "webhook_deliveries", columns)
    op.drop_index("webhook_deliveries_by_due", "webhook_deliveries")
