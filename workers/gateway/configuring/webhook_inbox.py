"""From a verified webhook to its config event: once for each id, however often it comes."""

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from typing import Final, NamedTuple, TypeVar

import structlog
from celery import Celery
from kombu.exceptions import OperationalError as BrokerError
from redis.exceptions import RedisError
from sqlalchemy import Engine

from workers.errors import (
    CredentialsUnavailableError,
    KeysUnavailableError,
)
from workers.gateway.configuring.group_writer import GroupWriter, together_or_alone
from workers.gateway.configuring.sealer import Sealer
from workers.gateway.configuring.webhook_events import check_age, read_event, to_change
from workers.gateway.configuring.webhook_writer import Accepted, VerifiedWebhook, write_webhooks
from workers.gateway.rest_errors import ApiError, unavailable
from workers.secrets.secret_box import SecretBox
from workers.storage.database import reading
from workers.storage.events.inbox import send_events
from workers.storage.webhooks.secrets import StoredSecret, valid_secrets
from workers.storage.webhooks.sources import StoredSource, find_source
from workers.webhooks.signature import SecretFormError, key_of

THREADS: Final = 8
"""One of them writes; the others read sources, verify and seal."""
TURN_S: Final = 20.0
"""How long a webhook waits until it is written down, in seconds."""
FRESH_S: Final = 2.0
"""How long a source is believed without another look, in seconds: a removed one stops by then."""
MOST_KNOWN: Final = 1_000
MOST_UNDER_WAY: Final = 512
MOST_UNSENT: Final = 1_000
"""How many messages may wait for the queue; events of others are sent by a config worker, later."""
Result = TypeVar("Result")

log = structlog.get_logger(__name__)


class Sender(NamedTuple):
    """A source and what it may sign with."""

    source: StoredSource
    keys: tuple[tuple[bytes, datetime | None], ...]
    """Each with the moment until which it is valid."""
    seen_at: float

    def keys_at(self, now: datetime) -> list[bytes]:
        """Return the keys that are valid then."""
        return [key for key, until in self.keys if until is None or now < until]


class WebhookInbox:
    """Takes webhooks in; what blocks runs on threads of its own."""

    def __init__(
        self,
        engine: Engine,
        celery: Celery,
        box: SecretBox,
        sealer: Sealer,
        *,
        threads: ThreadPoolExecutor,
        publisher: ThreadPoolExecutor,
    ) -> None:
        self._engine = engine
        self._celery = celery
        self._box = box
        self._sealer = sealer
        self._threads = threads
        self._publisher = publisher
        self._unsent = 0
        self._under_way = 0
        self._writer = GroupWriter[VerifiedWebhook, Accepted](self._write, turn_s=TURN_S)
        self._senders: dict[str, Sender] = {}

    @classmethod
    @contextlib.asynccontextmanager
    async def open(
        cls, engine: Engine, celery: Celery, box: SecretBox, sealer: Sealer
    ) -> AsyncIterator["WebhookInbox"]:
        """Open it; its threads end with it."""
        threads = ThreadPoolExecutor(THREADS, thread_name_prefix="webhooks")
        publisher = ThreadPoolExecutor(1, thread_name_prefix="publish-webhooks")
        try:
            inbox = cls(engine, celery, box, sealer, threads=threads, publisher=publisher)
            async with inbox._writer.closing():
                yield inbox
        finally:
            threads.shutdown(wait=False, cancel_futures=True)
            publisher.shutdown(wait=False, cancel_futures=True)

    async def sender(self, source_id: str, *, is_fresh: bool) -> Sender | None:
        """Return a source with its keys, or None; unless `is_fresh`, as it was 2 s ago at most.

        Raises ApiError, 503, where no secret can be opened; the log says what is to be mended.
        StorageUnavailableError.
        """
        loop = asyncio.get_running_loop()
        known = self._senders.get(source_id)
        if known is not None and not is_fresh and loop.time() - known.seen_at < FRESH_S:
            return known
        sender = await self._run(self._find, source_id, loop.time())
        self._senders.pop(source_id, None)
        if sender is not None:
            self._senders[source_id] = sender
            while len(self._senders) > MOST_KNOWN:
                del self._senders[next(iter(self._senders))]
        return sender

    async def take(self, source: StoredSource, webhook_id: str | None, body: bytes) -> str:
        """Write down what a verified webhook asks for and return the id of its config event.

        Raises ApiError: 409 where another body came under this id, 422 for an event that is not
        valid; StorageUnavailableError.
        """
        webhook = await self._run(self._verified, source, webhook_id, body)
        event_id, _ = await self._writer.write(webhook)
        return event_id

    async def _write(self, webhooks: Sequence[VerifiedWebhook]) -> list[Accepted | Exception]:
        """Write webhooks down together and send those that are new in one message."""
        loop = asyncio.get_running_loop()
        write = partial(write_webhooks, self._engine)
        written = await loop.run_in_executor(self._threads, together_or_alone, write, webhooks)
        accepted = [each for each in written if not isinstance(each, Exception)]
        self._publish([event_id for event_id, is_new in accepted if is_new])
        return written

    async def _run(self, work: Callable[..., Result], *arguments: object) -> Result:
        if self._under_way >= MOST_UNDER_WAY:
            raise unavailable("there are too many webhooks at once")
        self._under_way += 1
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._threads, work, *arguments)
        finally:
            self._under_way -= 1

    def _find(self, source_id: str, seen_at: float) -> Sender | None:
        with reading(self._engine) as connection:
            source = find_source(connection, source_id)
            if source is None:
                return None
            secrets = valid_secrets(connection, source_id, datetime.now(UTC))
        opened = [(self._key(source, each), each.expires_at) for each in secrets]
        keys = tuple((key, until) for key, until in opened if key is not None)
        if secrets and not keys:
            raise unavailable("the signature cannot be checked at the moment")
        return Sender(source, keys, seen_at)

    def _key(self, source: StoredSource, stored: StoredSecret) -> bytes | None:
        try:
            return key_of(source.scheme, self._box.open(stored.secret, stored.place))
        except (KeysUnavailableError, CredentialsUnavailableError, SecretFormError) as error:
            log.error("a webhook secret cannot be used", secret=stored.id, reason=str(error))  # noqa: TRY400  # frames of a traceback hold the secret
            return None

    def _verified(
        self, source: StoredSource, webhook_id: str | None, body: bytes
    ) -> VerifiedWebhook:
        event = read_event(body)
        if source.scheme == "github":  # it signs no time, so nothing else bounds a replay
            check_age(event)
        webhook_id = webhook_id or event.id
        if webhook_id is None:
            message = "id: the event has none"
            raise ApiError(422, "validation_error", message, param="id")
        body_hash = hashlib.sha256(body).hexdigest()
        change, sealed = to_change(source.account, event, self._sealer)
        return VerifiedWebhook(source, webhook_id, body_hash, change, sealed)

    def _publish(self, event_ids: Sequence[str]) -> None:
        """Send events without waiting: where they get lost, a config worker sends them again."""
        if not event_ids or self._unsent >= MOST_UNSENT:
            return
        self._unsent += 1
        loop = asyncio.get_running_loop()
        sent = loop.run_in_executor(self._publisher, self._send, event_ids)
        sent.add_done_callback(self._sent)

    def _send(self, event_ids: Sequence[str]) -> None:
        try:
            send_events(self._celery, event_ids)
        except (BrokerError, RedisError) as error:
            log.warning("events were not sent", event_ids=event_ids, error=type(error).__name__)

    def _sent(self, sent: "asyncio.Future[None]") -> None:
        self._unsent -= 1
        if not sent.cancelled() and (error := sent.exception()) is not None:
            log.error("an event could not be sent", error=type(error).__name__)
