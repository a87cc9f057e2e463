"""Migrations: at once, broken off, killed, and of a newer release; on both databases."""

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Engine

from tests.servers.parts import configure, environment
from tests.servers.postgres import Postgres
from tests.servers.system import command
from workers.settings import Settings
from workers.storage import database
from workers.storage.database import open_engine, reading, writing
from workers.storage.tables import metadata
from workers.storage.upgrade import is_newest, upgrade_engine


def test_several_processes_migrate_at_once(stored: Settings) -> None:
    code = (
        "from workers.settings import Settings\n"
        "from workers.storage.upgrade import upgrade\n"
        "upgrade(Settings())"
    )
    processes = [
        subprocess.Popen([sys.executable, "-c", code], env=environment(stored), stderr=-1)
        for _ in range(4)
    ]
    results = [(process.communicate(timeout=60)[1], process.returncode) for process in processes]
    assert [code for _, code in results] == [0] * 4, results
    engine = open_engine(stored)
    assert is_newest(engine)
    engine.dispose()


def test_the_migrations_make_the_tables_that_the_code_knows(engine: Engine) -> None:
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []


def test_a_migration_that_breaks_off_leaves_nothing_behind(
    stored: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    from alembic import op

    def cut_short(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    engine = open_engine(stored)
    with monkeypatch.context() as patch:
        patch.setattr(op, "create_index", cut_short)
        with pytest.raises(KeyboardInterrupt):
            upgrade_engine(engine)
    assert sa.inspect(engine).get_table_names() == []
    upgrade_engine(engine)
    assert is_newest(engine)
    engine.dispose()


HELD = """
import threading
from alembic import op
from workers.settings import Settings
from workers.storage.upgrade import upgrade

def hold(*_, **__):
    print("tables are made, indexes are not", flush=True)
    threading.Event().wait()

op.create_index = hold
upgrade(Settings())
"""


def test_a_migration_that_is_killed_leaves_nothing_behind_and_is_done_by_the_next(
    stored: Settings,
) -> None:
    killed = subprocess.Popen(
        [sys.executable, "-c", HELD], env=environment(stored), stdout=subprocess.PIPE
    )
    with killed:
        assert killed.stdout is not None
        assert killed.stdout.readline() == b"tables are made, indexes are not\n"
        killed.kill()
    engine = open_engine(stored)
    assert sa.inspect(engine).get_table_names() == []
    again = subprocess.run(
        [command("edgewise"), "db", "upgrade"], env=environment(stored), timeout=60, check=False
    )
    assert again.returncode == 0
    assert is_newest(engine)
    engine.dispose()


def test_on_postgresql_a_migration_takes_what_it_takes_and_others_wait_for_it(
    settings: Settings, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    from alembic import op

    hasty = {"options": "-c statement_timeout=200 -c lock_timeout=100"}
    monkeypatch.setattr(database, "_POSTGRES_CONNECT", hasty)
    engine = open_engine(configure(settings, database_url=postgres.new_database()))
    began = threading.Event()
    create_index = op.create_index

    def slow(*words: object, **options: object) -> None:
        if not began.is_set():
            began.set()
            op.get_bind().execute(sa.text("SELECT pg_sleep(0.6)"))
            locks = op.get_bind().execute(sa.text("SHOW lock_timeout")).scalar()
            assert locks == "100ms"
        create_index(*words, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(op, "create_index", slow)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(upgrade_engine, engine)
        assert began.wait(20)
        second = pool.submit(upgrade_engine, engine)
        first.result()
        second.result()
    assert is_newest(engine)
    with reading(engine) as connection:  # the deadlines of requests are in force again
        assert connection.execute(sa.text("SHOW statement_timeout")).scalar() == "200ms"
    engine.dispose()


def test_a_database_of_a_newer_release_is_left_alone_and_said_in_plain_words(
    stored: Settings, engine: Engine
) -> None:
    with writing(engine) as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    done = subprocess.run(
        [command("edgewise"), "db", "upgrade"],
        env=environment(stored),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    (said,) = done.stderr.splitlines()
    assert "a newer release (to 9999;" in said
    assert "run that release, or restore the backup" in said
    assert not is_newest(engine)
