"""Counts outlive Redis's absence, none is counted twice, and accounts see their own only."""

import tempfile
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from redis.asyncio import Redis

from tests.integration.llm_gateway.conftest import KEY
from workers.errors import StorageUnavailableError
from workers.llm_gateway.relay import Tokens
from workers.llm_gateway.usage import Usage
from workers.settings import Settings
from workers.storage.accounts.keys import make_account, make_key
from workers.storage.database import open_engine
from workers.storage.redis_client import connect
from workers.storage.upgrade import upgrade_engine
from workers.supervision.embedded_redis import private_redis

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


@pytest.fixture
def short_folder() -> Any:
    """A folder whose path leaves room for a socket's name, so that Redis comes back in place."""
    with tempfile.TemporaryDirectory(prefix="ew") as folder:
        yield Path(folder)


async def test_counts_wait_while_redis_is_away(settings: Settings, short_folder: Path) -> None:
    with private_redis(short_folder) as url:
        redis = connect(settings.model_copy(update={"redis_url": url}))
        usage = Usage(redis, now=lambda: NOON)
        usage.add("a", "m", Tokens(1, 2))
        await usage.flush()
    usage.add("a", "m", Tokens(10, 20), failed=True)
    with pytest.raises(StorageUnavailableError):
        await usage.flush()
    usage.add("a", "other:model", Tokens(5, 5, estimated=True))
    assert usage.waiting
    with private_redis(short_folder):
        found = await usage.days("a", [NOON.date()])
        await redis.aclose()
    assert not usage.waiting
    assert found == {
        ("2026-11-22", "m"): Counter(requests=2, failed=1, prompt_tokens=11, completion_tokens=22),
        ("2026-11-22", "other:model"): Counter(
            requests=1, estimated=1, prompt_tokens=5, completion_tokens=5
        ),
    }


async def test_a_batch_that_is_sent_again_counts_once(redis: Redis) -> None:
    usage = Usage(redis, now=lambda: NOON)
    rows = Counter({("a", "2026-11-22", "m", "requests"): 3})
    for _ in range(2):
        await usage._write(redis, "the same", rows)
    assert (await usage.days("a", [NOON.date()]))["2026-11-22", "m"]["requests"] == 3


@pytest.fixture
async def keys(settings: Settings) -> AsyncIterator[dict[str, str]]:
    """A key with the scope `llm` for each of two accounts."""
    engine = open_engine(settings)
    upgrade_engine(engine)
    made = {}
    for account in ("acme", "umbrella"):
        make_account(engine, account)
        made[account] = make_key(engine, account, "a key", ["llm"])[1]
    yield made
    engine.dispose()


async def test_accounts_have_counts_and_limits_of_their_own(
    keys: dict[str, str], gateway_url: str
) -> None:
    asked = {"model": "plain", "messages": [{"role": "user", "content": "hello"}]}

    def bearer(key: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {key}"}

    async with httpx.AsyncClient(base_url=gateway_url, timeout=20) as http:
        for account, times in (("acme", 2), ("umbrella", 1)):
            for _ in range(times):
                answer = await http.post(
                    "/v1/chat/completions", json=asked, headers=bearer(keys[account])
                )
                assert answer.status_code == 200
        for account, times in (("acme", 2), ("umbrella", 1)):
            page = (await http.get("/v1/usage", headers=bearer(keys[account]))).json()
            assert page["account"] == account
            assert [row["requests"] for row in page["data"]] == [times]
            seen = await http.get(f"/v1/usage?account={account}", headers=bearer(KEY))
            assert seen.json() == page
        for path in ("/v1/usage?account=umbrella", "/metrics"):
            refused = await http.get(path, headers=bearer(keys["acme"]))
            assert refused.status_code == 401
            assert refused.json()["error"]["code"] == "missing_scope"
