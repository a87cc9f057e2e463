"""A scripted stand-in for a model's server: chat, transcription, speech, and every fault.

Plain asyncio streams, because a reset or half an event is no answer that a web framework gives.
"""

import asyncio
import contextlib
import ssl
import time
from collections import deque
from collections.abc import Iterator
from http import HTTPStatus
from typing import Final, Self

import structlog

from workers.llm_stub import audio
from workers.llm_stub.chat import Pace, complete
from workers.llm_stub.engines import Engines
from workers.llm_stub.exchange import Exchange, Request
from workers.llm_stub.incoming import RefusedError, read_request
from workers.llm_stub.replies import tokens_of
from workers.llm_stub.script import ANSWERS, FAULTS, PREFIX, Script, UnknownScriptError, read_script

HEADER: Final = "x-stub"
KEPT: Final = 10_000
"""How many requests are remembered."""
BACKLOG: Final = 2_048
CHAT: Final = "/v1/chat/completions"
TRANSCRIPTIONS: Final = "/v1/audio/transcriptions"
SPEECH: Final = "/v1/audio/speech"
MODELS: Final = "/v1/models"

log = structlog.get_logger(__name__)


class LlmStub:
    """Answers as a request's model or its header `X-Stub` says; use it with `async with`."""

    def __init__(
        self,
        *,
        say: str = "Hello there.",
        pace: Pace | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        self.say = say
        self.pace = pace or Pace()
        self.script: str | None = None
        """Stands in for the model's name, where the asker's is fixed."""
        self.scripts: dict[str, str] = {}
        """The same for one path, which wins."""
        self.requests: deque[Request] = deque(maxlen=KEPT)
        self._address = host, port
        self._arrived = asyncio.Condition()
        self._connections: set[asyncio.Task[None]] = set()
        self._engines = Engines()
        self._told: set[str] = set()
        """The names of the scripts that chat was asked for so far."""

    async def __aenter__(self) -> Self:
        await self.listen(*self._address)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.hang_up()
        await self._engines.__aexit__()

    async def listen(self, host: str, port: int, tls: ssl.SSLContext | None = None) -> None:
        """Take connections; port 0 is a free one. Raises OSError."""
        self._server = await asyncio.start_server(self._serve, host, port, backlog=BACKLOG, ssl=tls)
        taken = self._server.sockets[0].getsockname()[1]
        scheme = "http" if tls is None else "https"
        self.base_url = f"{scheme}://{f'[{host}]' if ':' in host else host}:{taken}/v1"

    async def hang_up(self) -> None:
        """Stop listening and drop every connection; who connects now is refused."""
        self._server.close()
        connections = list(self._connections)
        for task in connections:
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)

    async def wait_for_request(self, number: int = 1, timeout_s: float = 10) -> Request:
        """Wait until that many requests came in; return that one."""
        async with asyncio.timeout(timeout_s), self._arrived:
            await self._arrived.wait_for(lambda: len(self.requests) >= number)
        return self.requests[number - 1]

    def tokens(self, request: Request, script: Script) -> Iterator[str]:
        """Return the tokens of a reply."""
        return tokens_of(request, script, self.say)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101  # asyncio calls this in a task
        self._connections.add(task)
        ahead: bytes | None = b""
        # A connection that breaks, or a stub that ends, is nobody's error here.
        with contextlib.suppress(OSError, asyncio.CancelledError):
            while ahead is not None:
                ahead = await self._answer_one(reader, writer, ahead)
        self._connections.discard(task)
        with contextlib.suppress(OSError):
            writer.close()

    async def _answer_one(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, ahead: bytes
    ) -> bytes | None:
        """Answer the next request; return what was read beyond it, None to hang up."""
        try:
            came = await read_request(reader, writer, ahead)
        except RefusedError as error:
            refusal = Exchange(Request("", "", {}), Script(), writer)
            await refusal.error(error.status, str(error))
            return None
        if came is None:
            return None
        request, ahead = came
        async with self._arrived:
            self.requests.append(request)
            self._arrived.notify_all()
        watching = asyncio.create_task(reader.read(1), name="stub-watch")
        answering = asyncio.create_task(self._answer(request, writer), name="stub-answer")
        try:
            await asyncio.wait({watching, answering}, return_when=asyncio.FIRST_COMPLETED)
            if watching.done() and (more := watching.result()):
                ahead += more
                await answering
            if not answering.done():  # the client has hung up
                return None
            answering.result()
            wants_end = request.headers.get("connection", "").lower() == "close"
            return None if wants_end or reader.at_eof() or writer.is_closing() else ahead
        finally:
            request.closed_at = time.monotonic()
            request.closed.set()
            answering.cancel()
            watching.cancel()
            await asyncio.gather(answering, watching, return_exceptions=True)

    async def _answer(self, request: Request, writer: asyncio.StreamWriter) -> None:
        told = self.scripts.get(request.path) or self.script or request.headers.get(HEADER)
        told = told or str(request.body.get("model") or "")
        exchange = Exchange(request, Script(), writer)
        try:
            exchange.script = read_script(told)
        except UnknownScriptError as error:
            await exchange.error(HTTPStatus.NOT_FOUND, str(error), "model_not_found")
            return
        match request.method, request.path.rstrip("/"):
            case "POST", path if path == CHAT:
                is_first = exchange.script.name not in self._told
                self._told.add(exchange.script.name)
                await complete(exchange, self.tokens, self.pace, is_first=is_first)
            case "POST", path if path == TRANSCRIPTIONS:
                await audio.transcribe(exchange, self._engines, self.pace)
            case "POST", path if path == SPEECH:
                await audio.speak(exchange, self._engines, self.pace)
            case "GET", path if path == MODELS:
                await exchange.json(models())
            case _:
                await exchange.error(HTTPStatus.NOT_FOUND, "the stub has no such page")
        log.info("answered", path=request.path, script=told[:80], tokens=request.sent_tokens)


def models() -> dict[str, object]:
    """Return the list of models, one for each thing that a script can name."""
    names = ["stub", *(f"{PREFIX}{name}" for name in (*ANSWERS, *FAULTS))]
    listed = [{"id": n, "object": "model", "created": 0, "owned_by": "edgewise"} for n in names]
    return {"object": "list", "data": listed}
