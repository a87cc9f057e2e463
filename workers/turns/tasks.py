"""The doorway: a Celery message comes in, a turn is run, errors become log lines or entries."""

import asyncio
import concurrent.futures
import contextlib
import time
from typing import Any, Final

import structlog
from celery import Celery
from pydantic import ValidationError
from redis.exceptions import RedisError

from schemas.turn import TURN_TASK, Done, Started, TurnError, TurnReply, TurnTask
from workers.errors import StorageUnavailableError
from workers.storage.turns.streams import TurnStreams
from workers.turns.clients import Clients
from workers.turns.groups import first_error
from workers.turns.loop import LoopThread
from workers.turns.lost import AttemptLostError
from workers.turns.ports import Pace, Ports, Turn
from workers.turns.run_turn import run_turn
from workers.turns.session_conversation import SessionConversation
from workers.turns.timeline import Timeline
from workers.turns.toolbox import TurnToolbox

INPUT_WAIT_MS: Final = 1_000
AGENT_S: Final = 1.0
BREAK_OFF_S: Final = 1.0

log = structlog.get_logger(__name__)


def register(app: Celery, loop: LoopThread[Clients], clients: Clients) -> None:
    """Make the task known to Celery."""

    @app.task(name=TURN_TASK)  # type: ignore[untyped-decorator]  # celery has no types
    def run(message: dict[str, Any]) -> None:
        arrived_at = time.time()
        try:
            task = TurnTask.model_validate(message)
        except ValidationError as error:
            log.warning("turn_message_refused", problems=error.error_count())
            return
        with contextlib.suppress(concurrent.futures.CancelledError):
            loop.run(take_up(task, clients, arrived_at))


async def take_up(task: TurnTask, clients: Clients, arrived_at: float) -> None:
    """Run the turn that a message names; what it cannot tell the user goes to the log."""
    structlog.contextvars.bind_contextvars(
        session_id=task.session_id, turn_id=task.turn_id, attempt=task.attempt
    )
    queue_ms = round(max(arrived_at - task.published_at, 0) * 1000, 3)
    try:
        await _take_up(task, clients, queue_ms)
    except* (RedisError, AttemptLostError) as group:
        # The gateway notices the silence and sends the turn again.
        error = first_error(group)
        cause = error.__cause__ if isinstance(error, AttemptLostError) else error
        log.warning("turn_streams_lost", error=type(cause).__name__)
    except* Exception as group:
        # A doorway lets nothing through to Celery.
        log.exception("turn_broke", exc_info=first_error(group))
        await _break_off(StreamReply(clients.streams, task.turn_id), task)


async def _take_up(task: TurnTask, clients: Clients, queue_ms: float) -> None:
    reply = StreamReply(clients.streams, task.turn_id)
    try:
        async with asyncio.timeout(AGENT_S):
            agent = await clients.agents.get(task.agent_id)
    except (StorageUnavailableError, TimeoutError):
        await _refuse(reply, task, "unavailable", "the agent could not be looked up")
        return
    if agent is None:
        await _refuse(reply, task, "agent_not_found", "there is no such agent")
        return
    spoken = await clients.streams.read_spoken(task.turn_id) if task.attempt > 1 else ()
    turn = Turn(
        turn_id=task.turn_id,
        session_id=task.session_id,
        attempt=task.attempt,
        voice=agent.voice.voice_id,
        system_prompt=agent.system_prompt,
        kind=task.kind,
        greeting=agent.greeting or "",
        prompt_rule=clients.prompt_rule,
        spoken=spoken,
        lines=agent.lines,
    )
    chat = clients.models.of(agent)
    ports = Ports(
        stt=clients.stt,
        chat=chat,
        tts=clients.tts,
        conversation=SessionConversation(
            clients.history, clients.tools.records if agent.tools else None, task.session_id
        ),
        reply=reply,
        tools=TurnToolbox(task, agent, clients.tools),
        encoding=clients.encoding,
    )
    timeline = Timeline(time.monotonic, queue_ms, chat.model)
    settings = clients.settings
    pace = Pace(max_utterance_s=settings.max_utterance_s, filler_s=settings.llm_filler_s)
    utterance = clients.streams.read_input(task.turn_id, wait_ms=INPUT_WAIT_MS)
    status = await run_turn(turn, utterance, ports, timeline, pace)
    log.info("turn_done", status=status, **timeline.metrics().model_dump(exclude_none=True))
    clients.apologies.want(agent)


async def _break_off(reply: "StreamReply", task: TurnTask) -> None:
    """Say that there is no more to come: a further attempt would most likely break the same way."""
    with contextlib.suppress(RedisError, TimeoutError):
        async with asyncio.timeout(BREAK_OFF_S):
            await reply.write(
                TurnError(
                    attempt=task.attempt,
                    code="internal_error",
                    message="the turn worker failed",
                    retryable=True,
                ),
                Done(attempt=task.attempt, status="failed"),
            )


async def _refuse(reply: "StreamReply", task: TurnTask, code: str, message: str) -> None:
    await reply.write(
        Started(attempt=task.attempt),
        TurnError(attempt=task.attempt, code=code, message=message, retryable=False),
        Done(attempt=task.attempt, status="failed"),
    )


class StreamReply:
    """The reply stream of one turn."""

    def __init__(self, streams: TurnStreams, turn_id: str) -> None:
        self._streams = streams
        self._turn_id = turn_id

    async def write(self, *entries: TurnReply) -> None:
        """Append entries, in one round trip."""
        await self._streams.write_reply(self._turn_id, *entries)
