"""The page on talking from a browser: its two files, as they stand, hold a conversation."""

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

from tests.acceptance.browser import chromium
from tests.acceptance.model import Model
from tests.servers.system import System, clean_environment, running_system
from tests.servers.waiting import wait_for

PAGE = (Path(__file__).parents[2] / "docs" / "browser.md").read_text()
HANDS = """<script type="module">
const button = document.querySelector("button"), log = document.querySelector("pre");
const tell = async () => {
  const told = await fetch("REPORT", {method: "POST", body: log.textContent});
  if (await told.text() === "hang up" && !button.disabled) button.click();
};
setInterval(tell, 200);
button.click();
</script>"""


@pytest.fixture
def talking_system(model: Model) -> Iterator[System]:
    with running_system(
        EDGEWISE_MANAGED_LLM_BASE_URL=model.url,
        EDGEWISE_MANAGED_LLM_MODEL="scripted",
        EDGEWISE_MANAGED_LLM_API_KEY="the-operators-key",
        EDGEWISE_CORS_ORIGINS="*",
    ) as running:
        yield running


class Reporter:
    """Hears what the page shows, and says when to hang up."""

    def __init__(self) -> None:
        self.shown = ""
        self.order = ""
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/"

    @contextmanager
    def listening(self) -> Iterator[None]:
        thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._server.shutdown()
            self._server.server_close()
            thread.join(5)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        reporter = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                reporter.shown = self.rfile.read(int(self.headers["Content-Length"])).decode()
                self.send_response(200)
                self.send_header("Access-Control-Allow-Origin", "*")
                self.end_headers()
                self.wfile.write(reporter.order.encode())

            def log_message(self, *_: object) -> None:
                return

        return Handler


@contextmanager
def served(folder: Path, system: System, agent: str) -> Iterator[str]:
    """Run the page's own server on a free port and yield its address."""
    (program,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    environment = clean_environment(
        EDGEWISE_SERVER=system.url,
        EDGEWISE_API_KEY=system.api_key,
        AGENT=agent,
        PORT="0",
        PATH=os.environ["PATH"],
    )
    with subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as server:
        try:
            assert server.stdout is not None
            yield server.stdout.readline().strip()
        finally:
            server.kill()


def test_the_page_talks_shows_what_was_said_and_hangs_up(
    talking_system: System, model: Model, question: Path, tmp_path: Path
) -> None:
    system = talking_system
    model.says("The train leaves at seven.")
    (html,) = re.findall(r"```html\n(.*?)```", PAGE, re.DOTALL)
    reporter = Reporter()
    (tmp_path / "page.html").write_text(html + HANDS.replace("REPORT", reporter.url))
    with (
        reporter.listening(),
        served(tmp_path, system, system.agent()) as url,
        chromium(url, question),
    ):
        wait_for("the answer", lambda: "seven" in reporter.shown, within=80)
        reporter.order = "hang up"
        wait_for("the end", lambda: "The call is over." in reporter.shown, within=20)
        wait_for("the end on record", lambda: last_session(system)["status"] == "ended", within=20)

    assert re.search(r"^You: .*forward", reporter.shown, re.MULTILINE), reporter.shown
    assert "Agent: The train leaves at seven." in reporter.shown
    assert last_session(system)["reason"] == "client"


def last_session(system: System) -> dict[str, object]:
    answer = httpx.get(f"{system.url}/v1/sessions", headers=system.headers, timeout=10)
    sessions: list[dict[str, object]] = json.loads(answer.text)["sessions"]
    return sessions[0]
