"""The way in for every config event: written down first, then its id on the queue.

Whoever accepts a change, with a caller that waits or without, comes through here.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from celery import Celery
from sqlalchemy import Connection, func, select

from schemas.batch import BATCH_TASK, BatchTask
from schemas.config_event import CONFIG_QUEUE, CONFIG_TASK, Change, ConfigTask
from schemas.ids import new_id
from workers.storage.config_events import add_event, take_turn
from workers.storage.tables import config_events, from_microseconds

RESEND_S: Final = 10.0
"""An event that is not settled after this many seconds is sent again."""


def accept_event(
    connection: Connection,
    change: Change,
    *,
    sealed: Sequence[str] = (),
    lives_s: float | None = None,
) -> str:
    """Write a change down as a pending event and return its id; send that once committed.

    With `lives_s` nobody applies it later than that many seconds from now. Without, it is
    applied, rejected or dead in the end: where the sending is lost, a config worker sends it
    again. `sealed` are the keys of its LLM entries, in order. Events of one agent are applied
    in the order in which they passed here, whatever the clocks of their hosts say.
    """
    take_turn(connection, change.agent_id)
    now = datetime.now(UTC)
    last = connection.execute(
        select(func.max(config_events.c.accepted_at)).where(
            config_events.c.agent_id == change.agent_id
        )
    ).scalar()
    accepted_at = now
    if last is not None:
        accepted_at = max(now, from_microseconds(last) + timedelta(microseconds=1))
    event_id = new_id("event")
    add_event(
        connection,
        event_id,
        change,
        accepted_at=accepted_at,
        expires_at=None if lives_s is None else now + timedelta(seconds=lives_s),
        due_at=now + timedelta(seconds=RESEND_S),
        sealed=sealed,
    )
    return event_id


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


def send_event(celery: Celery, event_id: str, expires_s: float | None = None) -> None:
    """Put the id of an event on the queue; blocks, raises kombu's OperationalError."""
    celery.send_task(
        CONFIG_TASK,
        kwargs={"message": ConfigTask(event_id=event_id).model_dump(mode="json")},
        queue=CONFIG_QUEUE,
        expires=expires_s,
        ignore_result=True,
    )
