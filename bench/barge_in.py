"""How long a reply goes on sounding after the user has begun to speak over it."""

import asyncio
import random
from itertools import cycle, islice

from bench.caller import Caller, Said, calling, until
from bench.figure import Figure, NotMeasuredError, percentile
from bench.model import MARK
from bench.speech import STORY, Speech, utterances
from bench.systems import measured_system
from tests.servers.system import System

TIMES, QUICK_TIMES = 20, 6
HEARD_S = (0.4, 1.0)
"""How long the user listens before they interrupt: anything from one to the other."""
FEWEST = 0.7
"""Share of the interruptions that must meet a sound and not a pause between two words."""


def run(*, quick: bool) -> list[Figure]:
    """Return the 95th percentile of the time to silence."""
    times = QUICK_TIMES if quick else TIMES
    said = list(islice(cycle(utterances()), times + 1))
    with measured_system() as system:
        spans = asyncio.run(_interrupt(system, said))
    if len(spans) < FEWEST * times:
        raise NotMeasuredError(f"only {len(spans)} of {times} interruptions met a sound")
    note = f"p50 {percentile(spans, 0.5):.0f} ms, max {max(spans):.0f} ms of {len(spans)}"
    name = "user starts to speak over the reply to silence at the device, p95"
    return [Figure(name, percentile(spans, 0.95), "ms", 300, note=note)]


async def _interrupt(system: System, speeches: list[Speech]) -> list[float]:
    agent_id = system.agent(system_prompt=MARK + STORY)
    rng = random.Random(3)  # noqa: S311  # repeatable, no secret
    spans = []
    async with calling(system, agent_id) as caller:
        said = caller.say(speeches[0])
        for speech in speeches[1:]:
            await _reply_sounds(said)
            await asyncio.sleep(rng.uniform(*HEARD_S))
            said = caller.say(speech)
            spans.append(await _silence_after(caller, said))
    return [span for span in spans if span > 0]


async def _reply_sounds(said: Said) -> None:
    await until("the reply is heard", lambda: said.turn.first_heard_at is not None, 15)


async def _silence_after(caller: Caller, said: Said) -> float:
    """Return milliseconds from the user's first sound to the reply's last, once it is certain."""
    await until("the gate shut", lambda: said.turn.speech_ended_at is not None, 15)
    return 1000 * (caller.line.heard.last_sound_at - said.began_at)
