"""What was used, per account, model and day (UTC): counted in memory, kept in Redis.

Counts are written within half a second and at the stop. While Redis is away they wait here, so
only a process that is killed meanwhile loses them. Without a Redis they live as long as the
process.
"""

import asyncio
import contextlib
import secrets
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection
from datetime import UTC, date, datetime
from typing import Final

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from workers.errors import StorageUnavailableError
from workers.llm_gateway.relay import Tokens

KEPT_S: Final = 400 * 86_400
"""How long a day's counts are kept, in seconds."""
FLUSH_S: Final = 0.25
STOP_S: Final = 0.5
WAIT_S: Final = 1.0
MAX_WAITING: Final = 100_000
KINDS: Final = ("requests", "failed", "estimated", "prompt_tokens", "completion_tokens")

# A batch whose answer was lost is sent again: its name is what keeps it from counting twice.
_ADD: Final = """
if not redis.call('SET', KEYS[1], '1', 'NX', 'EX', 3600) then return 0 end
for i = 2, #KEYS do
  redis.call('HINCRBY', KEYS[i], ARGV[2 * i - 2], ARGV[2 * i - 1])
  redis.call('EXPIRE', KEYS[i], ARGV[1])
end
return 1
"""

Row = tuple[str, str, str, str]
"""Account, day, model, kind."""

log = structlog.get_logger(__name__)


class Usage:
    """The counts of this process that Redis does not have yet, and the way to all of them."""

    def __init__(
        self, redis: "Redis | None", now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._redis = redis
        self._now = now
        self._waiting: Counter[Row] = Counter()
        self._batch: tuple[str, Counter[Row]] | None = None
        self._added = asyncio.Event()
        self._flushing = asyncio.Lock()

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, redis: "Redis | None") -> AsyncIterator["Usage"]:
        """Open the book; at the end what waits is written, for half a second at most."""
        usage = cls(redis)
        if redis is None:
            log.warning("usage is not kept and limits are this process's own: no Redis is set")
            yield usage
            return
        writing = asyncio.create_task(usage._keep_writing(), name="write usage")
        try:
            yield usage
        finally:
            writing.cancel()
            await asyncio.wait([writing])
            try:
                async with asyncio.timeout(STOP_S):
                    await usage.flush()
            except (StorageUnavailableError, TimeoutError):
                log.error("usage is lost: Redis is away", counts=usage.waiting)  # noqa: TRY400  # the line says it all

    def add(self, account: str, model: str, tokens: Tokens, *, failed: bool = False) -> None:
        """Count one request."""
        day = self._now().date().isoformat()
        values = (1, int(failed), int(tokens.estimated), tokens.prompt, tokens.completion)
        for kind, value in zip(KINDS, values, strict=True):
            row = (account, day, model, kind)
            if value and (row in self._waiting or len(self._waiting) < MAX_WAITING):
                self._waiting[row] += value
        self._added.set()

    @property
    def waiting(self) -> int:
        """How many counts Redis does not have yet."""
        return len(self._waiting) + (len(self._batch[1]) if self._batch else 0)

    async def flush(self) -> None:
        """Write all that waits; raises StorageUnavailableError, and then it still waits."""
        if self._redis is None:
            return
        async with self._flushing:
            while self._batch or self._waiting:
                if self._batch is None:
                    self._batch = (secrets.token_hex(16), self._waiting)
                    self._waiting = Counter()
                await self._write(self._redis, *self._batch)
                self._batch = None

    async def days(
        self, account: str, days: Collection[date]
    ) -> dict[tuple[str, str], Counter[str]]:
        """Return the counts by day and model; raises StorageUnavailableError."""
        wanted = [day.isoformat() for day in days]
        found: dict[tuple[str, str], Counter[str]] = {}
        if self._redis is None:
            for (owner, day, model, kind), value in self._waiting.items():
                if owner == account and day in wanted:
                    found.setdefault((day, model), Counter())[kind] += value
            return found
        await self.flush()
        try:
            async with self._redis.pipeline(transaction=False) as pipe:
                for day in wanted:
                    pipe.hgetall(_key(account, day))
                hashes = await pipe.execute()
        except RedisError as error:
            raise _away(error) from None
        for day, fields in zip(wanted, hashes, strict=True):
            for field, value in fields.items():
                kind, _, model = field.decode().partition(":")
                found.setdefault((day, model), Counter())[kind] += int(value)
        return found

    async def _write(self, redis: "Redis", name: str, rows: Counter[Row]) -> None:
        keys = [f"llm:usage:batch:{name}", *(_key(row[0], row[1]) for row in rows)]
        arguments: list[str] = [str(KEPT_S)]
        for (_, _, model, kind), value in rows.items():
            arguments += [f"{kind}:{model}", str(value)]
        try:
            async with asyncio.timeout(WAIT_S):
                await redis.eval(_ADD, len(keys), *keys, *arguments)
        except (RedisError, TimeoutError) as error:
            raise _away(error) from None

    async def _keep_writing(self) -> None:
        is_away = False
        while True:
            await self._added.wait()
            self._added.clear()
            await asyncio.sleep(FLUSH_S)  # more comes together meanwhile
            try:
                await self.flush()
            except StorageUnavailableError:
                if not is_away:
                    log.warning("usage waits: Redis is away", counts=self.waiting)
                is_away = True
                self._added.set()
            else:
                is_away = False


def _key(account: str, day: str) -> str:
    return f"llm:usage:{account}:{day}"


def _away(error: Exception) -> StorageUnavailableError:
    return StorageUnavailableError(f"Redis: {type(error).__name__}")
