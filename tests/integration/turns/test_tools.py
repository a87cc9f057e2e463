"""Tools in whole turns: a worker process, a scripted model, a tool's server, the real Redis."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import pytest_asyncio
from pydantic import SecretStr

from schemas.agent import Agent
from schemas.tool import HttpToolView, ToolHeaderView, ToolView
from schemas.turn import Asked, Cancel, ToolAsked, ToolResult
from tests.integration.turns.conftest import (
    CalledTurn,
    Gateway,
    StartWorker,
    opus,
    recording,
    store_agent,
)
from tests.servers.calling_model import CallingModel
from tests.servers.planted import found_in, planted
from tests.servers.tool_server import ToolServer
from workers.secrets.envelope import encrypt
from workers.secrets.key_files import keys_folder
from workers.secrets.key_ring import read_key_ring
from workers.secrets.make_keys import make_missing_keys
from workers.secrets.places import header_place
from workers.settings import Settings
from workers.storage.agents.tool_rows import StoredHeader, replace_headers
from workers.storage.database import open_engine, writing
from workers.storage.sessions.conversation import Exchange

pytestmark = pytest.mark.asyncio(loop_scope="module")

BERN = '{"city": "Bern"}'
CITY = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def tools() -> AsyncIterator[ToolServer]:
    async with ToolServer() as server:
        yield server


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def model() -> AsyncIterator[CallingModel]:
    async with CallingModel() as server:
        yield server


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def agent(worker_settings: Settings, tools: ToolServer) -> Agent:
    def http(name: str, path: str, method: str = "POST", **more: Any) -> ToolView:
        http = HttpToolView(
            url=tools.url(path), http_method=method, headers=more.get("headers", ())
        )
        return ToolView(
            name=name, description="A tool.", parameters=more.get("parameters", {}), http=http
        )

    views = (
        http("weather", "/ok", parameters=CITY, headers=(ToolHeaderView(name="Authorization"),)),
        http("order", "/held"),
        http("slow", "/slow"),
        http("broken", "/500", "GET"),
        ToolView(name="lights", description="Of the client.", timeout_seconds=2),
    )
    agent = await asyncio.to_thread(store_agent, worker_settings, views)
    await asyncio.to_thread(_store_header, worker_settings, agent.id, tools.url("/ok"))
    return agent


def _store_header(settings: Settings, agent_id: str, url: str) -> None:
    folder = keys_folder(settings.home_path)
    make_missing_keys(folder, {})
    key = read_key_ring(folder, {}).newest
    place = header_place("default", agent_id, 0, ("weather", url), "Authorization")
    header = StoredHeader(
        agent_id=agent_id,
        entry=0,
        account="default",
        tool="weather",
        name="Authorization",
        url=url,
        key_id=key.id,
        value=encrypt(key, SecretStr(planted("header")), place),
    )
    engine = open_engine(settings)
    with writing(engine) as connection:
        replace_headers(connection, [agent_id], [header])
    engine.dispose()


@pytest_asyncio.fixture(loop_scope="module")
async def calling(
    gateway: Gateway, agent: Agent, tools: ToolServer, model: CallingModel
) -> Gateway:
    model.requests.clear()
    tools.requests.clear()
    tools.go.clear()
    return Gateway(gateway.celery, gateway.streams, gateway.history, agent)


@pytest.fixture(scope="module")
def worker(start_worker: StartWorker, tools: ToolServer) -> Iterator[None]:
    with start(start_worker, tools):
        yield


def start(start_worker: StartWorker, tools: ToolServer) -> Any:
    return start_worker(
        EDGEWISE_TOOLS_ALLOW=f"127.0.0.1:{tools.port}", EDGEWISE_STT_ENGINE="scripted"
    )


async def say(turn: CalledTurn) -> None:
    await turn.publish()
    await turn.speak(opus(recording("cards/003.wav")), pace=0)
    await turn.finish(silence_s=0)


async def test_after_a_killed_worker_no_effect_happens_twice_and_the_client_is_not_lost(
    start_worker: StartWorker, calling: Gateway, tools: ToolServer, model: CallingModel
) -> None:
    model.say = "I do not know whether it went through."
    hall = '{"room": "hall"}'
    model.calls = [("weather", BERN), ("order", "{}"), ("lights", hall), ("lights", "{}")]
    turn = calling.new_turn()
    with start(start_worker, tools) as worker:
        await say(turn)
        await tools.wait_for_request(2)
        asked = await _asked(turn, 1, 2)
        await _until_kept(calling, turn)
        worker.send_signal(signal.SIGKILL)
    first = next(one for one in asked if one.arguments)
    assert (first.name, first.arguments) == ("lights", {"room": "hall"})
    await turn.write(ToolResult(call_id=first.call_id, result='"on"', is_error=False))
    with start(start_worker, tools):
        await turn.publish(attempt=2)
        again = await _asked(turn, 2, 2)
        heard = await turn.hear_out(attempt=2)
    assert {one.call_id for one in again} == {one.call_id for one in asked}
    assert heard.text == model.say
    assert sorted(request.target for request in tools.requests) == ["/held", "/ok"]
    assert len(model.requests) == 2
    weather, order, on, silent = model.results
    assert weather == '{"sky": "blue"}'
    assert "whether it took effect is not known" in order
    assert on == '"on"'
    assert "no result within 2 seconds" in silent


async def _until_kept(calling: Gateway, turn: CalledTurn) -> None:
    """Wait until the result of the first call is on record."""
    redis = calling.streams._redis
    async with asyncio.timeout(5):
        while not await redis.hexists(f"turn:{turn.turn_id}:tools", "result:0:0"):  # noqa: ASYNC110  # Redis sets no event
            await asyncio.sleep(0.02)


async def _asked(turn: CalledTurn, attempt: int, count: int) -> list[ToolAsked]:
    found: list[ToolAsked] = []

    def enough(entry: object) -> bool:
        if isinstance(entry, ToolAsked):
            found.append(entry)
        return len(found) == count

    await turn.listen(enough, attempt=attempt)
    return found


@pytest.mark.usefixtures("worker")
async def test_calls_are_made_side_by_side_and_what_fails_is_data(
    calling: Gateway, tools: ToolServer, model: CallingModel
) -> None:
    model.say = "It is blue."
    model.calls = [
        ("weather", '{"city": "Bern"}'),
        ("weather", '{"town": "Bern"}'),
        ("weather", '{"city": "Be'),
        ("broken", "{}"),
        ("nothing", "{}"),
        ("order", "{}"),
        ("order", "{}"),
    ]
    turn = calling.new_turn()
    await say(turn)
    await tools.wait_for_request(4)
    tools.go.set()
    heard = await turn.hear_out()
    assert heard.text == "It is blue."
    assert heard.done.status == "completed"
    offered = [tool["function"]["name"] for tool in model.requests[0]["tools"]]
    assert offered == ["weather", "order", "slow", "broken", "lights"]
    told = model.results
    assert told[0] == told[5] == told[6] == '{"sky": "blue"}'
    assert "'city' is a required property" in told[1]
    assert "not valid JSON" in told[2]
    assert json.loads(told[3]) == {"error": "status 500", "answer": '{"detail": "out of order"}'}
    assert "there is no tool of the name nothing" in told[4]
    paths = sorted(request.target for request in tools.requests)
    assert paths == ["/500", "/held", "/held", "/ok"]
    weather = next(request for request in tools.requests if request.target == "/ok")
    assert weather.headers["authorization"] == planted("header")
    assert weather.headers["x-edgewise-turn-id"] == turn.turn_id
    keys = [request.headers["idempotency-key"] for request in tools.requests]
    assert len(set(keys)) == len(keys)
    on_record = [entry for entry in heard.of(Asked) if isinstance(entry, Asked)]
    assert [list(entry.messages) for entry in on_record] == [
        request["messages"] for request in model.requests
    ]
    assert [list(entry.tools) for entry in on_record] == [offered, offered]
    said = repr([entry for _, entry in heard.entries]) + repr(model.requests[1])
    assert found_in(said.encode()) == []

    await calling.history.append(
        turn.session_id,
        Exchange(turn_id=turn.turn_id, user="How is it?", agent=heard.text, interrupted=False),
    )
    model.calls = []
    later = calling.new_turn(turn.session_id)
    await say(later)
    await later.hear_out()
    messages = model.requests[-1]["messages"]
    assert [m["role"] for m in messages[1:]] == [
        "user",
        "assistant",
        *["tool"] * 7,
        "assistant",
        "user",
    ]
    assert messages[2]["tool_calls"][2]["function"]["arguments"] == "{}"
    assert messages[3]["content"] == '{"sky": "blue"}'


@pytest.mark.usefixtures("worker")
async def test_an_interruption_closes_the_connection_and_stays_on_record(
    calling: Gateway, tools: ToolServer, model: CallingModel
) -> None:
    model.calls = [("slow", "{}")]
    turn = calling.new_turn()
    await say(turn)
    request = await tools.wait_for_request(1)
    await turn.write(Cancel(reason="barge_in"))
    async with asyncio.timeout(2):
        await request.closed.wait()
    heard = await turn.hear_out()
    assert heard.done.status == "cancelled"
    await calling.history.append(
        turn.session_id,
        Exchange(turn_id=turn.turn_id, user="Do it.", agent="", interrupted=True),
    )
    model.calls = []
    later = calling.new_turn(turn.session_id)
    await say(later)
    await later.hear_out()
    told = model.results
    assert len(told) == 1
    assert "whether it took effect is not known" in told[0]
    assert len(tools.requests) == 1
