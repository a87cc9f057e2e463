"""One utterance, one spoken reply. This is the page to read first.

The turn starts when the user starts to speak. At the first short pause the reply is
prepared, unheard; if the user goes on it is thrown away, if he is done it is let out.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from functools import partial

from schemas.turn import (
    Cancel,
    Done,
    End,
    Instruct,
    Pause,
    ReplyAudio,
    Resume,
    Started,
    TurnInput,
    TurnReply,
    UserAudio,
)
from workers.errors import EdgewiseError
from workers.turns.alongside import (
    InOrder,
    TurnCancelledError,
    alongside,
    beat,
    caption,
    unless_called_off,
)
from workers.turns.composing import Composer, failure
from workers.turns.hearing import Hearing
from workers.turns.ports import Pace, Ports, ReplyWriter, Turn
from workers.turns.speculation import Compose, Ended, Speculation, Status
from workers.turns.timeline import Timeline

Utterance = AsyncIterator[TurnInput | None]


async def run_turn(
    turn: Turn, utterance: Utterance, ports: Ports, timeline: Timeline, pace: Pace
) -> Status:
    """Answer the utterance, or speak without one, and return how it ended.

    Each failure of an engine or of the model ends in entries of the reply. What is raised
    is a failure of the streams themselves, on which nothing more can be said, or AttemptLostError.
    """
    reply = InOrder(ports.reply)
    await reply.write(Started(attempt=turn.attempt))
    async with alongside(beat(reply, turn.attempt, pace.heartbeat_s), "turn-heartbeat"):
        try:
            if turn.kind == "utterance":
                status = await _converse(turn, utterance, ports, reply, timeline, pace=pace)
            else:
                status = await _speak_first(turn, utterance, ports, reply, timeline, pace=pace)
        except TurnCancelledError:
            status = "cancelled"
    timeline.mark("done")
    await reply.write(Done(attempt=turn.attempt, status=status, metrics=timeline.metrics()))
    return status


async def _speak_first(
    turn: Turn,
    utterance: Utterance,
    ports: Ports,
    reply: ReplyWriter,
    timeline: Timeline,
    *,
    pace: Pace,
) -> Status:
    composer = Composer(turn, ports, timeline, pace.filler_s)
    compose: Compose = composer.greet
    if turn.kind == "reply":
        compose = partial(composer.reply, await _instructions(utterance, pace.gateway_gone_s))
    composer.await_reply()
    async with Speculation(compose, partial(_failed, turn)) as guess:
        guess.begin()
        return await unless_called_off(
            utterance, _let_out(guess, reply, timeline), ports.tools.deliver
        )


async def _instructions(utterance: Utterance, gateway_gone_s: float) -> str | None:
    """Return what holds for this reply; the gateway says so first of all, or calls it off."""
    clock = asyncio.get_running_loop().time
    began = clock()
    async for entry in utterance:
        if isinstance(entry, Instruct):
            return entry.instructions
        if entry is not None or clock() - began >= gateway_gone_s:
            break
    raise TurnCancelledError


async def _converse(
    turn: Turn,
    utterance: Utterance,
    ports: Ports,
    reply: ReplyWriter,
    timeline: Timeline,
    *,
    pace: Pace,
) -> Status:
    composer = Composer(turn, ports, timeline, pace.filler_s)
    async with contextlib.AsyncExitStack() as stack:
        listening = await stack.enter_async_context(ports.stt.listen())
        hearing = Hearing(listening, pace.max_utterance_s)
        compose = partial(composer.answer, hearing.text)
        guess = await stack.enter_async_context(Speculation(compose, partial(_failed, turn)))
        captions = caption(reply, turn.attempt, lambda: hearing.so_far, pace.transcript_s)
        async with alongside(captions, "turn-captions"):
            is_done = await _listen(utterance, hearing, guess, timeline, pace.gateway_gone_s)
        if not is_done:
            raise TurnCancelledError
        composer.await_reply()
        return await unless_called_off(
            utterance, _let_out(guess, reply, timeline), ports.tools.deliver
        )


async def _listen(
    utterance: Utterance,
    hearing: Hearing,
    guess: Speculation,
    timeline: Timeline,
    gateway_gone_s: float,
) -> bool:
    """Hear the user out, guessing at each pause; False if the turn is called off meanwhile."""
    clock = asyncio.get_running_loop().time
    last_word = clock()
    async for entry in utterance:
        if entry is not None:
            last_word = clock()
        elif clock() - last_word >= gateway_gone_s:
            return False
        match entry:
            case UserAudio():
                hearing.feed(entry.packets)
                # A replayed utterance comes all at once, and other turns share this loop.
                await asyncio.sleep(0)
            case Pause():
                _guess(hearing, guess, timeline)
            case Resume():
                guess.drop()
                hearing.resume()
            case End():
                timeline.mark("end")
                if not hearing.is_paused:
                    _guess(hearing, guess, timeline)
                return True
            case Cancel():
                return False
    return False


def _guess(hearing: Hearing, guess: Speculation, timeline: Timeline) -> None:
    timeline.mark("pause")
    hearing.pause()
    guess.begin()


async def _let_out(guess: Speculation, reply: ReplyWriter, timeline: Timeline) -> Status:
    """Write the reply as it is ready, first of all what was held back; return how it ended.

    Raises AttemptLostError behind what there is of one that is for another attempt.
    """
    while True:
        taken = await guess.take()
        entries: list[TurnReply] = [entry for entry in taken if not isinstance(entry, Ended)]
        if entries:
            await reply.write(*entries)
        if any(isinstance(entry, ReplyAudio) for entry in entries):
            timeline.mark_first("let_out")
        if isinstance(taken[-1], Ended):
            return taken[-1].outcome()


def _failed(turn: Turn, error: EdgewiseError | None) -> TurnReply:
    if error is None:
        return failure(turn, "internal_error", "the turn worker failed", retryable=True)
    return failure(turn, error.code, str(error), retryable=error.retryable)
