import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from workers.errors import ConfigurationError
from workers.supervision.home import hold, open_home, read_or_make_key


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_home_and_its_key_are_closed_to_other_users(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        home = open_home(tmp_path / "a" / "home")
        key = read_or_make_key(home)
    finally:
        os.umask(before)
    assert mode(home.path) == mode(home.run) == mode(home.logs) == mode(home.redis) == 0o700
    assert mode(home.key_file) == 0o600
    assert len(key) >= 32


def test_a_key_is_made_once(tmp_path: Path) -> None:
    home = open_home(tmp_path / "home")
    key = read_or_make_key(home)
    home.key_file.chmod(0o644)
    assert read_or_make_key(home) == key
    assert mode(home.key_file) == 0o600


def test_a_key_file_without_a_key_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    home = open_home(tmp_path / "home")
    home.key_file.write_text("\n")
    with pytest.raises(ConfigurationError, match="remove it"):
        read_or_make_key(home)


def test_an_open_folder_with_other_things_in_it_is_left_alone(tmp_path: Path) -> None:
    folder = tmp_path / "project"
    folder.mkdir()
    folder.chmod(0o755)
    (folder / "thesis.tex").touch()
    with pytest.raises(ConfigurationError, match="EDGEWISE_HOME"):
        open_home(folder)
    assert mode(folder) == 0o755


def test_an_open_folder_that_is_empty_or_a_home_is_closed(tmp_path: Path) -> None:
    home = open_home(tmp_path / "home")
    home.path.chmod(0o755)
    assert mode(open_home(home.path).path) == 0o700


def test_a_home_that_cannot_be_written_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match="EDGEWISE_HOME"):
        open_home(tmp_path / "file" / "home")


def test_a_home_is_held_by_one_process_at_a_time(tmp_path: Path) -> None:
    home = open_home(tmp_path / "home")
    with (
        hold(home),
        pytest.raises(ConfigurationError, match=f"process {os.getpid()}"),
        hold(home),
    ):
        pass
    with hold(home):
        pass


HOLDS_AND_DIES = """
import os, pathlib, subprocess, sys
from workers.supervision.home import Home, hold
with hold(Home(pathlib.Path(sys.argv[1]))) as lock:
    subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], pass_fds=[lock])
    os._exit(9)
"""


def test_what_a_killed_holder_left_behind_is_waited_for(tmp_path: Path) -> None:
    home = open_home(tmp_path / "home")
    command = [sys.executable, "-c", HOLDS_AND_DIES, str(home.path)]
    holder = subprocess.Popen(command, stdin=subprocess.PIPE)
    assert holder.wait(20) == 9
    assert holder.stdin is not None
    held = threading.Event()

    def take() -> None:
        with hold(home):
            held.set()

    taker = threading.Thread(target=take)
    taker.start()
    assert not held.wait(0.3)
    holder.stdin.close()
    assert held.wait(5)
    taker.join()
