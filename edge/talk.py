"""`talk`: recordings instead of a microphone, a file instead of a speaker, one report per turn."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from edge.call import Call
from edge.conversation import Turn
from edge.errors import DeviceError
from edge.peer import open_peer
from edge.recorder import Recorder
from edge.reply_line import FRAME_S, ReplyLine
from edge.report import as_json
from edge.room import Room
from edge.settings import DeviceSettings
from edge.tools import DeviceTools
from edge.unwrap import first_of
from edge.uplink import GateCount, Uplink
from edge.view import View

Report = dict[str, Any]
Wrong = tuple[str, str]

LOOK_S: Final = 0.02
LEAD_S: Final = 0.3
"""Quiet before the first words, so that the gate's pre-roll has something to hold."""
READY_S: Final = 2.0
GREETING_S: Final = 1.0
"""How long an unannounced greeting may keep us waiting."""
SETTLE_S: Final = 0.2
METRICS_S: Final = 1.0
NOTHING_HEARD_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class Plan:
    """What is said; with `barge_in_after_ms`, when each next recording interrupts the reply."""

    speeches: Sequence[NDArray[np.int16]]
    barge_in_after_ms: float | None = None


async def talk(
    settings: DeviceSettings,
    plan: Plan,
    *,
    recorder: Recorder,
    view: View,
    on_report: Callable[[Report], None],
) -> bool:
    """Say all of the plan in one session; tell whether every turn got its answer.

    Raises DeviceError when there is no session; a session that breaks is reported as the error
    of the turn in which it broke.
    """
    line = ReplyLine()
    tools = DeviceTools(settings.tools)
    call = Call(settings, line, view, tools, turn_per_utterance=False)
    talking = _Talk(
        settings=settings, plan=plan, call=call, line=line, view=view, on_report=on_report
    )
    try:
        async with tools, open_peer(settings, call) as peer, asyncio.TaskGroup() as group:
            view.note(f"connected to {settings.server}")
            uplink = call.uplink(peer)
            clock = _keep_time(talking.room, uplink, line, recorder, call)
            helpers = [
                group.create_task(clock, name="the talk's clock"),
                group.create_task(peer.watch(settings, call), name="the peer's signs of life"),
            ]
            try:
                await talking.run(uplink)
            finally:
                for helper in helpers:
                    helper.cancel()
    except* DeviceError as failures:
        talking.give_up(first_of(failures))
    return talking.all_answered


async def _keep_time(
    room: Room, uplink: Uplink, line: ReplyLine, recorder: Recorder, call: Call
) -> None:
    """Move sound in both directions every 20 ms; what was late is made up for."""
    due = time.monotonic()
    while True:
        due += FRAME_S
        late_s = time.monotonic() - due
        await asyncio.sleep(max(0.0, -late_s))
        for _ in range(int(max(0.0, late_s) / FRAME_S)):
            await asyncio.sleep(0)  # one more packet that waits in the socket comes in first
        uplink.push(room.next_chunk(), due)
        recorder.write(line.read(time.monotonic()))
        call.tick(time.monotonic())


class _Talk:
    def __init__(
        self,
        *,
        settings: DeviceSettings,
        plan: Plan,
        call: Call,
        line: ReplyLine,
        view: View,
        on_report: Callable[[Report], None],
    ) -> None:
        self._settings = settings
        self._plan = plan
        self._call = call
        self._conversation = call.conversation
        self._line = line
        self._view = view
        self._on_report = on_report
        self._greeting: Report | None = None
        self._unreported: list[tuple[Turn, GateCount, Wrong | None]] = []
        self.room = Room()
        self.all_answered = True

    async def run(self, uplink: Uplink) -> None:
        """Hear the greeting out, then say one recording after the other."""
        await asyncio.sleep(LEAD_S)
        await self._hear_greeting()
        last = len(self._plan.speeches) - 1
        for index, speech in enumerate(self._plan.speeches):
            turn = self._conversation.begin_turn()
            uplink.count = GateCount()
            self._unreported.append((turn, uplink.count, None))
            self.room.say(speech)
            self._conversation.last_sign_at = time.monotonic()
            wrong = await self._turn(turn, barge_in=index < last)
            self._unreported[-1] = (turn, uplink.count, wrong)
            if wrong is not None or self._is_finished(turn):
                self._report_all()
        self._report_all()

    def give_up(self, error: DeviceError) -> None:
        """Report the turn in which the session broke; raises `error` if there was no session."""
        if not self._unreported:
            raise error
        turn, count, _ = self._unreported[-1]
        self._unreported[-1] = (turn, count, (error.code, str(error)))
        self._report_all()

    async def _turn(self, turn: Turn, *, barge_in: bool) -> Wrong | None:
        """Wait until the turn is answered, or for the moment to interrupt it; say what is wrong."""
        after_ms = self._plan.barge_in_after_ms if barge_in else None
        began = time.monotonic()
        while not self._is_finished(turn):
            now = time.monotonic()
            first = turn.first_heard_at
            if after_ms is not None and first is not None and now >= first + after_ms / 1000:
                return None
            if not self.room.quiet or self._conversation.gate_open or not self._line.idle:
                self._conversation.last_sign_at = now
            if (wrong := self._what_is_wrong(turn, now)) is not None:
                return wrong
            await asyncio.sleep(LOOK_S)
        self._view.note(f"turn {turn.number} took {time.monotonic() - began:.1f} s")
        return _reply_error(turn)

    def _what_is_wrong(self, turn: Turn, now: float) -> Wrong | None:
        waited_s = now - self._conversation.last_sign_at
        if turn.was_ignored:
            return "nothing_understood", "the server understood no words in the recording"
        if turn.speech_began_at is None and not turn.replies and waited_s > NOTHING_HEARD_S:
            return "no_speech", "the recording holds no speech that opens the gate"
        if waited_s > self._settings.no_answer_s:
            if turn.reply_text:
                return "reply_cut_off", "the reply began and did not end"
            return (
                "no_answer",
                f"no answer for {self._settings.no_answer_s:g} s; look at the server's log",
            )
        return None

    def _is_finished(self, turn: Turn) -> bool:
        """Tell whether the turn is answered, its sound has died away and its metrics are here."""
        reply = turn.last_reply
        if not turn.is_over or reply is None or reply.done_at is None:
            return False
        if turn is not self._conversation.turn:
            return True
        since_s = time.monotonic() - reply.done_at
        settled = since_s >= (SETTLE_S if reply.metrics is not None else METRICS_S)
        quiet = self.room.quiet and not self._conversation.gate_open and self._line.idle
        return settled and quiet

    async def _hear_greeting(self) -> None:
        turn = self._conversation.turn
        await self._wait(lambda: self._conversation.ready is not None, READY_S)
        ready = self._conversation.ready
        announced = ready.config.get("greeting", "") if ready is not None else ""
        if announced is None:
            return
        wait_s = self._settings.no_answer_s if announced else GREETING_S
        wrong: Wrong | None = None
        if await self._wait(lambda: bool(turn.replies), wait_s):
            self._conversation.last_sign_at = time.monotonic()
            wrong = await self._turn(turn, barge_in=False)
        elif announced:
            wrong = ("no_greeting", "the agent has a greeting and did not speak it")
        else:
            return
        self._greeting = {
            "reply_text": turn.reply_text,
            "reply_audio_s": round(turn.heard_frames * FRAME_S, 2),
            "error": None if wrong is None else {"code": wrong[0], "message": wrong[1]},
        }

    async def _wait(self, reached: Callable[[], bool], most_s: float) -> bool:
        deadline = time.monotonic() + most_s
        while not reached():
            if time.monotonic() > deadline:
                return False
            await asyncio.sleep(LOOK_S)
        return True

    def _report_all(self) -> None:
        for turn, count, wrong in self._unreported:
            reply = turn.last_reply
            report = as_json(
                turn,
                heard_s=turn.heard_frames * FRAME_S,
                ended_at=None if reply is None else reply.done_at,
                gate=count,
                error=wrong or _reply_error(turn),
                greeting=self._greeting,
            )
            self._greeting = None
            self.all_answered &= report["error"] is None
            self._view.turn(report["timings_ms"], report["error"] and report["error"]["message"])
            self._on_report(report)
        self._unreported.clear()


def _reply_error(turn: Turn) -> Wrong | None:
    errors = [reply.error for reply in turn.replies.values() if reply.error is not None]
    if errors:
        return errors[-1]
    reply = turn.last_reply
    if reply is not None and reply.status == "failed":
        return "reply_failed", "the server could not answer"
    return None
