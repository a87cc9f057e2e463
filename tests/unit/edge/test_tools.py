"""Programs that the agent runs on the device."""

import asyncio
import json
import sys
from pathlib import Path

import pytest

from edge.errors import BadInputError
from edge.settings import read_settings
from edge.tools import MAX_RESULT, DeviceTools
from schemas.session_events import MAX_EVENT_BYTES, ToolCall, ToolResultEvent, write_event


async def result_of(program: str, **arguments: object) -> ToolResultEvent:
    answered: asyncio.Queue[ToolResultEvent] = asyncio.Queue()
    async with DeviceTools({"lights": program}) as tools:
        call = ToolCall(call_id="call_1", name="lights", arguments=arguments)
        tools.call(call, answered.put_nowait)
        async with asyncio.timeout(20):
            return await answered.get()


def python(code: str) -> str:
    return f"{sys.executable} -c '{code}'"


async def test_a_program_gets_the_arguments_and_gives_the_result() -> None:
    answer = await result_of(python("import sys; print(sys.stdin.read())"), room="hall")
    assert json.loads(answer.result) == {"room": "hall"}
    assert (answer.call_id, answer.is_error) == ("call_1", False)


@pytest.mark.parametrize(
    ("program", "said"),
    [
        (python('print("no bulb"); raise SystemExit(2)'), "no bulb\n"),
        ("/no/such/program", "the program of this tool does not start"),
        ("false", ""),
    ],
)
async def test_a_program_that_fails_is_an_error(program: str, said: str) -> None:
    answer = await result_of(program)
    assert (answer.result, answer.is_error) == (said, True)


async def test_what_a_program_says_is_cut_until_it_fits_the_channel() -> None:
    assert len((await result_of(python('print("x" * 100_000)'))).result) == MAX_RESULT
    answer = await result_of(python('print("\\u2603" * 100_000)'))
    assert len(write_event(answer)) <= MAX_EVENT_BYTES
    assert not answer.is_error


async def test_another_tool_is_answered_at_once() -> None:
    answered: list[ToolResultEvent] = []
    async with DeviceTools({}) as tools:
        tools.call(ToolCall(call_id="call_1", name="x", arguments={}), answered.append)
    assert answered[0].is_error
    assert "no such tool" in answered[0].result


async def test_what_still_runs_at_the_end_is_killed(tmp_path: Path) -> None:
    began = tmp_path / "began"
    program = python(f'import time; open("{began}", "w").close(); time.sleep(600)')
    answered: list[ToolResultEvent] = []
    async with asyncio.timeout(20), DeviceTools({"lights": program}) as tools:
        tools.call(ToolCall(call_id="c", name="lights", arguments={}), answered.append)
        while not began.exists():  # noqa: ASYNC110  # a file sets no event
            await asyncio.sleep(0.01)
    assert answered == []


def test_tools_are_named_on_the_command_line() -> None:
    settings = read_settings(agent="a", api_key="k", tools=["lights=./lights on", "b=x"])
    assert settings.tools == {"lights": "./lights on", "b": "x"}
    for bad in ("lights", "=x", "lights=", "lights='"):
        with pytest.raises(BadInputError):
            read_settings(agent="a", api_key="k", tools=[bad])
