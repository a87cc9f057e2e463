"""The preview of a long file: few requests, few rows in memory, in the file's order."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from workers.batch_files.rows import RawRow, bad_row
from workers.commands.apply_preview import preview
from workers.commands.stored_agents import AT_ONCE, LOT, PAGE, QUERY_BYTES

FLEET = 10_000
PROVISO = "not https on port 443 of a public host, so it fails unless"
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


class Holder(Gateway):
    """Answers with one agent, `held`, that has a model and a tool of its own."""

    def _record(self, name: str) -> dict[str, Any]:
        http = {"url": "http://10.0.0.1/call", "http_method": "POST", "headers": []}
        tool = {"type": "function", "name": "t", "description": "", "parameters": {}, "http": http}
        stored = {"llm": [{"base_url": "https://8.8.8.8/v1", "model": "m"}], "tools": [tool]}
        return super()._record(name) | stored


def entry(base_url: str = "https://8.8.8.8/v1", **fields: str) -> dict[str, Any]:
    return {"llm": [{"base_url": base_url, "model": "m", **fields}]}


def tool(url: str, **fields: Any) -> dict[str, Any]:
    return {"tools": [{"name": "t", "description": "d", "http": {"url": url}, **fields}]}


@pytest.mark.parametrize(
    ("name", "fields", "param", "said"),
    [
        ("new0", entry(), "llm.0.api_key", "no stored key"),
        ("held", entry("https://8.8.4.4/v1"), "llm.0.api_key", "no stored key"),
        ("held", entry("https://u@8.8.8.8/v1", api_key="k"), "llm.0.base_url", "no plain host"),
        ("held", entry("https://169.254.169.254/", api_key="k"), "llm.0.base_url", "not public"),
        ("held", tool("ftp://8.8.8.8/"), "tools.0.http.url", "begin with https"),
        (
            "held",
            tool("https://8.8.8.8/", parameters={"type": "array"}),
            "tools.0.parameters",
            "object",
        ),
    ],
)
def test_what_is_sure_to_be_refused_is_told_beforehand(
    name: str, fields: dict[str, Any], param: str, said: str
) -> None:
    (error,) = preview(
        Holder().client, iter([RawRow(7, {"external_id": name, **FIELDS, **fields})])
    )
    assert (error.line, error.param) == (7, param)
    assert said in error.message


@pytest.mark.parametrize(
    ("name", "fields", "told"),
    [
        (
            "new0",
            entry("http://127.0.0.1:1/v1", api_key="k"),
            [
                "+ new0",
                f"    llm.0.base_url: {PROVISO} EDGEWISE_LLM_ALLOW of the gateway allows it",
                "= 0 unchanged",
            ],
        ),
        (
            "new0",
            tool("http://8.8.8.8/"),
            [
                "+ new0",
                f"    tools.0.http.url: {PROVISO} EDGEWISE_TOOLS_ALLOW of the gateway allows it",
                "= 0 unchanged",
            ],
        ),
    ],
)
def test_what_hangs_on_the_operator_is_said_of_new_urls_and_is_no_error(
    name: str, fields: dict[str, Any], told: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    row = RawRow(1, {"external_id": name, **FIELDS, **fields})
    assert preview(Holder().client, iter([row])) == []
    assert capsys.readouterr().out.splitlines() == told


@pytest.mark.parametrize(
    "fields", [tool("http://10.0.0.1/call"), entry("HTTPS://8.8.8.8:443/v1/")], ids=["tool", "llm"]
)
def test_a_url_that_is_stored_hangs_on_nobody_however_it_is_spelt(
    fields: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    row = RawRow(1, {"external_id": "held", **FIELDS, **fields})
    assert preview(Holder().client, iter([row])) == []
    told = capsys.readouterr().out
    assert "ALLOW" not in told
    assert "url" not in told
