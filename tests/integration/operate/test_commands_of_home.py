"""Commands that talk to a gateway find the one of their home, or say what is to be done."""

import subprocess
from collections.abc import Callable
from pathlib import Path

from tests.integration.operate.conftest import COMMAND, RunningUp, clean_environment


def run(home: Path, *words: str, **more: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [*COMMAND, *words],
        env=clean_environment(home=str(home)) | more,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_gateway_and_the_key_of_the_home_are_found(start_up: Callable[..., RunningUp]) -> None:
    home = start_up().home
    done = run(home, "export")
    assert (done.returncode, done.stderr) == (0, "0 agents\n")
    done = run(home, "webhooks", "endpoints")
    assert (done.returncode, done.stderr) == (0, "")


def test_what_is_given_wins_over_the_home_and_a_gateway_that_is_away_is_said(
    tmp_path: Path,
) -> None:
    run_folder = tmp_path / "run"
    run_folder.mkdir()
    (run_folder / "gateway.json").write_text('{"url": "http://127.0.0.1:1", "pid": 1}')
    key = {"EDGEWISE_API_KEY": "k" * 16}
    for words, more, url in (
        ((), {}, "http://127.0.0.1:1"),
        ((), {"EDGEWISE_SERVER": "http://127.0.0.1:2"}, "http://127.0.0.1:2"),
        (("--server", "http://127.0.0.1:3"), {}, "http://127.0.0.1:3"),
    ):
        done = run(tmp_path, "export", *words, **key, **more)
        assert done.returncode == 1
        assert done.stderr.startswith(f"edgewise: no answer from {url} (ConnectError: ")
        assert "is the server running (`edgewise up`), and is --server right?" in done.stderr
    done = run(tmp_path, "export", "--server", "127.0.0.1:8300", **key)
    assert "is not a usable address" in done.stderr
