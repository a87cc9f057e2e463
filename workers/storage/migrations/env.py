"""What Alembic runs: our migrations, on the connection and in the transaction it is given."""

from alembic import context

import workers.storage.accounts.tables  # its tables belong to the metadata
import workers.storage.batches.tables
import workers.storage.secret_tables
import workers.storage.sessions.tables
import workers.storage.webhooks.tables  # noqa: F401  # the same
from workers.storage.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
    transactional_ddl=True,  # SQLite has it, too, once we begin the transaction ourselves
)
context.run_migrations()
