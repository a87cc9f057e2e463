"""The scripted model as a probe meets it: what it does with a tool is a script of its own."""

import asyncio

from tests.servers.model_server import ModelServer, Request
from workers.llm_stub.server import HEADER


class ProbedModel(ModelServer):
    """Streams 200 words, and answers by the script `tools` where it is offered a tool."""

    def __init__(self, *, tools: str = "tool") -> None:
        super().__init__(say=" ".join(["word"] * 200))
        self.tools = tools
        self.under_way = 0
        self.most_under_way = 0

    @property
    def texts(self) -> list[Request]:
        """The requests for text alone."""
        return [request for request in self.requests if "tools" not in request.body]

    async def _answer(self, request: Request, writer: asyncio.StreamWriter) -> None:
        if "tools" in request.body:
            request.headers[HEADER] = self.tools
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            await super()._answer(request, writer)
        finally:
            self.under_way -= 1
