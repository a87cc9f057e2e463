"""`edgewise up` that cannot start: which setting is to be mended, in plain words and soon."""

import subprocess
from pathlib import Path

import pytest
import typer

from tests.integration.operate.conftest import COMMAND, clean_environment
from workers.commands.console import plain_errors
from workers.errors import DatabaseUnavailableError


def refused(folder: Path, **settings: str) -> str:
    done = subprocess.run(
        [*COMMAND, "up", "--json"],
        env=clean_environment(home=str(folder / "home"), port="0", **settings),
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert "Traceback" not in done.stderr
    return done.stderr


def test_certificate_authorities_that_are_not_there_are_said(tmp_path: Path) -> None:
    told = refused(tmp_path, ca_file=str(tmp_path / "none.pem"))
    assert "EDGEWISE_CA_FILE: " in told


@pytest.mark.parametrize(
    ("setting", "url"),
    [
        ("redis_url", "redis://:hidden@127.0.0.1:1/0"),
        ("redis_url", "nonsense://hidden"),
        ("database_url", "postgresql+psycopg://me:hidden@127.0.0.1:1/none"),
        ("database_url", "hidden"),
        ("database_url", "mysql://hidden"),
    ],
)
def test_a_store_that_does_not_answer_is_said_before_anything_starts(
    tmp_path: Path, setting: str, url: str
) -> None:
    (told,) = refused(tmp_path, **{setting: url}).splitlines()
    assert f"EDGEWISE_{setting.upper()}" in told
    assert "hidden" not in told
    assert list((tmp_path / "home" / "logs").iterdir()) == []


def test_a_database_that_is_away_is_said_by_every_command(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(typer.Exit), plain_errors():
        raise DatabaseUnavailableError("the database: OperationalError")
    assert "mend EDGEWISE_DATABASE_URL; `edgewise doctor`" in capsys.readouterr().err
