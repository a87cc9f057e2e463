"""What one caller is handed by a server does not come with the request of another."""

from tests.integration.providers.little_server import STREAM, LittleServer
from workers.providers.base_url_allow import parse_allow
from workers.providers.pinned_client import pinned_client

HANDED_OUT = STREAM.replace(b"\r\n", b"\r\nset-cookie: session=of-the-first; path=/\r\n", 1)


async def test_cookies_are_not_kept() -> None:
    async with (
        LittleServer(answer=HANDED_OUT) as server,
        pinned_client(parse_allow("127.0.0.1"), connections=2, connect_s=1, keepalive_s=5) as http,
    ):
        for _ in range(2):
            answer = await http.post(f"http://127.0.0.1:{server.port}/v1/chat/completions")
            assert "of-the-first" in answer.headers["set-cookie"]
        assert len(server.heads) == 2
        assert not any("cookie" in head.lower() for head in server.heads)
