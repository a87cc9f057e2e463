"""A PostgreSQL of the test run's own: a cluster in a temporary folder, on a Unix socket."""

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg

from tests.servers.waiting import wait_for

OWNER = "edgewise"


@dataclass
class Postgres:
    """A running cluster; each call of `new_database` gives an empty database."""

    folder: Path
    _process: "subprocess.Popen[bytes] | None" = None
    _count: int = 0

    def start(self) -> None:
        """Start the cluster, as often as it takes.

        After a kill it refuses to start until the last backend has noticed and gone.
        """
        wait_for("PostgreSQL answers", self._runs, within=20)

    def _runs(self) -> bool:
        if self._process is None or self._process.poll() is not None:
            self._launch()
        return self._answers()

    def _launch(self) -> None:
        command = [str(binary("postgres")), "-D", str(self.folder / "data")]
        command += ["-k", str(self.folder), "-c", "listen_addresses=", "-c", "fsync=off"]
        with (self.folder / "postgres.log").open("ab") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, user=ordinary_user()
            )

    def stop(self, number: signal.Signals = signal.SIGINT) -> None:
        """Stop the cluster; its clients are cut off."""
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(20)
            self._process = None

    def new_database(self) -> str:
        """Make a database and return its SQLAlchemy URL."""
        self._count += 1
        name = f"test{self._count}"
        with self._connect() as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return f"postgresql+psycopg://{OWNER}@/{name}?host={self.folder}"

    def _connect(self) -> "psycopg.Connection[tuple[object, ...]]":
        return psycopg.connect(
            host=str(self.folder), user=OWNER, dbname="postgres", autocommit=True
        )

    def _answers(self) -> bool:
        with contextlib.suppress(psycopg.OperationalError), self._connect():
            return True
        return False


@contextlib.contextmanager
def running_postgres() -> Iterator[Postgres]:
    """Make a cluster and run it; its log is in its folder."""
    folder = Path(tempfile.mkdtemp(prefix="edgewise-pg-"))
    try:
        user = ordinary_user()
        if user is not None:
            os.chown(folder, pwd.getpwnam(user).pw_uid, -1)
        command = [str(binary("initdb")), "-D", str(folder / "data"), "-U", OWNER, "-A", "trust"]
        command += ["--no-sync", "--encoding=UTF8", "--locale=C"]
        subprocess.run(command, check=True, capture_output=True, cwd=folder, user=user)
        server = Postgres(folder)
        server.start()
        try:
            yield server
        finally:
            server.stop(signal.SIGQUIT)  # at once: nothing of it is kept
    finally:
        shutil.rmtree(folder)


def ordinary_user() -> str | None:
    """Return who runs PostgreSQL, which refuses to run as root; None stands for who we are."""
    if os.geteuid() != 0:
        return None
    names = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"


def binary(name: str) -> Path:
    """Return a program of PostgreSQL, on PATH or where Debian puts it."""
    on_path = shutil.which(name)
    if on_path:
        return Path(on_path).resolve()
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    if not found:
        raise AssertionError(f"there is no {name}: install Debian's `postgresql`")
    return found[-1]
