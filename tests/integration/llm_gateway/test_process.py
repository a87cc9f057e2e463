"""The LLM gateway as a process: it listens, streams and stops."""

import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.servers.parts import Part, client_of, running_part
from tests.servers.waiting import wait_for
from workers.settings import Settings

ASKED = {
    "model": "edgewise-offline",
    "messages": [{"role": "user", "content": "repeat after me one two three"}],
    "stream": True,
}


@pytest.fixture
def alone(tmp_path: Path) -> Settings:
    """Settings without a Redis: this process needs none."""
    return Settings(_env_file=None, home=tmp_path / "home")


@pytest.fixture
def running(alone: Settings) -> Iterator[tuple[Part, httpx.Client]]:
    with (
        running_part(alone, "llm-gateway") as part,
        client_of(alone, part, "llm-gateway") as client,
    ):
        yield part, client


def test_it_streams_an_answer(running: tuple[Part, httpx.Client]) -> None:
    _, client = running
    with client.stream("POST", "/v1/chat/completions", json=ASKED) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert "content-encoding" not in answer.headers
        lines = [line for line in answer.iter_lines() if line]
    assert lines[-1] == "data: [DONE]"
    assert len(lines) == 6


def test_a_caller_who_hangs_up_disturbs_nobody(running: tuple[Part, httpx.Client]) -> None:
    part, client = running
    long = {**ASKED, "messages": [{"role": "user", "content": "repeat after me " + "a " * 480}]}
    for _ in range(20):
        with client.stream("POST", "/v1/chat/completions", json=long) as answer:
            next(answer.iter_raw())
    assert client.get("/v1/models").status_code == 200
    assert not part.logged("crashed")


def test_a_head_without_end_is_cut_off(running: tuple[Part, httpx.Client]) -> None:
    _, client = running
    place = client.base_url
    with socket.create_connection((place.host, place.port or 0), timeout=5) as caller:
        caller.sendall(b"GET / HTTP/1.1\r\nHost: here\r\n")
        more = (b"X-More: " + b"x" * 60_000 + b"\r\n") * 1_000
        with pytest.raises(ConnectionError):
            caller.sendall(more)
    assert client.get("/healthz").status_code == 200


def test_it_keeps_what_was_said_out_of_its_log(running: tuple[Part, httpx.Client]) -> None:
    part, client = running
    client.post("/v1/chat/completions", json={**ASKED, "stream": False}).raise_for_status()
    wait_for("the call is logged", lambda: part.logged("/v1/chat/completions"))
    assert not part.logged("repeat after me")
    assert not part.logged("test-key-0123456789")


def test_it_stops_at_once_and_takes_its_announcement_along(
    alone: Settings, running: tuple[Part, httpx.Client]
) -> None:
    part, client = running
    assert client.get("/healthz").json() == {"status": "ok"}
    began = time.monotonic()
    part.stop(signal.SIGTERM)
    assert time.monotonic() - began < 10
    assert part.process.returncode == 0
    assert not (alone.home_path / "run" / "llm-gateway.json").exists()
