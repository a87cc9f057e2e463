"""`edgewise export` that fails: the file from before is still there, and the reason in one line."""

import json
import stat
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from tests.integration.rest.test_apply_command import run_apart

OLD = "# the fleet of yesterday\n"
AGENT: dict[str, Any] = {"id": "agent_1", "external_id": "hall", "name": "Hall", "tools": []}
AGENT |= {"system_prompt": "b", "created_at": "", "updated_at": ""}


class _Handler(BaseHTTPRequestHandler):
    """Gives a page of agents, then what its server has as `second`; None hangs up."""

    def do_GET(self) -> None:
        query = parse_qs(urlsplit(self.path).query)
        last = {"agents": [], "has_more": False}
        first = {"agents": [AGENT], "has_more": True, "response_metadata": {"next_cursor": "2"}}
        second: tuple[int, Any] | None = self.server.second  # type: ignore[attr-defined]  # ours
        found = second if "cursor" in query else (200, first)
        if self.headers["Authorization"] != "Bearer right":
            found = (401, {"message": "that key is not known"})
        if found is None:
            self.close_connection = True
            return
        body = json.dumps(found[1] or last).encode()
        self.send_response(found[0])
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[ThreadingHTTPServer]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as server:
        server.second = (200, None)  # type: ignore[attr-defined]  # read by the handler
        thread = threading.Thread(target=server.serve_forever, name="two pages")
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def old(tmp_path: Path) -> Path:
    file = tmp_path / "fleet.yaml"
    file.write_text(OLD)
    return file


def export(
    server: ThreadingHTTPServer, folder: Path, *words: str, key: str = "right"
) -> "subprocess.CompletedProcess[str]":
    with httpx.Client(base_url=f"http://127.0.0.1:{server.server_port}") as client:
        return run_apart(client, folder, "export", *words, EDGEWISE_API_KEY=key)


def is_as_before(old: Path) -> bool:
    return [each.name for each in old.parent.iterdir()] == [old.name] and old.read_text() == OLD


def is_one_line(done: "subprocess.CompletedProcess[str]") -> bool:
    told = done.stderr.splitlines()
    return (done.returncode, len(told), told[0].startswith("edgewise: ")) == (1, 1, True)


def test_a_refused_connection_leaves_the_file(server: ThreadingHTTPServer, old: Path) -> None:
    server.socket.close()
    assert is_one_line(done := export(server, old.parent, "--out", old.name)), done.stderr
    assert is_as_before(old)


def test_a_wrong_key_leaves_the_file(server: ThreadingHTTPServer, old: Path) -> None:
    done = export(server, old.parent, "--out", old.name, key="wrong")
    assert is_one_line(done), done.stderr
    assert "401" in done.stderr
    assert is_as_before(old)


@pytest.mark.parametrize("form", ["yaml", "ndjson", "csv"])
@pytest.mark.parametrize("second", [None, (503, {"message": "later"})])
def test_a_server_that_goes_away_halfway_leaves_the_file(
    server: ThreadingHTTPServer, old: Path, form: str, second: tuple[int, Any] | None
) -> None:
    server.second = second  # type: ignore[attr-defined]  # read by the handler
    done = export(server, old.parent, "--format", form, "--out", old.name)
    assert is_one_line(done), done.stderr
    assert is_as_before(old)


def test_a_whole_export_takes_the_place_of_the_file_its_mode_and_its_link(
    server: ThreadingHTTPServer, old: Path
) -> None:
    old.chmod(0o640)
    link = old.with_name("link.yaml")
    link.symlink_to(old)
    done = export(server, old.parent, "--out", link.name)
    assert done.returncode == 0, done.stderr
    assert (link.is_symlink(), stat.S_IMODE(old.stat().st_mode)) == (True, 0o640)
    assert "external_id: hall" in old.read_text()
    assert {each.name for each in old.parent.iterdir()} == {old.name, link.name}


def test_where_no_file_can_be_is_said_in_one_line(
    server: ThreadingHTTPServer, tmp_path: Path
) -> None:
    for place, why in (("none/x.yaml", "No such file or directory"), (".", "is a folder")):
        done = export(server, tmp_path, "--out", place)
        assert is_one_line(done), done.stderr
        assert why in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_plain_file_is_written_to(server: ThreadingHTTPServer, tmp_path: Path) -> None:
    done = export(server, tmp_path, "--out", "/dev/stdout")
    assert (done.returncode, "external_id: hall" in done.stdout) == (0, True), done.stderr
    assert Path("/dev/stdout").exists()


def test_nothing_is_on_standard_output_before_the_server_has_answered(
    server: ThreadingHTTPServer, tmp_path: Path
) -> None:
    done = export(server, tmp_path, key="wrong")
    assert is_one_line(done), done.stderr
    assert done.stdout == ""
