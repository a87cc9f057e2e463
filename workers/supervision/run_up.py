"""The terminal side of `edgewise up`: signals in, plain words out."""

import asyncio
import contextlib
import signal
from collections.abc import Awaitable, Callable

import httpx
from rich.console import Console

from workers.settings import Settings
from workers.supervision.up import System, up
from workers.supervision.welcome import welcome

AGENT = {
    "name": "Edgewise",
    "system_prompt": "You are a helpful voice assistant. Answer in one or two short sentences.",
    "voice": {"voice_id": "ivy"},
    "greeting": "Hello, I am listening.",
}
"""The agent that a home without any is given, so that there is someone to talk to."""
ANSWER_S = 10.0
MOST_ON_A_PAGE = 200

Told = Callable[[str], None]
Ready = Callable[[System], Awaitable[None]]


def run_up(settings: Settings, *, as_json: bool) -> None:
    """Run the system until SIGTERM or SIGINT; returns once everything has stopped.

    What happens is told on standard error; standard output gets what was asked for.
    """
    terminal = Console(stderr=True, highlight=False, soft_wrap=True)

    def told(line: str) -> None:
        terminal.print(line, style="dim", markup=False)

    async def ready(system: System) -> None:
        if as_json:
            print(system.as_json(), flush=True)  # noqa: T201  # this line is the interface
        else:
            agent = await agent_to_talk_to(system)
            print(welcome(system, agent, settings.host), flush=True)  # noqa: T201  # to be read and pasted

    asyncio.run(_until_stopped(settings, told, ready))
    told("stopped")


async def _until_stopped(settings: Settings, told: Told, ready: Ready) -> None:
    running = asyncio.create_task(up(settings, told=told, ready=ready), name="up")
    asked = False

    def stop() -> None:
        nonlocal asked
        if not asked:  # a second Ctrl-C must not cut the orderly stop short; it is bounded
            asked = True
            told("stopping")
            running.cancel()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    try:
        await running
    except asyncio.CancelledError:
        if not asked:
            raise


async def agent_to_talk_to(system: System) -> str | None:
    """Return the id of the oldest agent, made if there is none; None where that fails."""
    headers = {"Authorization": f"Bearer {system.api_key}"}
    with contextlib.suppress(httpx.HTTPError, TimeoutError, KeyError, ValueError):
        async with (
            asyncio.timeout(ANSWER_S),
            httpx.AsyncClient(base_url=system.url, headers=headers, trust_env=False) as http,
        ):
            oldest = await _oldest_agent(http)
            return oldest or str((await http.post("/v1/agents", json=AGENT)).json()["id"])
    return None


async def _oldest_agent(http: httpx.AsyncClient) -> str | None:
    """Return the last id on the last page, None where there is no agent."""
    query: dict[str, str | int] = {"limit": MOST_ON_A_PAGE}
    while True:
        page = (await http.get("/v1/agents", params=query)).json()
        if not page["has_more"]:
            return str(page["agents"][-1]["id"]) if page["agents"] else None
        query["cursor"] = page["response_metadata"]["next_cursor"]
