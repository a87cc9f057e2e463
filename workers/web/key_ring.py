"""Which caller a key stands for: asked at every request, looked up every two seconds at most."""

import asyncio
import contextlib
import hmac
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

import structlog

from workers.errors import StorageUnavailableError
from workers.storage.accounts.key_text import digest_of, is_key
from workers.storage.accounts.rows import StoredKey
from workers.web.callers import OPERATOR, Caller, caller_of

FRESH_S: Final = 2.0
"""How long a key is believed without another look, in seconds: a revoked one stops by then."""
WAIT_S: Final = 1.0
"""How long a request waits for the look, in seconds."""
GRACE_S: Final = 86_400.0
"""How long a key that was seen goes on while the database is away, in seconds."""
MOST_KEYS: Final = 10_000
MOST_LOOKS: Final = 256
"""Bounds of what is remembered and of what is looked up at once."""
THREADS: Final = 2

LookUp = Callable[[str], StoredKey | None]

log = structlog.get_logger(__name__)


@dataclass
class _Known:
    caller: Caller
    seen_at: float
    missed_at: float = float("-inf")


class KeyRing:
    """The operator's key, and a short memory of the keys in the database.

    Threads of its own look keys up, so that a flood of wrong ones holds up no other work.
    """

    def __init__(
        self,
        operator_key: str,
        look_up: LookUp,
        threads: ThreadPoolExecutor,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._operator = digest_of(operator_key)
        self._look_up = look_up
        self._threads = threads
        self._now = now
        self._known: dict[str, _Known] = {}
        self._looks: dict[str, asyncio.Task[bool]] = {}

    @classmethod
    @contextlib.asynccontextmanager
    async def open(
        cls, operator_key: str, look_up: LookUp, now: Callable[[], float] = time.monotonic
    ) -> AsyncIterator["KeyRing"]:
        """Open a ring; what it is looking up when it closes is dropped."""
        threads = ThreadPoolExecutor(THREADS, thread_name_prefix="look-up-keys")
        ring = cls(operator_key, look_up, threads, now)
        try:
            yield ring
        finally:
            await ring._drop_looks()
            threads.shutdown(wait=False, cancel_futures=True)

    async def find(self, key: str) -> Caller | None:
        """Return whose key this is, None for nobody's.

        Raises StorageUnavailableError where the database is away and the key was not seen in
        the last day; one that was seen goes on.
        """
        digest = digest_of(key)
        if hmac.compare_digest(digest, self._operator):
            return OPERATOR
        if not is_key(key):
            return None
        known = self._known.get(digest)
        if known is not None and self._now() - max(known.seen_at, known.missed_at) < FRESH_S:
            return known.caller
        # A flood of keys that nobody has seen is turned away before it delays those in use.
        is_flooded = known is None and len(self._looks) >= MOST_LOOKS
        if is_flooded or not await self._has_looked(digest):
            return self._without_database(known)
        known = self._known.get(digest)
        return known.caller if known is not None else None

    async def _has_looked(self, digest: str) -> bool:
        """Look a key up, together with all who ask for the same one; False where that failed."""
        look = self._looks.get(digest)
        if look is None:
            look = asyncio.create_task(self._look(digest), name="look up a key")
            self._looks[digest] = look
            look.add_done_callback(lambda _: self._looks.pop(digest, None))
        done, _ = await asyncio.wait({look}, timeout=WAIT_S)
        return bool(done) and look.result()

    async def _look(self, digest: str) -> bool:
        began = self._now()
        loop = asyncio.get_running_loop()
        try:
            key = await loop.run_in_executor(self._threads, self._look_up, digest)
        except StorageUnavailableError as error:
            log.warning("a key could not be looked up", error=str(error))
            return False
        self._known.pop(digest, None)
        if key is not None:
            # Anew at the end: the first ones are those that nobody has used for longest.
            self._known[digest] = _Known(caller_of(key), began)
            while len(self._known) > MOST_KEYS:
                del self._known[next(iter(self._known))]
        return True

    def _without_database(self, known: _Known | None) -> Caller:
        if known is None or self._now() - known.seen_at > GRACE_S:
            raise StorageUnavailableError("the key cannot be looked up at the moment")
        known.missed_at = self._now()
        return known.caller

    async def _drop_looks(self) -> None:
        looks = tuple(self._looks.values())
        for look in looks:
            look.cancel()
        await asyncio.gather(*looks, return_exceptions=True)
