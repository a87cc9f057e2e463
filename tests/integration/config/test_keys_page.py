"""The page on keys: its commands are run here as they stand, and do what the page says."""

import re
import shutil
import stat
import subprocess
from pathlib import Path

from sqlalchemy import Engine

from tests.integration.config.keys import NOW
from tests.integration.config.stored_secrets import counts, fill, opens, reader
from tests.servers.parts import configure
from tests.servers.system import clean_environment, command
from workers.agent_config.vault import Vault
from workers.secrets.key_files import keys_folder
from workers.secrets.key_ring import key_files
from workers.settings import Settings
from workers.storage.database import open_engine, writing
from workers.storage.upgrade import upgrade_engine
from workers.supervision.home import open_home, read_or_make_key

PAGE = (Path(__file__).parents[3] / "docs" / "keys.md").read_text()


def commands(title: str) -> str:
    """The shell commands of a section."""
    section = PAGE.split(f"\n## {title}\n")[1].split("\n## ")[0]
    return "\n".join(re.findall(r"```sh\n(.*?)```", section, re.DOTALL))


def follow(title: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    """Do what a section says, as a user whose home directory is `folder`."""
    path = f"{Path(command('edgewise')).parent}:/usr/local/bin:/usr/bin:/bin"
    return subprocess.run(
        ["bash", "-euc", f"umask 022\n{commands(title)}"],
        env=clean_environment(HOME=str(folder), PATH=path),
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def opened(settings: Settings) -> Engine:
    engine = open_engine(settings)
    upgrade_engine(engine)
    return engine


def test_an_operator_backs_up_loses_everything_restores_and_rotates(
    settings: Settings, tmp_path: Path
) -> None:
    mine = configure(settings, home=tmp_path / ".edgewise", database_url=None)
    first = follow("How a model key is kept", tmp_path)
    assert first.returncode == 0, first.stderr
    assert stat.S_IMODE(mine.home_path.stat().st_mode) == 0o700
    home = open_home(mine.home_path)  # as `up` does
    api_key = read_or_make_key(home)
    folder = keys_folder(mine.home_path)
    engine = opened(mine)
    agents = fill(engine, Vault(folder, {}), 3)

    saved = follow("Back up", tmp_path)  # while it is in use
    assert saved.returncode == 0, saved.stderr
    engine.dispose()
    shutil.rmtree(folder)
    home.key_file.unlink()
    (mine.home_path / "edgewise.db").write_bytes(b"")

    restored = follow("Restore", tmp_path)
    assert restored.returncode == 0, restored.stderr
    assert "LOST" not in restored.stdout
    assert read_or_make_key(home) == api_key
    engine = opened(mine)
    assert all(opens(engine, reader(mine), agent_id) for agent_id in agents)

    rotated = follow("Rotate", tmp_path)
    assert rotated.returncode == 0, rotated.stderr
    assert list(counts(engine).values()) == [6]
    assert len(key_files(folder)) == 2

    for file in key_files(folder):
        file.unlink()
    went_on = follow("When a key is lost or wrong", tmp_path)
    assert went_on.returncode == 0, went_on.stderr
    with writing(engine) as connection:
        Vault(folder, {}).key_to_write_under(connection, NOW)
    assert sum(counts(engine).values()) == 6
    engine.dispose()
