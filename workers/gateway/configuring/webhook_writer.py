"""Writes webhooks down with their events: all that wait at one time in one transaction.

SQLite has one writer and lets those that wait for it starve; so the webhooks of this process wait
for each other instead.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import IntegrityError

from schemas.config_event import Change
from workers.errors import StorageUnavailableError
from workers.gateway.rest_errors import ApiError
from workers.storage.database import writing
from workers.storage.events.inbox import accept_event
from workers.storage.events.rows import take_turns
from workers.storage.webhooks.receipts import Receipt, add_receipt, find_receipt, find_same_body
from workers.storage.webhooks.sources import StoredSource

TRIES: Final = 3

Accepted = tuple[str, bool]
"""The id of an event, and whether it is new."""


@dataclass(frozen=True, eq=False)
class VerifiedWebhook:
    """A webhook that is to be written down."""

    source: StoredSource
    webhook_id: str
    body_hash: str
    change: Change
    sealed: tuple[str, ...] = field(repr=False)


def write_webhooks(
    engine: Engine, webhooks: Sequence[VerifiedWebhook]
) -> list[Accepted | ApiError]:
    """Write webhooks down and return their events; one that came before has its event already.

    Blocks. An ApiError, 409, stands for one under whose id another body came. Tried again where
    another process was in the way; raises StorageUnavailableError.
    """
    for _ in range(TRIES - 1):
        try:
            return _write(engine, webhooks)
        except (IntegrityError, StorageUnavailableError):
            continue
    return _write(engine, webhooks)


def _write(engine: Engine, webhooks: Sequence[VerifiedWebhook]) -> list[Accepted | ApiError]:
    with writing(engine) as connection:
        take_turns(connection, {webhook.change.agent_id for webhook in webhooks})
        return [_accept(connection, webhook) for webhook in webhooks]


def _accept(connection: Connection, webhook: VerifiedWebhook) -> Accepted | ApiError:
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
