"""Which messages are sent next, however many wait, on both databases."""

from collections import Counter
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Engine

from schemas.ids import new_id
from tests.integration.config.keys import NOW
from workers.settings import Settings
from workers.storage.database import open_engine, reading, writing
from workers.storage.tables import to_microseconds
from workers.storage.upgrade import upgrade_engine
from workers.storage.webhooks.deliveries import Bounds, claim, find_due
from workers.storage.webhooks.tables import webhook_deliveries

BOUNDS = Bounds(in_all=16, of_account=16, of_endpoint=4)


def wait(
    engine: Engine, endpoint_id: str, *, count: int = 1, since_s: float = 1, account: str = "a"
) -> None:
    """Let messages for an endpoint be due since so many seconds, and one after the other."""
    due_at = to_microseconds(NOW - timedelta(seconds=since_s))
    shared = {
        "account": account,
        "endpoint_id": endpoint_id,
        "type": "session.ended",
        "body": "{}",
        "status": "pending",
        "created_at": due_at,
        "gives_up_at": to_microseconds(NOW + timedelta(days=3)),
    }
    rows = [{**shared, "id": new_id("msg"), "due_at": due_at + n} for n in range(count)]
    with writing(engine) as connection:
        connection.execute(sa.insert(webhook_deliveries), rows)


def take(
    engine: Engine,
    under_way: Mapping[str, int] | None = None,
    *,
    at: datetime = NOW,
    bounds: Bounds = BOUNDS,
) -> list[str]:
    """Claim what is next; return the endpoints, as often as there is a message for each."""
    busy = {("a", endpoint_id): count for endpoint_id, count in (under_way or {}).items()}
    with reading(engine) as connection:
        found = find_due(connection, at, bounds, busy)
    with writing(engine) as connection:
        return [each.endpoint_id for each in claim(connection, found, at + timedelta(seconds=30))]


def test_the_longest_due_come_first_and_only_so_many_of_one_endpoint(engine: Engine) -> None:
    for number, endpoint in enumerate("abcdef"):
        wait(engine, endpoint, count=6, since_s=60 - number)
    assert Counter(take(engine)) == dict.fromkeys("abcd", 4)
    busy = {"a": 4, "b": 4, "c": 3, "d": 1}
    more = BOUNDS._replace(in_all=23, of_account=23)
    assert Counter(take(engine, busy, bounds=more)) == {"c": 1, "d": 2, "e": 4, "f": 4}
    few = BOUNDS._replace(in_all=3)
    assert Counter(take(engine, bounds=few)) == {"a": 2, "b": 1}
    assert Counter(take(engine)) == {"b": 1, "c": 1, "e": 2, "f": 2}
    assert take(engine) == []
    assert len(take(engine, at=NOW + timedelta(seconds=29))) == 0
    assert len(take(engine, at=NOW + timedelta(seconds=31))) == BOUNDS.in_all


def test_an_account_with_many_slow_endpoints_holds_up_no_other(engine: Engine) -> None:
    for endpoint in "abcdef":
        wait(engine, endpoint, count=9, since_s=60)
    wait(engine, "z", count=9, since_s=1, account="z")
    bounds = BOUNDS._replace(of_account=12)
    assert Counter(take(engine, bounds=bounds)) == {"a": 4, "b": 4, "c": 4, "z": 4}
    # With all slots taken, the next that is free goes to whoever has fewest.
    wait(engine, "y", since_s=1, account="y")
    free = BOUNDS._replace(in_all=13)
    assert take(engine, {"a": 4, "b": 4, "c": 4}, bounds=free) == ["y"]


def test_what_is_not_due_or_settled_is_left_and_holds_nothing_up(engine: Engine) -> None:
    wait(engine, "a", count=3, since_s=-1)
    wait(engine, "b", count=2, since_s=0)
    with writing(engine) as connection:
        connection.execute(
            sa.update(webhook_deliveries)
            .where(webhook_deliveries.c.due_at == to_microseconds(NOW))
            .values(status="delivered")
        )
    wait(engine, "c", since_s=0)
    assert take(engine, at=NOW + timedelta(microseconds=1)) == ["c", "b"]


def test_of_two_who_found_the_same_message_one_takes_it(engine: Engine) -> None:
    wait(engine, "a", count=2)
    with reading(engine) as connection:
        found = find_due(connection, NOW, Bounds(9, 9, 9), {})
    until = NOW + timedelta(seconds=30)
    with writing(engine) as connection:
        first = claim(connection, found[:1], until)
    with writing(engine) as connection:
        second = claim(connection, found, until)
    assert [each.id for each in first + second] == [each.id for each in found]
    assert [each.attempts for each in first + second] == [1, 1]


def test_looking_for_one_takes_no_longer_where_many_wait(settings: Settings) -> None:
    engine = open_engine(settings)
    upgrade_engine(engine)
    wait(engine, "a", count=50)
    few = steps_to_take(engine)
    wait(engine, "a", count=5_000)
    assert steps_to_take(engine) < 1.5 * few
    engine.dispose()


def steps_to_take(engine: Engine) -> int:
    """Claim what is next; return how many instructions SQLite ran for that."""
    steps = Counter[str]()

    def watch(connection: Connection) -> None:
        driver: Any = connection.connection.driver_connection
        driver.set_progress_handler(lambda: steps.update("n"), 1)

    sa.event.listen(engine, "begin", watch)
    assert len(take(engine)) == BOUNDS.of_endpoint
    sa.event.remove(engine, "begin", watch)
    engine.dispose()
    return steps.total()
