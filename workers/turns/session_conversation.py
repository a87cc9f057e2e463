"""What was said in a session and what tools were called, as the model is to see it."""

from dataclasses import replace
from typing import Final

from schemas.chat import Message, ToolRound
from workers.storage.sessions.conversation import Added, History
from workers.storage.turns.tool_records import ToolRecords
from workers.turns.on_redis import on_redis
from workers.turns.tool_rounds import told

MAX_RESULT: Final = 2_000
"""Characters of a result that later turns are told."""


class SessionConversation:
    """The conversation of one session."""

    def __init__(self, history: History, tools: ToolRecords | None, session_id: str) -> None:
        """Take None for an agent without tools: some endpoints refuse calls where none are offered.

        What came of earlier calls is in what the agent said.
        """
        self._history = history
        self._tools = tools
        self._session_id = session_id

    @on_redis()
    async def read(self) -> tuple[Message, ...]:
        """Return what was heard so far, what the client added and what tools were called.

        A greeting has no user, a turn cut short its beginning. Raises AttemptLostError.
        """
        called = await self._tools.of_session(self._session_id) if self._tools else {}
        messages: list[Message] = []
        for entry in await self._history.read(self._session_id):
            if isinstance(entry, Added):
                messages.append(Message(entry.role, entry.content))
                continue
            if entry.user:
                messages.append(Message("user", entry.user))
            for calls in called.get(entry.turn_id, ()):
                messages += told(_shortened(calls))
            if entry.agent:
                messages.append(Message("assistant", entry.agent))
        return tuple(messages)


def _shortened(calls: ToolRound) -> ToolRound:
    results = (None if each is None else each[:MAX_RESULT] for each in calls.results)
    return replace(calls, results=tuple(results))
