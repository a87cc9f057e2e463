"""The scripted model server on a thread of its own, driven by tests that know no event loop."""

import asyncio
import ssl
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self, TypeVar

from tests.servers.model_server import ModelServer, Request

Result = TypeVar("Result")


@dataclass(frozen=True)
class Line:
    """What is answered to one user message, sentence by sentence."""

    sentences: tuple[str, ...]
    pause_s: float = 0.0
    """Between two sentences, as from a slow model."""


def turn_of(request: Request) -> int:
    """Return which turn of its conversation a request asks for, counted from 0.

    Counted by what is asked and not by requests: a turn may be asked for twice, because the
    user spoke on or the worker died.
    """
    roles = [message["role"] for message in request.body["messages"]]
    return roles.count("user") - 1


class ScriptedModel(ModelServer):
    """Answers each turn of a conversation with its line; the last one serves all that follow."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        super().__init__()
        self.lines: list[Line] = []
        self._tls = tls

    async def listen(self, host: str, port: int, tls: ssl.SSLContext | None = None) -> None:
        """Take connections; with TLS, at the name `localhost`, where certificates have a name."""
        tls = tls or self._tls
        await super().listen(host, port, tls)
        if tls is not None:
            self.base_url = self.base_url.replace("127.0.0.1", "localhost")

    def line(self, request: Request) -> Line:
        return self.lines[min(turn_of(request), len(self.lines) - 1)]

    def _tokens(self, request: Request, name: str) -> Iterator[str]:
        if not self.lines:
            return super()._tokens(request, name)
        line = self.line(request)
        self.token_s = line.pause_s
        return (f"{sentence} " for sentence in line.sentences)


class Model:
    """The scripted model; `with Model() as model` serves until the end of the block."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self._server = ScriptedModel(tls)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="model", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._run(self._server.__aenter__())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._run(self._server.__aexit__())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()

    def _run(self, work: Coroutine[Any, Any, Result]) -> Result:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    @property
    def url(self) -> str:
        return self._server.base_url

    def reset(self) -> None:
        """Forget the script and the requests."""
        self._server.lines = []
        self._server.script = None
        self._server.token_s = 0.0
        self._server.requests.clear()

    def says(self, *answers: str) -> None:
        """Answer the next turns of the conversation with these, each at once."""
        self._server.lines += [Line((answer,)) for answer in answers]

    def tells(self, sentences: list[str], *, pause_s: float) -> None:
        """Answer the next turn sentence by sentence, with a pause after each."""
        self._server.lines.append(Line(tuple(sentences), pause_s))

    @contextmanager
    def answers_500(self) -> Iterator[None]:
        """Answer everything with 500."""
        yield from self._scripted("500")

    @contextmanager
    def stalls(self) -> Iterator[None]:
        """Take requests and say nothing."""
        yield from self._scripted("stall")

    @contextmanager
    def calls_tools(self) -> Iterator[None]:
        """Call the first tool that is offered, then say what it answered."""
        yield from self._scripted("tool")

    def _scripted(self, script: str) -> Iterator[None]:
        self._server.script = script
        try:
            yield
        finally:
            self._server.script = None

    @contextmanager
    def refuses_connections(self) -> Iterator[None]:
        """Be away: whoever connects is refused."""
        port = int(self.url.removesuffix("/v1").rsplit(":", 1)[1])
        self._run(self._server.hang_up())
        try:
            yield
        finally:
            self._run(self._server.listen("127.0.0.1", port))

    @property
    def requests(self) -> list[Request]:
        """What was asked so far."""
        return list(self._server.requests)

    def conversation(self) -> list[tuple[str, str]]:
        """Return role and words of each message of the last request."""
        return [(said["role"], said["content"]) for said in self.requests[-1].body["messages"]]

    def last_user_message(self) -> str:
        return self.requests[-1].said

    def was_abandoned(self, turn: int = 0) -> bool:
        """Tell whether the last answer to this turn was closed by its reader before its end."""
        asked = [request for request in self.requests if turn_of(request) == turn]
        if not asked or not asked[-1].closed.is_set():
            return False
        return asked[-1].sent_tokens < len(self._server.line(asked[-1]).sentences)
