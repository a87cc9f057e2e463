"""Which methods a path takes, as the gateway says it."""

import re

from httpx import ASGITransport, AsyncClient

from workers.gateway.app import create_app
from workers.settings import Settings


async def test_a_405_lists_every_method_of_its_path(settings: Settings) -> None:
    app = create_app(settings)
    paths = app.openapi()["paths"]
    async with AsyncClient(transport=ASGITransport(app), base_url="http://test") as client:
        for path, methods in paths.items():
            answer = await client.patch(re.sub(r"\{\w+\}", "x", path))
            assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed")
            assert answer.headers["allow"] == ", ".join(sorted(map(str.upper, methods))), path
    assert len(paths["/v1/agents/{agent_id}"]) == 3
