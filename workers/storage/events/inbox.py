"""The way in for every config event: written down first, then its id on the queue.

Whoever accepts a change, with a caller that waits or without, comes through here.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

from celery import Celery
from sqlalchemy import Connection

from schemas.batch import BATCH_TASK, BatchTask
from schemas.config_event import CONFIG_QUEUE, CONFIG_TASK, Change, ConfigTask
from schemas.ids import new_id
from workers.storage.events.rows import NewEvent, add_events, newest_accepted, take_turns
from workers.storage.tables import to_microseconds

RESEND_S: Final = 10.0
"""An event that is not settled after this many seconds is sent again."""


class SealedChange(NamedTuple):
    """A change that is to be written down."""

    change: Change
    sealed: Sequence[str] = ()
    """The keys of its LLM entries, in order, and then the values of its tools' headers."""


def accept_event(
    connection: Connection,
    change: Change,
    *,
    sealed: Sequence[str] = (),
    lives_s: float | None = None,
) -> str:
    """As `accept_events`, for one change."""
    return accept_events(connection, [SealedChange(change, sealed)], lives_s=lives_s)[0]


def accept_events(
    connection: Connection, changes: Sequence[SealedChange], *, lives_s: float | None = None
) -> list[str]:
    """Write changes down as pending events and return their ids; send those once committed.

    With `lives_s` nobody applies them later than that many seconds from now. Without, each is
    applied, rejected or dead in the end: where the sending is lost, a config worker sends it
    again. Events of one agent are applied in the order in which they passed here, whatever the
    clocks of their hosts say.
    """
    agents = {change.agent_id for change, _ in changes}
    take_turns(connection, agents)
    now = datetime.now(UTC)
    moment = to_microseconds(now)
    expires_at = None if lives_s is None else to_microseconds(now + timedelta(seconds=lives_s))
    due_at = to_microseconds(now + timedelta(seconds=RESEND_S))
    last, events = newest_accepted(connection, agents), list[NewEvent]()
    for change, sealed in changes:
        accepted_at = max(moment, last.get(change.agent_id, 0) + 1)
        last[change.agent_id] = accepted_at
        event_id = new_id("event")
        events.append(NewEvent(event_id, change, accepted_at, expires_at, due_at, sealed))
    add_events(connection, events)
    return [event.event_id for event in events]


def send_batch(celery: Celery, batch_id: str, countdown_s: float | None = None) -> None:
    """Put the id of a batch on the queue; blocks, raises kombu's OperationalError.

    Each such message applies one group of its rows, and sends another one while rows are left.
    """
    celery.send_task(
        BATCH_TASK,
        kwargs={"message": BatchTask(batch_id=batch_id).model_dump(mode="json")},
        queue=CONFIG_QUEUE,
        countdown=countdown_s,
        ignore_result=True,
    )


def send_event(celery: Celery, event_id: str) -> None:
    """Put the id of an event on the queue; blocks, raises kombu's OperationalError."""
    send_events(celery, [event_id])


def send_events(
    celery: Celery, event_ids: Sequence[str], *, expires_s: float | None = None
) -> None:
    """As `send_event`, for up to `MOST_AT_ONCE` in one message, which are applied together."""
    task = ConfigTask(event_id=event_ids[0], others=tuple(event_ids[1:]))
    celery.send_task(
        CONFIG_TASK,
        kwargs={"message": task.model_dump(mode="json")},
        queue=CONFIG_QUEUE,
        expires=expires_s,
        ignore_result=True,
    )
