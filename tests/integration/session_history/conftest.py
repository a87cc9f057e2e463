"""An empty, migrated database, on SQLite and on PostgreSQL in turn."""

from tests.integration.config.conftest import engine, postgres, stored

__all__ = ["engine", "postgres", "stored"]
