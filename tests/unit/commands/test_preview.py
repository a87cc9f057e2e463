"""The preview of a long file: few requests, few rows in memory, in the file's order."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from workers.batch_files.rows import RawRow, bad_row
from workers.commands.apply_preview import preview
from workers.commands.stored_agents import AT_ONCE, LOT, PAGE, QUERY_BYTES

FLEET = 10_000
FIELDS = {"name": "Room", "system_prompt": "You answer.", "voice": {"voice_id": "ivy"}}


class Gateway:
    """Answers for agents room-0, room-1 and so on; every tenth is not there."""

    def __init__(self) -> None:
        self.requests: list[httpx.Request] = []
        self.client = httpx.Client(
            transport=httpx.MockTransport(self._answer), base_url="http://gateway"
        )

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        assert request.url.path == "/v1/agents"
        assert request.url.params["full"] == "true"
        names = request.url.params.get_list("external_id")
        assert len(names) <= PAGE
        agents = [self._record(name) for name in names if not name.endswith("0")]
        return httpx.Response(200, json={"agents": agents, "has_more": False})

    def _record(self, name: str) -> dict[str, Any]:
        return {"id": "agent_1", "external_id": name, "greeting": None, **FIELDS}


def rows(count: int, name: str = "room-{}") -> Iterator[RawRow]:
    for number in range(count):
        yield RawRow(number + 1, {"external_id": name.format(number), **FIELDS, "name": "Hall"})


def test_a_fleet_is_compared_by_pages_and_a_few_hundred_rows_at_a_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gateway, told, shown, read, ahead = Gateway(), list[str](), 0, 0, 0

    def say(line: str) -> None:
        nonlocal shown
        told.append(line)
        shown += line[0] in "+~"

    def counted() -> Iterator[RawRow]:
        nonlocal read, ahead
        for row in rows(FLEET):
            read += 1
            ahead = max(ahead, read - shown)
            yield row

    monkeypatch.setattr("workers.commands.counting.typer.echo", say)
    assert preview(gateway.client, counted()) == []
    assert len(gateway.requests) == FLEET // PAGE
    assert ahead <= (AT_ONCE + 2) * PAGE
    names = [line[2:] for line in told if line[0] in "+~"]
    assert names == [f"room-{number}" for number in range(FLEET)]
    assert sum(line[0] == "+" for line in told) == FLEET // 10
    assert told[-1] == "= 0 unchanged"


def test_long_names_and_rows_that_fail_make_no_request_too_long() -> None:
    gateway = Gateway()
    long = "ü" * 240 + "-{}1"
    assert preview(gateway.client, rows(40, long)) == []
    assert len(gateway.requests) > 1
    assert max(len(bytes(each.url.raw_path)) for each in gateway.requests) < QUERY_BYTES + 200
    gateway.requests.clear()
    failing = (bad_row(number, "wrong") for number in range(1, 3 * LOT))
    assert len(preview(gateway.client, failing)) == 3 * LOT - 1
    assert gateway.requests == []
