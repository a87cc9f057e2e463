"""How late a token is: from the model's server sending it to the turn's code having it.

Fifty replies are streamed at once in one process by the turn worker's own client, each asker
going on with the next as soon as one ends. The server is `edgewise llm-stub` in a process of
its own; its tokens say when they are sent, on the machine's monotonic clock.
"""

import asyncio
import gc
import random
import time
from dataclasses import dataclass, field

import uvloop

from bench.figure import Figure, percentile
from bench.model import scripted_model
from schemas.chat import ChatRequest, Content, Message
from workers.providers.base_url_allow import parse_allow
from workers.providers.chat import Budget, Endpoint, OpenAiChat, open_client

STREAMS = 50
FOR_S, QUICK_S = 20.0, 6.0
WARM_UP_S = 2.0
MODEL = "stub-clock;ttft=0.2;rate=30;tokens=30"
REQUEST = ChatRequest((Message("user", "Hi"),), "session", "turn", 1)
SEED = 7


def moment_in(text: str) -> float:
    """Return when a token was sent, in seconds of `time.monotonic`."""
    return int(text.split()[2].rstrip(".")) / 1e9


@dataclass
class Late:
    """How late tokens were, in milliseconds."""

    first: list[float] = field(default_factory=list)
    further: list[float] = field(default_factory=list)


def run(*, quick: bool) -> list[Figure]:
    """Return how late the first token is with fifty streams in one process."""
    with (
        scripted_model() as base_url,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,  # the worker's own loop
    ):
        alone = runner.run(_measure(base_url, 1, QUICK_S))
        gc.collect()
        late = runner.run(_measure(base_url, STREAMS, QUICK_S if quick else FOR_S))
    note = (
        f"p50 {percentile(late.first, 0.5):.1f} ms, max {max(late.first):.1f} ms of "
        f"{len(late.first)}; further tokens p95 {percentile(late.further, 0.95):.1f} ms; "
        f"one stream p95 {percentile(alone.first, 0.95):.1f} ms"
    )
    name = f"chat client, first token sent to first token in the turn, {STREAMS} streams, p95"
    return [Figure(name, percentile(late.first, 0.95), "ms", 5, note=note)]


async def _measure(base_url: str, streams: int, for_s: float) -> Late:
    late = Late()
    rng = random.Random(SEED)  # noqa: S311  # spreads the askers, guards nothing
    async with open_client(Budget(), 2 * streams, parse_allow("127.0.0.1")) as client:
        chat = OpenAiChat(client, Endpoint(base_url, MODEL), Budget())
        begin = time.monotonic() + WARM_UP_S
        async with asyncio.TaskGroup() as group:
            for number in range(streams):
                asking = _ask(chat, late, rng.random(), begin, begin + for_s)
                group.create_task(asking, name=f"asker {number}")
    return late


async def _ask(chat: OpenAiChat, late: Late, wait_s: float, begin: float, end: float) -> None:
    """Ask again and again until `end`; what is sent before `begin` does not count."""
    await asyncio.sleep(wait_s)
    while time.monotonic() < end:
        into = late.first
        async with chat.stream(REQUEST) as events:
            async for event in events:
                if isinstance(event, Content):
                    sent = moment_in(event.text)
                    if sent >= begin:
                        into.append(1000 * (time.monotonic() - sent))
                    into = late.further
