"""How a batch comes in: its body in pieces, then the word that its rows may be applied."""

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Final, TypeVar

import structlog
from celery import Celery
from kombu.exceptions import OperationalError as BrokerError
from redis.exceptions import RedisError
from sqlalchemy import Engine
from sqlalchemy.exc import IntegrityError

from schemas.batch import Batch, BatchAccepted, RowError
from schemas.ids import new_id
from workers.batch_files.rows import RowReader
from workers.errors import StorageUnavailableError
from workers.gateway.configuring.batch_places import BatchPlaces
from workers.gateway.configuring.batch_stager import SILENT_S, BatchStager
from workers.gateway.configuring.sealer import Sealer
from workers.gateway.rest_errors import ApiError
from workers.storage.batches.batch import (
    HeldKey,
    errors_after,
    extend,
    find_batch,
    find_by_key,
    open_batch,
)
from workers.storage.database import reading, writing
from workers.storage.events.inbox import send_batch

THREADS: Final = 2
"""Bodies that are read at once; others wait, and so does what else they bring."""
PIECE: Final = 65_536
KEEPS: Final = 3
"""How often a batch is kept within the time after which it would be swept."""
AT_ONCE: Final = 2
"""Groups of one batch that workers apply at once."""

Answer = TypeVar("Answer")
log = structlog.get_logger(__name__)


class BatchInbox:
    """Takes batches in on threads of its own, so that sessions and REST do not wait for them."""

    def __init__(
        self,
        engine: Engine,
        celery: Celery,
        sealer: Sealer,
        threads: ThreadPoolExecutor,
        silent_s: float,
    ) -> None:
        self._engine = engine
        self._celery = celery
        self._sealer = sealer
        self._threads = threads
        self._silent = timedelta(seconds=silent_s)
        self._places = BatchPlaces()

    @classmethod
    @contextlib.contextmanager
    def open(
        cls, engine: Engine, celery: Celery, sealer: Sealer, *, silent_s: float = SILENT_S
    ) -> Iterator["BatchInbox"]:
        """Open it; its threads end with it."""
        threads = ThreadPoolExecutor(THREADS, thread_name_prefix="batch")
        try:
            yield cls(engine, celery, sealer, threads, silent_s)
        finally:
            threads.shutdown(wait=False, cancel_futures=True)

    async def take(
        self,
        account: str,
        media_type: str,
        reader: RowReader,
        key: str | None,
        body: AsyncIterator[bytes],
    ) -> BatchAccepted:
        """Take a batch in, or none of it, and return it; it is applied from then on.

        The same idempotency key with the same body has the same answer again. Raises ApiError,
        also where too many are being received, and StorageUnavailableError.
        """
        with self._places.take(account):
            return await self._take(account, media_type, reader, key, body)

    async def _take(
        self,
        account: str,
        media_type: str,
        reader: RowReader,
        key: str | None,
        body: AsyncIterator[bytes],
    ) -> BatchAccepted:
        digest = hashlib.sha256(media_type.encode() + b"\0")
        held = None if key is None else await self._run(self._held, account, key)
        if held is not None:
            return await _replay(held, body, digest)
        batch_id = new_id("batch")
        await self._run(self._open, batch_id, account, key)
        stager = BatchStager(
            self._engine, self._sealer, account, batch_id, reader, silent=self._silent
        )
        try:
            async with self._kept(batch_id):
                async for piece in _pieces(body):
                    digest.update(piece)
                    await self._run(stager.feed, piece)
            accepted = await self._run(stager.finish, digest.hexdigest())
        except BaseException as error:
            await asyncio.shield(self._run(stager.give_up))
            if isinstance(error, ApiError):  # an answer is read when all is sent
                async for _ in body:
                    pass
            raise
        if accepted.status == "running":
            await self._run(self._send, batch_id)
        return accepted

    async def find(self, account: str, batch_id: str) -> Batch | None:
        """Return how far a batch is, None where this account has no such batch."""
        return await asyncio.to_thread(self._find, account, batch_id)

    async def errors(self, batch_id: str, line: int, limit: int) -> list[RowError]:
        """Return up to `limit` errors of a batch, by line, from behind this one on."""
        return await asyncio.to_thread(self._errors, batch_id, line, limit)

    @contextlib.asynccontextmanager
    async def _kept(self, batch_id: str) -> AsyncIterator[None]:
        """Keep a batch from being swept while its body is read, however slowly that comes."""
        keeping = asyncio.create_task(self._keep(batch_id), name=f"keep {batch_id}")
        try:
            yield
        finally:
            keeping.cancel()
            await asyncio.wait([keeping])

    async def _keep(self, batch_id: str) -> None:
        while True:
            await asyncio.sleep(self._silent.total_seconds() / KEEPS)
            with contextlib.suppress(StorageUnavailableError):  # the next one may still be in time
                await self._run(self._extend, batch_id)

    async def _run(self, work: Callable[..., Answer], *arguments: object) -> Answer:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, work, *arguments)

    def _held(self, account: str, key: str) -> HeldKey | None:
        with reading(self._engine) as connection:
            return find_by_key(connection, account, key)

    def _open(self, batch_id: str, account: str, key: str | None) -> None:
        now = datetime.now(UTC)
        due_at = now + self._silent
        try:
            with writing(self._engine) as connection:
                open_batch(connection, batch_id, account, key, now=now, due_at=due_at)
        except IntegrityError:
            raise _in_progress() from None

    def _extend(self, batch_id: str) -> None:
        with writing(self._engine) as connection:
            extend(connection, batch_id, datetime.now(UTC) + self._silent)

    def _send(self, batch_id: str) -> None:
        """Tell the workers; where that fails, one of them finds out by itself."""
        try:
            for _ in range(AT_ONCE):
                send_batch(self._celery, batch_id)
        except (BrokerError, RedisError) as error:
            log.warning("a batch is sent later", batch_id=batch_id, error=type(error).__name__)

    def _find(self, account: str, batch_id: str) -> Batch | None:
        with reading(self._engine) as connection:
            return find_batch(connection, account, batch_id)

    def _errors(self, batch_id: str, line: int, limit: int) -> list[RowError]:
        with reading(self._engine) as connection:
            return errors_after(connection, batch_id, line, limit)


async def _replay(
    held: HeldKey, body: AsyncIterator[bytes], digest: "hashlib._Hash"
) -> BatchAccepted:
    """Return the answer that the key had, where the body is the same."""
    if held.body_hash is None:
        raise _in_progress()
    async for piece in body:
        digest.update(piece)
    if digest.hexdigest() != held.body_hash:
        message = "another body came with this idempotency key before"
        raise ApiError(409, "idempotency_key_reuse", message)
    return held.answer


async def _pieces(body: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Yield a body in pieces that are worth a change of threads."""
    held = bytearray()
    async for part in body:
        held += part
        while len(held) >= PIECE:
            yield bytes(held[:PIECE])
            del held[:PIECE]
    yield bytes(held)


def _in_progress() -> ApiError:
    message = "a batch with this idempotency key is being received"
    return ApiError(409, "idempotency_in_progress", message, headers={"Retry-After": "2"})
