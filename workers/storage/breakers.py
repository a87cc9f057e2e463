"""Circuit breakers of model endpoints, shared by all turn workers through Redis.

Closed: the endpoint is asked. After some failures in a row it is open: nobody asks it for a
while. Then it is half open: one caller may try, and what comes of it closes or opens it again.
The clock is that of Redis. Without Redis every breaker counts as closed.
"""

import asyncio
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

State = Literal["closed", "failing", "open", "half_open"]
"""`failing`: closed, but its last call failed."""

REDIS_S: Final = 0.25
"""How long a call waits for Redis before the breaker counts as closed."""
WINDOW_S: Final = 60
"""Failures are forgotten after this long without another."""
TRIAL_S: Final = 10
"""How long one caller has for a trial before another may."""

# Without this the clock would differ from host to host.
_NOW: Final = """
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
"""
_STATES: Final = (
    _NOW
    + """
local states = {}
for number, key in ipairs(KEYS) do
  local held = redis.call('HMGET', key, 'failures', 'open_until', 'trial_until')
  local state = 'closed'
  if held[2] then
    local busy = now < tonumber(held[2]) or (held[3] and now < tonumber(held[3]))
    state = busy and 'open' or 'half_open'
  elseif held[1] then
    state = 'failing'
  end
  states[number] = state
end
return states
"""
)
_TRY: Final = (
    _NOW
    + """
local held = redis.call('HMGET', KEYS[1], 'open_until', 'trial_until')
if not held[1] then return 1 end
if now < tonumber(held[1]) or (held[2] and now < tonumber(held[2])) then return 0 end
redis.call('HSET', KEYS[1], 'trial_until', now + tonumber(ARGV[1]))
redis.call('PEXPIRE', KEYS[1], tonumber(ARGV[1]) + tonumber(ARGV[2]))
return 1
"""
)
_FAIL: Final = (
    _NOW
    + """
local held = redis.call('HGET', KEYS[1], 'open_until')
if held and now < tonumber(held) then return 1 end
local failures = redis.call('HINCRBY', KEYS[1], 'failures', 1)
redis.call('PEXPIRE', KEYS[1], tonumber(ARGV[3]))
if not held and failures < tonumber(ARGV[1]) then return 0 end
redis.call('HSET', KEYS[1], 'open_until', now + tonumber(ARGV[2]))
redis.call('HDEL', KEYS[1], 'trial_until')
redis.call('PEXPIRE', KEYS[1], tonumber(ARGV[2]) + tonumber(ARGV[3]))
return 1
"""
)

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class BreakerRule:
    """After how many failures in a row a breaker opens, and for how long, in seconds."""

    failures: int = 5
    open_s: float = 10.0


def endpoint_name(account: str | None, base_url: str, model: str) -> str:
    """Name an endpoint without telling where it is; one account's has nothing to do with another's.

    `account` is None for the operator's own.
    """
    place = json.dumps([account, base_url, model]).encode()
    return hashlib.sha256(place).hexdigest()[:32]


class Breakers:
    """Reads and moves the breakers; an endpoint goes by its `endpoint_name`."""

    def __init__(self, redis: "Redis", rule: BreakerRule) -> None:
        self._redis = redis
        self._rule = rule

    async def states(self, endpoints: Sequence[str]) -> list[State]:
        """Return the state of each, all at one moment."""
        keys = [_key(endpoint) for endpoint in endpoints]
        states: list[bytes] | None = await self._run(_STATES, keys)
        if states is None:
            return ["closed"] * len(keys)
        return [_STATE_OF[state] for state in states]

    async def may_try(self, endpoint: str) -> bool:
        """Take the one trial of a half-open breaker; False where another has it."""
        taken = await self._run(_TRY, [_key(endpoint)], _ms(TRIAL_S), _ms(WINDOW_S))
        return taken is None or bool(taken)

    async def succeeded(self, endpoint: str) -> None:
        """Close it."""
        await self._run("return redis.call('DEL', KEYS[1])", [_key(endpoint)])

    async def failed(self, endpoint: str) -> None:
        """Count a failure; open it if it was one too many, or that of a trial."""
        rule = self._rule
        is_open = await self._run(
            _FAIL, [_key(endpoint)], rule.failures, _ms(rule.open_s), _ms(WINDOW_S)
        )
        if is_open:
            log.warning("llm_circuit_open", endpoint=endpoint, open_s=rule.open_s)

    async def _run(self, script: str, keys: list[str], *arguments: int) -> Any:
        """Return what a script says; None where Redis does not answer."""
        try:
            async with asyncio.timeout(REDIS_S):
                return await self._redis.eval(script, len(keys), *keys, *arguments)
        except (RedisError, TimeoutError) as error:
            log.warning("llm_circuit_unknown", error=type(error).__name__)
            return None


_STATE_OF: Final[dict[bytes, State]] = {
    b"closed": "closed",
    b"failing": "failing",
    b"open": "open",
    b"half_open": "half_open",
}


def _key(endpoint: str) -> str:
    return f"llm:breaker:{endpoint}"


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
