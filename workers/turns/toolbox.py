"""An agent's tools in one turn: arguments checked, calls made once, failures told as data."""

import asyncio
import hashlib
import json
from dataclasses import replace
from typing import Final

import httpx
import structlog
from redis.exceptions import RedisError

from schemas.agent import Agent
from schemas.chat import ToolCall, ToolOffer, ToolRound
from schemas.turn import ToolAsked, ToolResult, TurnTask
from workers.errors import ToolError
from workers.providers.tools.arguments import mistakes_in, read_arguments
from workers.providers.tools.http_tool import HttpCall, call_http_tool
from workers.storage.turns.tool_records import ToolRecords
from workers.turns.on_redis import on_redis
from workers.turns.tool_headers import HeaderReader
from workers.turns.tool_rounds import Tell

ALL_S: Final = 300.0
"""How long all calls of a turn may take together, in seconds."""
UNKNOWN: Final = "the call was made before and broken off; whether it took effect is not known"

log = structlog.get_logger(__name__)


class AgentTools:
    """What the tools of all turns of a worker share."""

    def __init__(
        self, records: ToolRecords, headers: HeaderReader, client: httpx.AsyncClient
    ) -> None:
        self.records = records
        self.headers = headers
        self.client = client


class TurnToolbox:
    """The tools of one turn; see `tool_rounds.Toolbox`. Without Redis: AttemptLostError."""

    def __init__(self, task: TurnTask, agent: Agent, shared: AgentTools) -> None:
        self._task = task
        self._agent_id = agent.id
        self._tools = {tool.name: tool for tool in agent.tools}
        self._shared = shared
        self._records = shared.records
        self._waiting: dict[str, asyncio.Future[ToolResult]] = {}
        self._until: float | None = None

    @property
    def offers(self) -> tuple[ToolOffer, ...]:
        """What the model is told of them."""
        return tuple(
            ToolOffer(tool.name, tool.description, tool.parameters) for tool in self._tools.values()
        )

    @on_redis()
    async def rounds(self) -> tuple[ToolRound, ...]:
        """Return the rounds that earlier attempts at the turn put on record."""
        return await self._records.rounds(self._task.turn_id)

    @on_redis()
    async def begin(self, number: int, calls: ToolRound) -> ToolRound:
        """Put a round on record, without arguments that cannot be read: some servers choke.

        Returns the other where there is one of this number.
        """
        problems = tuple(map(_problem, calls.calls))
        readable = tuple(
            call if problem is None else replace(call, arguments="{}")
            for call, problem in zip(calls.calls, problems, strict=True)
        )
        held = await self._records.begin(
            self._task.session_id,
            self._task.turn_id,
            number,
            ToolRound(calls.text, readable, problems),
        )
        for index, problem in enumerate(held.results):
            if problem is not None:
                await self._records.keep(self._task.turn_id, number, index, problem)
        return held

    @on_redis()
    async def call(self, number: int, index: int, call: ToolCall, tell: Tell) -> str:
        """Make a call of a round and return what the model is told of it, failures included."""
        turn_id = self._task.turn_id
        held = await self._records.result(turn_id, number, index)
        if held is not None:
            return held
        try:
            result = await self._make(number, index, call, tell)
        except ToolError as error:
            log.info("tool_failed", tool=call.name, reason=str(error))
            result = _failed(str(error), error.answer)
        except RedisError:
            raise
        except Exception:
            log.exception("tool_broke", tool=call.name)
            result = _failed("the call failed")
        await self._records.keep(turn_id, number, index, result)
        return result

    def deliver(self, result: ToolResult) -> None:
        """Take in what the client's tool has answered; one that nobody waits for is dropped."""
        waiting = self._awaited(result.call_id)
        if not waiting.done():
            waiting.set_result(result)

    async def _make(self, number: int, index: int, call: ToolCall, tell: Tell) -> str:
        tool = self._tools.get(call.name)
        if tool is None:
            raise ToolError(f"there is no tool of the name {call.name}")
        arguments = read_arguments(call.arguments)
        if mistakes := mistakes_in(tool.parameters, arguments):
            raise ToolError("the arguments do not fit", "; ".join(mistakes))
        timeout_s = min(float(tool.timeout_seconds), self._left())
        if timeout_s <= 0:
            raise ToolError("there is no time left for tools in this reply")
        call_id = self._call_id(number, index)
        if tool.http is None:
            return await self._ask_client(
                ToolAsked(
                    attempt=self._task.attempt,
                    call_id=call_id,
                    name=tool.name,
                    arguments=arguments,
                    timeout_s=timeout_s,
                ),
                tell,
            )
        headers = await self._shared.headers.open(self._agent_id, tool)
        is_first = await self._records.claim(self._task.turn_id, number, index)
        if not is_first and tool.http.http_method != "GET":
            raise ToolError(UNKNOWN)
        request = HttpCall(
            tool.http.url, tool.http.http_method, headers, arguments, self._ids(call_id)
        )
        return await call_http_tool(self._shared.client, request, timeout_s)

    async def _ask_client(self, asked: ToolAsked, tell: Tell) -> str:
        waiting = self._awaited(asked.call_id)
        await tell(asked)
        try:
            async with asyncio.timeout(asked.timeout_s):
                answer = await waiting
        except TimeoutError:
            raise ToolError(f"no result within {asked.timeout_s:g} seconds") from None
        if answer.is_error:
            raise ToolError("the tool failed", answer.result)
        return answer.result

    def _awaited(self, call_id: str) -> "asyncio.Future[ToolResult]":
        """Return where the result of a call arrives: a further attempt may read it early."""
        return self._waiting.setdefault(call_id, asyncio.get_running_loop().create_future())

    def _left(self) -> float:
        now = asyncio.get_running_loop().time()
        self._until = self._until or now + ALL_S
        return self._until - now

    def _call_id(self, number: int, index: int) -> str:
        """Name a call: the same in every attempt, whatever name the model has for it."""
        place = f"{self._task.turn_id}:{number}:{index}".encode()
        return f"call_{hashlib.sha256(place).hexdigest()[:32]}"

    def _ids(self, call_id: str) -> dict[str, str]:
        return {
            "Idempotency-Key": call_id,
            "X-Edgewise-Call-Id": call_id,
            "X-Edgewise-Session-Id": self._task.session_id,
            "X-Edgewise-Turn-Id": self._task.turn_id,
        }


def _problem(call: ToolCall) -> str | None:
    """Return what the model is told of arguments that cannot be read, None where they can."""
    try:
        read_arguments(call.arguments)
    except ToolError as error:
        return _failed(str(error))
    return None


def _failed(message: str, answer: str = "") -> str:
    """Return what the model is told of a call that failed."""
    told = {"error": message, **({"answer": answer} if answer else {})}
    return json.dumps(told, ensure_ascii=False)
