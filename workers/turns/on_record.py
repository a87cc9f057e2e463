"""A model whose every request is told to the gateway before it is sent."""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

from schemas.chat import ChatEvent, ChatRequest, to_wire
from schemas.turn import Asked
from workers.turns.ports import Chat

Tell = Callable[[Asked], Awaitable[None]]


class OnRecord:
    """The port `Chat` with a record of what is asked, rounds of tools included."""

    def __init__(self, chat: Chat, attempt: int, prompt_suffix: str | None, tell: Tell) -> None:
        self._chat = chat
        self._attempt = attempt
        self._prompt_suffix = prompt_suffix
        self._tell = tell

    @property
    def model(self) -> str:
        """The name of the model."""
        return self._chat.model

    @contextlib.asynccontextmanager
    async def stream(self, request: ChatRequest) -> AsyncIterator[AsyncIterator[ChatEvent]]:
        """Stream a reply."""
        await self._tell(
            Asked(
                attempt=self._attempt,
                model=self.model,
                messages=tuple(to_wire(message) for message in request.messages),
                tools=tuple(tool.name for tool in request.tools if request.may_call),
                prompt_suffix=self._prompt_suffix,
            )
        )
        async with self._chat.stream(request) as events:
            yield events
