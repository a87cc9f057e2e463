"""Writes webhooks down with their events: all that wait at one time in one transaction.

SQLite has one writer and lets those that wait for it starve; so the threads of this process wait
for each other instead, and whoever has its turn writes for all of them.
"""

import threading
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import IntegrityError

from schemas.config_event import Change
from workers.errors import StorageUnavailableError
from workers.gateway.rest_errors import ApiError
from workers.storage.config_events import take_turn
from workers.storage.config_inbox import accept_event
from workers.storage.database import writing
from workers.storage.source_rows import StoredSource
from workers.storage.webhook_receipts import Receipt, add_receipt, find_receipt, find_same_body

TURN_S: Final = 20.0
"""How long a webhook waits until it is written down, in seconds."""
AT_ONCE: Final = 64
TRIES: Final = 3

Accepted = tuple[str, bool]
"""The id of an event, and whether it is new."""


@dataclass(frozen=True, eq=False)
class VerifiedWebhook:
    """A webhook that is to be written down, and a place for what comes of it."""

    source: StoredSource
    webhook_id: str
    body_hash: str
    change: Change
    sealed: tuple[str, ...] = field(repr=False)
    accepted: "Future[Accepted]" = field(default_factory=Future)


class WebhookWriter:
    """Takes webhooks from any thread."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._lock = threading.Lock()
        self._waiting: list[VerifiedWebhook] = []
        self._turn = threading.Lock()

    def accept(self, webhook: VerifiedWebhook) -> Accepted:
        """Write a webhook down and return its event; one that came before has its event already.

        Blocks. Raises ApiError, 409, where another body came under its id;
        StorageUnavailableError.
        """
        with self._lock:
            self._waiting.append(webhook)
        if self._turn.acquire(timeout=TURN_S):
            try:
                self._write(self._take())
            finally:
                self._turn.release()
        else:
            self._give_up(webhook)
        try:
            return webhook.accepted.result(timeout=TURN_S)
        except TimeoutError:
            raise StorageUnavailableError("the database is busy with other webhooks") from None

    def _give_up(self, webhook: VerifiedWebhook) -> None:
        """Take a webhook back unless it is being written already."""
        with self._lock:
            if webhook in self._waiting:
                self._waiting.remove(webhook)
                reason = "the database is busy with other webhooks"
                webhook.accepted.set_exception(StorageUnavailableError(reason))

    def _take(self) -> list[VerifiedWebhook]:
        with self._lock:
            taken, self._waiting = self._waiting[:AT_ONCE], self._waiting[AT_ONCE:]
        # Locks of agents are taken in one order everywhere, or two gateways wait for each other.
        return sorted(taken, key=lambda webhook: webhook.change.agent_id)

    def _write(self, webhooks: Sequence[VerifiedWebhook]) -> None:
        """Write them in one transaction, tried again where another process was in the way."""
        failure: Exception | None = None
        for _ in range(TRIES if webhooks else 0):
            try:
                with writing(self._engine) as connection:
                    outcomes = [_accept(connection, webhook) for webhook in webhooks]
            except (IntegrityError, StorageUnavailableError) as error:
                failure = error
            except Exception as error:  # noqa: BLE001  # every one that waits gets to know
                failure = error
                break
            else:
                for webhook, outcome in zip(webhooks, outcomes, strict=True):
                    if isinstance(outcome, ApiError):
                        webhook.accepted.set_exception(outcome)
                    else:
                        webhook.accepted.set_result(outcome)
                return
        for webhook in webhooks:
            webhook.accepted.set_exception(failure or StorageUnavailableError("not written"))


def _accept(connection: Connection, webhook: VerifiedWebhook) -> Accepted | ApiError:
    take_turn(connection, webhook.change.agent_id)
    known = _known(connection, webhook)
    if known is not None:
        if known.body_hash == webhook.body_hash:
            return known.event_id, False
        message = "another body came under this id before"
        return ApiError(409, "idempotency_key_reuse", message, param="webhook-id")
    event_id = accept_event(connection, webhook.change, sealed=webhook.sealed)
    receipt = Receipt(webhook.body_hash, event_id)
    add_receipt(connection, webhook.source.id, webhook.webhook_id, receipt, datetime.now(UTC))
    return event_id, True


def _known(connection: Connection, webhook: VerifiedWebhook) -> Receipt | None:
    """Return what came before under this id.

    GitHub signs the body alone, not the id: a body that came before is the same webhook under
    whatever id.
    """
    source = webhook.source
    receipt = find_receipt(connection, source.id, webhook.webhook_id)
    if receipt is None and source.scheme == "github":
        receipt = find_same_body(connection, source.id, webhook.body_hash)
    return receipt
