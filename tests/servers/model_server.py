"""The product's own scripted model server (`edgewise llm-stub`), as the tests drive it.

`python -m tests.servers.model_server` serves alone and prints its base URL.
"""

import asyncio
import sys
from collections.abc import Iterator

from workers.llm_stub.chat import Pace
from workers.llm_stub.exchange import Request
from workers.llm_stub.script import FAULTS, STATUSES, Script
from workers.llm_stub.server import LlmStub

__all__ = ["FAULTS", "STATUSES", "ModelServer", "Request"]


class ModelServer(LlmStub):
    """Answers `POST /v1/chat/completions`; use it with `async with`."""

    def __init__(self, *, say: str = "Hello there.", token_s: float = 0.0) -> None:
        super().__init__(say=say, pace=Pace(token_s=token_s, keepalive_s=0.1))

    @property
    def token_s(self) -> float:
        return self.pace.token_s

    @token_s.setter
    def token_s(self, seconds: float) -> None:
        self.pace.token_s = seconds

    def tokens(self, request: Request, script: Script) -> Iterator[str]:
        return self._tokens(request, script.name)

    def _tokens(self, request: Request, name: str) -> Iterator[str]:
        return super().tokens(request, Script(name))


async def _serve_alone() -> None:
    async with ModelServer() as server:
        sys.stdout.write(server.base_url + "\n")
        sys.stdout.flush()
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_serve_alone())
