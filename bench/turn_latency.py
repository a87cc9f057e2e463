"""How long the user waits for the reply, beyond the configured silence and the engines.

One device, one conversation, the default engines, a model that answers at once. Per turn:

    from the end of speech to the first reply packet at the device
    less the configured silence (600 ms)
    less what the engines took after it was over

Speech ends with the last audible sound of the recording, so the detector's lag is within, as far
as the gate does not count it as silence.

The engines start at the pause, `PAUSE_MS` into the silence, and work while it runs out: what they
take up to its end costs the user nothing and is not subtracted.
"""

import asyncio
from dataclasses import dataclass
from itertools import cycle, islice

from bench.caller import Caller, Said, calling, until
from bench.figure import Figure, NotMeasuredError, percentile
from bench.model import MARK
from bench.speech import Speech, utterances
from bench.systems import measured_system
from edge.media.detector import LAG_MS
from schemas.session_events import ReplyMetrics
from tests.servers.system import System

SILENCE_MS = 600
PAUSE_MS = 200 + LAG_MS
"""The gate's hang-over and the lag of the detector that it counts as silence."""
TURNS, QUICK_TURNS = 30, 8
FEWEST = 0.9
"""Share of the turns that must get an answer for the measurement to stand."""
TURN_S = 15.0


@dataclass(frozen=True)
class Waited:
    """One turn, in milliseconds from the user's last sound."""

    first_packet: float
    detected: float
    """When the device's gate says that speech ended."""
    engines: float

    @property
    def engines_after_silence(self) -> float:
        """What the engines took after the configured silence was over."""
        return max(0.0, PAUSE_MS + self.engines - SILENCE_MS)

    @property
    def ours(self) -> float:
        """What is left: the detector's lag, transport, queue, streams, pacing."""
        return self.first_packet - SILENCE_MS - self.engines_after_silence


def run(*, quick: bool) -> list[Figure]:
    """Return median and 95th percentile of what the system itself adds."""
    said = list(islice(cycle(utterances()), QUICK_TURNS if quick else TURNS))
    with measured_system(EDGEWISE_ENDPOINT_SILENCE_MS=str(SILENCE_MS)) as system:
        turns = asyncio.run(_converse(system, said))
    if len(turns) < FEWEST * len(said):
        raise NotMeasuredError(f"only {len(turns)} of {len(said)} turns were answered")
    ours = [turn.ours for turn in turns]
    name = "end of speech to first reply packet, less silence and engines"
    return [
        Figure(f"{name}, p50", percentile(ours, 0.5), "ms", 80, note=_medians(turns)),
        Figure(
            f"{name}, p95",
            percentile(ours, 0.95),
            "ms",
            150,
            note=f"{len(turns)} turns, from the last audible sound",
        ),
    ]


def _medians(turns: list[Waited]) -> str:
    whole = percentile([turn.first_packet for turn in turns], 0.5)
    lag = percentile([turn.detected for turn in turns], 0.5)
    engines = percentile([turn.engines for turn in turns], 0.5)
    after = percentile([turn.engines_after_silence for turn in turns], 0.5)
    return (
        f"medians: whole wait {whole:.0f} ms = {SILENCE_MS} ms of silence and this, "
        f"{lag:.0f} ms of it the detector's lag; engines {engines:.0f} ms, "
        f"{after:.0f} of them after the silence"
    )


async def _converse(system: System, said: list[Speech]) -> list[Waited]:
    agent_id = system.agent(system_prompt=f"{MARK}All right.")
    async with calling(system, agent_id) as caller:
        await _turn(caller, said[0])  # the first turn of a system warms its caches
        turns = [await _turn(caller, speech) for speech in said]
    return [turn for turn in turns if turn is not None]


async def _turn(caller: Caller, speech: Speech) -> Waited | None:
    said = caller.say(speech)
    turn = said.turn
    await until(
        "the turn is answered",
        lambda: turn.was_ignored or (turn.is_over and _metrics(said) is not None),
        TURN_S,
    )
    await until("the reply has sounded", lambda: caller.line.idle)
    metrics = _metrics(said)
    if metrics is None or turn.first_packet_at is None or turn.speech_ended_at is None:
        return None
    if metrics.engine_ms is None:
        raise NotMeasuredError("the worker does not say how long its engines took")
    return Waited(
        first_packet=1000 * (turn.first_packet_at - said.ended_at),
        detected=1000 * (turn.speech_ended_at - said.ended_at),
        engines=metrics.engine_ms,
    )


def _metrics(said: Said) -> ReplyMetrics | None:
    reply = said.turn.last_reply
    return None if reply is None else reply.metrics
