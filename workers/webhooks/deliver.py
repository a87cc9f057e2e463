"""Sends messages to endpoints until they are taken in or three days have passed.

A thread of every config worker with an event loop of its own. Several workers do not send the
same message at once: it is claimed in the database first. At least once, in no particular order.
"""

import asyncio
import contextlib
import os
import random
import ssl
import threading
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Final

import structlog
from sqlalchemy import Connection, Engine

from workers.errors import (
    CredentialsUnavailableError,
    KeysUnavailableError,
    StorageUnavailableError,
)
from workers.providers.base_url_allow import webhooks_allow
from workers.providers.base_url_policy import BaseUrlPolicy
from workers.secrets.key_files import keys_folder
from workers.secrets.secret_box import SecretBox
from workers.settings import Settings
from workers.storage.database import reading, writing
from workers.storage.webhooks.deliveries import (
    Bounds,
    Delivery,
    Whose,
    claim,
    fail_all_of,
    find_due,
    forget_old_deliveries,
    settle,
)
from workers.storage.webhooks.endpoints import (
    StoredEndpoint,
    disable_endpoint,
    find_endpoint,
    note_delivered,
)
from workers.storage.webhooks.outbox import TRIED_FOR, DeliveryStatus
from workers.storage.webhooks.receipts import forget_old_receipts
from workers.storage.webhooks.secrets import valid_secrets
from workers.webhooks.backoff import next_attempt
from workers.webhooks.post import AT_ONCE, ATTEMPT_S, Outcome, Poster
from workers.webhooks.signature import key_of, signed_headers

EVERY_S: Final = 0.5
"""How often it looks for messages that are due."""
LEASE: Final = timedelta(seconds=2 * ATTEMPT_S)
BOUNDS: Final = Bounds(in_all=AT_ONCE, of_account=12, of_endpoint=4)
SWEEP_S: Final = 600.0
SWEPT: Final = 1_000

log = structlog.get_logger(__name__)


@contextlib.contextmanager
def delivering(engine: Engine, settings: Settings, trusted: ssl.SSLContext) -> Iterator[None]:
    """Deliver messages in a thread of its own until the end."""
    stop = threading.Event()
    policy = BaseUrlPolicy(webhooks_allow(settings))
    box = SecretBox(keys_folder(settings.home_path), os.environ)

    async def run() -> None:
        async with Poster.open(policy, trusted) as poster:
            await Deliverer(engine, box, poster).run(stop)

    thread = threading.Thread(target=lambda: asyncio.run(run()), name="webhooks", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(timeout=2)


class Deliverer:
    """Claims what is due, sends it, notes what came of it."""

    def __init__(self, engine: Engine, box: SecretBox, poster: Poster) -> None:
        self._engine = engine
        self._box = box
        self._poster = poster
        self._under_way: Counter[Whose] = Counter()

    async def run(self, stop: threading.Event) -> None:
        """Work until `stop` is set; what is under way then is sent again by the next process."""
        loop = asyncio.get_running_loop()
        swept_at = float("-inf")
        tasks: set[asyncio.Task[None]] = set()
        while not stop.is_set():
            try:
                if loop.time() - swept_at > SWEEP_S:
                    swept_at = loop.time()
                    await asyncio.to_thread(self._sweep, datetime.now(UTC))
                claimed = await asyncio.to_thread(self._claim, datetime.now(UTC))
            except StorageUnavailableError as error:
                log.warning("webhooks are not sent", error=str(error))
                claimed = []
            for delivery in claimed:
                self._under_way[delivery.account, delivery.endpoint_id] += 1
                task = asyncio.create_task(self.deliver(delivery), name=delivery.id)
                tasks.add(task)
                task.add_done_callback(tasks.discard)
            if tasks:
                await asyncio.wait(tasks, timeout=EVERY_S, return_when=asyncio.FIRST_COMPLETED)
            else:
                await asyncio.sleep(EVERY_S)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def deliver(self, delivery: Delivery) -> None:
        """Make one attempt at a message and note what came of it."""
        try:
            endpoint, keys = await asyncio.to_thread(self._open, delivery.endpoint_id)
            if endpoint is None or endpoint.disabled_at is not None:
                outcome = Outcome(status=410)
            else:
                now, body = datetime.now(UTC), delivery.body.encode()
                headers = signed_headers(delivery.id, body, keys, now.timestamp())
                outcome = await self._poster.post(endpoint.url, body, headers)
            await asyncio.to_thread(self._note, delivery, outcome, datetime.now(UTC))
        except (
            StorageUnavailableError,
            KeysUnavailableError,
            CredentialsUnavailableError,
        ) as error:
            # Its lease runs out, and then it is due again.
            log.warning("a webhook was not sent", id=delivery.id, reason=str(error))
        finally:
            self._under_way[delivery.account, delivery.endpoint_id] -= 1

    def _claim(self, now: datetime) -> list[Delivery]:
        if self._under_way.total() >= BOUNDS.in_all:
            return []
        with reading(self._engine) as connection:
            found = find_due(connection, now, BOUNDS, self._under_way)
        if not found:
            return []
        with writing(self._engine) as connection:
            return claim(connection, found, now + LEASE)

    def _open(self, endpoint_id: str) -> tuple[StoredEndpoint | None, list[bytes]]:
        with reading(self._engine) as connection:
            endpoint = find_endpoint(connection, endpoint_id)
            stored = valid_secrets(connection, endpoint_id, datetime.now(UTC))
        secrets = (self._box.open(each.secret, each.place) for each in stored)
        return endpoint, [key_of("standard", secret) for secret in secrets]

    def _note(self, delivery: Delivery, outcome: Outcome, now: datetime) -> None:
        again = None
        if not outcome.is_delivered and not outcome.is_gone:
            again = next_attempt(
                delivery.attempts,
                now,
                delivery.gives_up_at,
                chance=random.random(),  # noqa: S311  # spreads load, guards nothing
                asked=outcome.retry_after,
            )
        status: DeliveryStatus = "pending" if again is not None else "failed"
        if outcome.is_delivered:
            status = "delivered"
        with writing(self._engine) as connection:
            is_mine = settle(
                connection,
                delivery,
                status,
                now=now,
                last_status=outcome.status,
                last_error=outcome.error,
                due_at=again,
            )
            if is_mine and status == "delivered":
                note_delivered(connection, delivery.endpoint_id, now)
            is_disabled = (
                is_mine and status == "failed" and self._disable(connection, delivery, outcome, now)
            )
        log.info(
            "a webhook was sent",
            id=delivery.id,
            type=delivery.type,
            attempt=delivery.attempts,
            status=status,
            answer=outcome.status or outcome.error,
        )
        if is_disabled:
            log.warning("a webhook endpoint is disabled", endpoint_id=delivery.endpoint_id)

    def _disable(
        self, connection: Connection, delivery: Delivery, outcome: Outcome, now: datetime
    ) -> bool:
        """Stop sending to an endpoint that is gone, or took nothing in for as long as this took."""
        since = None if outcome.is_gone else delivery.gives_up_at - TRIED_FOR
        if not disable_endpoint(connection, delivery.endpoint_id, now, silent_since=since):
            return False
        fail_all_of(connection, delivery.endpoint_id, now)
        return True

    def _sweep(self, now: datetime) -> None:
        for forget in (forget_old_receipts, forget_old_deliveries):
            count = SWEPT
            while count == SWEPT:
                with writing(self._engine) as connection:
                    count = forget(connection, now, SWEPT)
