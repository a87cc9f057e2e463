"""How much an account may use in a minute: two buckets that fill evenly, in Redis.

A request is let in while both hold something; its tokens are taken when they are known, so a
bucket of tokens may go below nothing, and the account waits until it is filled again. Where
Redis is away each process keeps the limits by itself, and says so in the log.
"""

import asyncio
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from workers.llm_gateway.models_file import Limits

MINUTE_S: Final = 60.0
PATIENCE_S: Final = 0.25
"""How long a request waits for Redis, in seconds."""
APART_S: Final = 2.0
"""How long Redis is left alone after it did not answer, in seconds."""
MOST_ACCOUNTS: Final = 10_000

# KEYS: bucket of requests, bucket of tokens. ARGV: their sizes (0: none), what is taken of each,
# whether it is taken at any rate. Returns how many milliseconds to wait, 0 if it was taken.
_TAKE: Final = """
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1000000
local force = ARGV[5] == '1'
local wait, levels = 0, {}
for i = 1, 2 do
  local size = tonumber(ARGV[i])
  if size > 0 then
    local held = redis.call('HMGET', KEYS[i], 'level', 'at')
    local level = tonumber(held[1] or size)
    local at = tonumber(held[2] or now)
    level = math.min(size, level + math.max(0, now - at) * size / 60)
    levels[i] = level
    if level < 1 then wait = math.max(wait, (1 - level) * 60 / size) end
  end
end
if wait > 0 and not force then return math.ceil(wait * 1000) end
for i = 1, 2 do
  if levels[i] then
    local level = tostring(levels[i] - tonumber(ARGV[i + 2]))
    redis.call('HSET', KEYS[i], 'level', level, 'at', string.format('%.6f', now))
    redis.call('EXPIRE', KEYS[i], 7200)
  end
end
return 0
"""

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Bucket:
    """How much is left, and when that was so, in seconds."""

    level: float
    at: float

    def filled(self, size: int, now: float) -> "Bucket":
        """Return the bucket a while later."""
        level = self.level + max(0.0, now - self.at) * size / MINUTE_S
        return Bucket(min(float(size), level), now)

    def wait_s(self, size: int) -> float:
        """Return how long it takes until there is one whole, in seconds."""
        return max(0.0, (1 - self.level) * MINUTE_S / size)


class RateLimits:
    """Lets requests in, and takes tokens away."""

    def __init__(self, redis: "Redis | None", now: Callable[[], float] = time.monotonic) -> None:
        self._redis = redis
        self._now = now
        self._apart_until = float("-inf")
        self._own: dict[tuple[str, str], Bucket] = {}

    async def enter(self, account: str, limits: Limits) -> int:
        """Count a request; return 0, or after how many seconds to ask again."""
        if limits.requests_per_minute is None and limits.tokens_per_minute is None:
            return 0
        return math.ceil(await self._take(account, limits, 1, 0, force=False))

    async def spend(self, account: str, limits: Limits, tokens: int) -> None:
        """Take the tokens of a request that was let in."""
        if limits.tokens_per_minute is not None and tokens:
            await self._take(account, limits, 0, tokens, force=True)

    async def _take(
        self, account: str, limits: Limits, requests: int, tokens: int, *, force: bool
    ) -> float:
        sizes = (limits.requests_per_minute or 0, limits.tokens_per_minute or 0)
        if self._redis is not None and self._now() >= self._apart_until:
            keys = (f"llm:limit:{{{account}}}:requests", f"llm:limit:{{{account}}}:tokens")
            try:
                async with asyncio.timeout(PATIENCE_S):
                    wait_ms = await self._redis.eval(
                        _TAKE, 2, *keys, *map(str, (*sizes, requests, tokens, int(force)))
                    )
            except (RedisError, TimeoutError) as error:
                self._apart_until = self._now() + APART_S
                log.warning(
                    "limits are kept by this process alone: Redis is away",
                    error=type(error).__name__,
                )
            else:
                return int(wait_ms) / 1000
        return self._take_here(account, sizes, (requests, tokens), force=force)

    def _take_here(
        self, account: str, sizes: tuple[int, int], taken: tuple[int, int], *, force: bool
    ) -> float:
        now = self._now()
        filled = {
            (account, kind): (self._own.get((account, kind)) or Bucket(size, now)).filled(size, now)
            for kind, size in zip(("requests", "tokens"), sizes, strict=True)
            if size
        }
        by_key = dict(
            zip(
                ((account, "requests"), (account, "tokens")),
                zip(sizes, taken, strict=True),
                strict=True,
            )
        )
        wait = max(bucket.wait_s(by_key[key][0]) for key, bucket in filled.items())
        if wait and not force:
            return wait
        for key, bucket in filled.items():
            self._own.pop(key, None)
            self._own[key] = Bucket(bucket.level - by_key[key][1], now)
        while len(self._own) > MOST_ACCOUNTS:
            del self._own[next(iter(self._own))]
        return 0.0
