"""Bring the database to the newest form: run by every process that starts, harmless twice."""

from functools import cache

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, inspect, text

from workers.errors import ConfigurationError
from workers.settings import Settings
from workers.storage.database import open_engine, reading, writing

_LOCK = 0x65646765
"""Names the advisory lock of PostgreSQL under which one process migrates ("edge" in ASCII)."""


def upgrade(settings: Settings) -> None:
    """Run the migrations that are missing; raises StorageUnavailableError.

    All of them are one transaction behind one lock: several processes may start at once, and
    one that is killed half-way leaves nothing behind. Raises ConfigurationError where a newer
    release has been at the database.
    """
    engine = open_engine(settings)
    try:
        upgrade_engine(engine)
    finally:
        engine.dispose()


def upgrade_engine(engine: Engine) -> None:
    """As `upgrade`, on an engine that is open already."""
    if is_newest(engine):
        return
    with writing(engine) as connection:
        if connection.dialect.name == "postgresql":
            _wait_for_other_processes(connection)
        _refuse_what_is_newer(connection)
        config = _config()
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def is_newest(engine: Engine) -> bool:
    """Tell whether every migration has run; raises StorageUnavailableError."""
    with reading(engine) as connection:
        return _revision(connection) == _newest()


def _wait_for_other_processes(connection: Connection) -> None:
    """Take the lock under which one process migrates, and let statements take what they take.

    The deadlines of an engine are those of a request: an index over a large table takes longer,
    and so does the process that makes it. For the lock of a table the deadline stays in force,
    because everybody else queues behind one who waits for it, say while a backup runs.
    """
    connection.execute(text("SET LOCAL statement_timeout = 0"))
    connection.execute(text("SET LOCAL lock_timeout = 0"))
    connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
    connection.execute(text("SET LOCAL lock_timeout TO DEFAULT"))


def _refuse_what_is_newer(connection: Connection) -> None:
    revision = _revision(connection)
    if revision is not None and revision not in _known():
        raise ConfigurationError(
            f"the database was upgraded by a newer release (to {revision}; this one knows "
            f"{_newest()}): run that release, or restore the backup from before the upgrade"
        )


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()


@cache
def _newest() -> str | None:
    return ScriptDirectory.from_config(_config()).get_current_head()


@cache
def _known() -> frozenset[str]:
    return frozenset(
        script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()
    )


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", "workers.storage:migrations")
    return config
