"""Circuit breakers of models and speech engines, shared by all turn workers through Redis.

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

from schemas.llm_health import CircuitState

Kind = Literal["llm", "stt", "tts"]

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
  local state, left = 'closed', 0
  if held[2] then
    left = math.max(0, tonumber(held[2]) - now)
    local busy = left > 0 or (held[3] and now < tonumber(held[3]))
    state = busy and 'open' or 'half_open'
  elseif held[1] then
    state = 'failing'
  end
  states[number] = {state, left}
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
# Whoever may ask now, its next failure opens it again, and for as long as a failed trial would.
_SPOKE: Final = """
if redis.call('HDEL', KEYS[1], 'open_until', 'trial_until') == 0 then return 0 end
redis.call('HSET', KEYS[1], 'failures', tonumber(ARGV[1]) - 1)
redis.call('PEXPIRE', KEYS[1], tonumber(ARGV[2]))
return 1
"""
_GIVE_BACK: Final = "return redis.call('HDEL', KEYS[1], 'trial_until')"
_FAIL: Final = (
    _NOW
    + """
local held = redis.call('HMGET', KEYS[1], 'open_until', 'open_ms')
if held[1] and now < tonumber(held[1]) then return 0 end
local failures = redis.call('HINCRBY', KEYS[1], 'failures', 1)
redis.call('PEXPIRE', KEYS[1], tonumber(ARGV[4]))
if not held[1] and failures < tonumber(ARGV[1]) then return 0 end
local open_ms = tonumber(ARGV[2])
if held[2] then open_ms = math.min(2 * tonumber(held[2]), tonumber(ARGV[3])) end
redis.call('HSET', KEYS[1], 'open_until', now + open_ms, 'open_ms', open_ms)
redis.call('HDEL', KEYS[1], 'trial_until')
redis.call('PEXPIRE', KEYS[1], open_ms + tonumber(ARGV[4]))
return open_ms
"""
)

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class BreakerRule:
    """After how many failures in a row a breaker opens, and for how long, in seconds.

    Each trial that fails doubles the time, up to `longest_s`; unset, it stays as it is.
    """

    failures: int = 5
    open_s: float = 10.0
    longest_s: float = 0.0


@dataclass(frozen=True)
class Circuit:
    """How a breaker stands, and for how many seconds nobody asks its endpoint."""

    state: CircuitState = "closed"
    left_s: float = 0.0


def endpoint_name(account: str | None, base_url: str, model: str) -> str:
    """Name an endpoint without telling where it is; one account's has nothing to do with another's.

    `account` is None for the operator's own.
    """
    place = json.dumps([account, base_url, model]).encode()
    return hashlib.sha256(place).hexdigest()[:32]


class Breakers:
    """Reads and moves the breakers of one kind; an endpoint goes by its `endpoint_name`."""

    def __init__(self, redis: "Redis", rule: BreakerRule, kind: Kind = "llm") -> None:
        self._redis = redis
        self._rule = rule
        self._kind = kind

    async def states(self, endpoints: Sequence[str]) -> list[CircuitState]:
        """Return the state of each, all at one moment."""
        return [circuit.state for circuit in await self.circuits(endpoints)]

    async def circuits(self, endpoints: Sequence[str]) -> list[Circuit]:
        """Return how each stands, all at one moment."""
        keys = [self._key(endpoint) for endpoint in endpoints]
        found: list[tuple[bytes, int]] | None = await self._run(_STATES, keys)
        if found is None:
            return [Circuit()] * len(keys)
        return [Circuit(_STATE_OF[state], left / 1000) for state, left in found]

    async def may_try(self, endpoint: str) -> bool:
        """Take the one trial of a half-open breaker; False where another has it."""
        taken = await self._run(_TRY, [self._key(endpoint)], _ms(TRIAL_S), _ms(WINDOW_S))
        return taken is None or bool(taken)

    async def spoke(self, endpoint: str) -> None:
        """Take the first word of a trial: others may ask, but the next failure opens it again."""
        await self._run(_SPOKE, [self._key(endpoint)], self._rule.failures, _ms(WINDOW_S))

    async def give_back(self, endpoint: str) -> None:
        """End a trial that came to nothing either way: another may try at once."""
        await self._run(_GIVE_BACK, [self._key(endpoint)])

    async def succeeded(self, endpoint: str) -> None:
        """Close it."""
        await self._run("return redis.call('DEL', KEYS[1])", [self._key(endpoint)])

    async def failed(self, endpoint: str, *, for_good: bool = False) -> None:
        """Count a failure; open it if it was one too many, that of a trial, or `for_good`."""
        rule = self._rule
        failures = 1 if for_good else rule.failures
        longest_s = max(rule.open_s, rule.longest_s)
        open_ms = await self._run(
            _FAIL,
            [self._key(endpoint)],
            failures,
            _ms(rule.open_s),
            _ms(longest_s),
            _ms(WINDOW_S),
        )
        if open_ms:
            log.warning("circuit_open", kind=self._kind, endpoint=endpoint, open_s=open_ms / 1000)

    async def _run(self, script: str, keys: list[str], *arguments: int) -> Any:
        """Return what a script says; None where Redis does not answer."""
        try:
            async with asyncio.timeout(REDIS_S):
                return await self._redis.eval(script, len(keys), *keys, *arguments)
        except (RedisError, TimeoutError) as error:
            log.warning("circuit_unknown", kind=self._kind, error=type(error).__name__)
            return None

    def _key(self, endpoint: str) -> str:
        return f"{self._kind}:breaker:{endpoint}"


_STATE_OF: Final[dict[bytes, CircuitState]] = {
    b"closed": "closed",
    b"failing": "failing",
    b"open": "open",
    b"half_open": "half_open",
}


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
