"""What the tests of waiting changes share: a moment, and what is told of an event."""

from datetime import timedelta

from sqlalchemy import Engine

from tests.integration.config.keys import NOW
from workers.storage.database import reading
from workers.storage.events.reports import EventReport, report_event

RESTED = NOW + timedelta(seconds=60)
"""Whatever rests has rested by then."""


def report(engine: Engine, event_id: str) -> EventReport:
    with reading(engine) as connection:
        found = report_event(connection, event_id)
    assert found is not None
    return found
