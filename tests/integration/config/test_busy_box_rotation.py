"""The key of webhooks' secrets changes while gateways and config workers use it."""

import contextlib
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from sqlalchemy import Engine

from schemas.webhook import MESSAGE_TYPES
from tests.integration.config.test_rotation import run, until, waits_for_a_lock
from tests.integration.config.test_webhook_delivery import (
    POLICY,
    Endpoint,
    attempt,
    box,
    deliverer,
    endpoint,
    receiver,
)
from tests.integration.config.webhook_secrets import (
    box_of,
    fill_secrets,
    formers,
    opened,
    shown,
    stored_secrets,
    under,
)
from tests.servers.parts import running_gateway
from tests.servers.webhook_receiver import Receiver
from tests.servers.webhooks import Sender, new_sender, upsert_body
from workers.errors import StorageUnavailableError
from workers.gateway.configuring.endpoint_keeper import EndpointKeeper
from workers.gateway.configuring.source_keeper import SourceKeeper
from workers.secrets.box_rotation import _replace_key, rotate_box
from workers.secrets.key_files import keys_folder
from workers.secrets.secret_box import SecretBox
from workers.settings import Settings
from workers.storage.database import open_engine, writing
from workers.storage.webhooks.secrets import lock_to_rotate
from workers.webhooks.deliver import Deliverer

__all__ = ["box", "deliverer", "endpoint", "receiver"]


def put_source(engine: Engine, box: SecretBox, name: str) -> None:
    now = datetime.now(UTC)
    keeper = SourceKeeper(engine, box)
    keeper.put("default", name, scheme=None, secret=None, overlap=timedelta(1), now=now)


def add_endpoint(engine: Engine, box: SecretBox, _name: str) -> None:
    keeper = EndpointKeeper(engine, box, POLICY)
    keeper.add("default", "https://example.com/", MESSAGE_TYPES, datetime.now(UTC))


async def test_messages_to_an_endpoint_are_signed_as_before(
    engine: Engine, stored: Settings, receiver: Receiver, endpoint: Endpoint, deliverer: Deliverer
) -> None:
    keys = keys_folder(stored.home_path)
    endpoint.tell()
    assert await attempt(deliverer) == 1
    done = run(stored, "rotate")
    assert done.returncode == 0, done.stderr
    (old,) = formers(keys)
    old.unlink()
    endpoint.tell()
    assert await attempt(deliverer) == 1
    endpoint.tell()
    assert await attempt(Deliverer(engine, box_of(stored), deliverer._poster)) == 1
    assert len(receiver.received) == 3
    for received in receiver.received:
        assert received.verified(endpoint.secret)


def test_a_gateway_verifies_and_keeps_secrets_through_a_rotation(
    engine: Engine, stored: Settings, keys: Path
) -> None:
    with running_gateway(stored) as (part, client):
        before = new_sender(client, "before")
        assert before.send(upsert_body("a")).status_code == 202
        (old,) = under(engine)
        done = run(stored, "rotate")
        assert done.returncode == 0, done.stderr
        new = shown(done.stdout, "current key of webhooks")
        assert shown(done.stdout, "moved of webhooks") == "1"
        after = new_sender(client, "after")
        assert under(engine) == {new: 2}
        (former,) = formers(keys)
        assert former.name == f"webhooks-{old}.private"
        assert former.stat().st_mode & 0o777 == 0o600
        former.unlink()
        for sender in (before, after):
            assert sender.send(upsert_body("b")).status_code == 202
        assert not part.logged("cannot be")
    with running_gateway(stored) as (_, client):
        moved = new_sender(client, "after", overlap_hours=1)
        for sender in (before, after, moved):
            again = Sender(client, urlsplit(sender.url).path, sender.secret)
            assert again.send(upsert_body("c")).status_code == 202


@pytest.mark.parametrize("write", [put_source, add_endpoint])
def test_a_gateway_that_waits_for_a_rotation_writes_under_the_new_key(
    engine: Engine, stored: Settings, keys: Path, write: Callable[[Engine, SecretBox, str], None]
) -> None:
    running = box_of(stored)
    write(engine, running, "before")
    rotating = open_engine(stored)  # another process's
    with ThreadPoolExecutor(1) as pool:
        with writing(rotating) as connection:
            lock_to_rotate(connection)
            waiting = pool.submit(write, engine, running, "meanwhile")
            until(lambda: waiting.running() and waits_for_a_lock(rotating))
            _replace_key(keys)
        waiting.result(10)
    assert under(engine)[box_of(stored).read_again().newest] == 1
    rotating.dispose()


def test_a_rotation_waits_for_a_gateway_that_has_closed_a_secret(
    engine: Engine, stored: Settings, keys: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = box_of(stored)
    put_source(engine, running, "before")
    (old,) = under(engine)
    has_closed, may_go_on = threading.Event(), threading.Event()
    close = running.close

    def slowly(*arguments: object) -> bytes:
        closed = close(*arguments)  # type: ignore[arg-type]
        has_closed.set()
        assert may_go_on.wait(10)
        return closed

    monkeypatch.setattr(running, "close", slowly)
    rotating = open_engine(stored)  # another process's
    with ThreadPoolExecutor(2) as pool:
        writing_it = pool.submit(put_source, engine, running, "meanwhile")
        assert has_closed.wait(10)
        rotated = pool.submit(rotate_box, rotating, box_of(stored), keys)
        until(lambda: rotated.running() and waits_for_a_lock(engine))
        may_go_on.set()
        writing_it.result(10)
        done = rotated.result(10)
    assert done.key_id != old
    assert under(engine) == {done.key_id: 2}
    rotating.dispose()


def test_a_rotation_that_another_overtakes_takes_nothing_for_lost(
    engine: Engine, stored: Settings, keys: Path
) -> None:
    fill_secrets(engine, box_of(stored), 1)
    others = []

    def overtake(_count: int) -> None:
        others.append(rotate_box(engine, box_of(stored), keys))
        fill_secrets(engine, box_of(stored), 300)

    done = rotate_box(engine, box_of(stored), keys, overtake)
    (other,) = others
    assert done.lost == ()
    assert under(engine) == {other.key_id: 301}
    assert len(formers(keys)) == 2


def test_rotations_among_busy_gateways_leave_nothing_on_an_old_key(
    engine: Engine, stored: Settings, keys: Path
) -> None:
    stop = threading.Event()
    fill_secrets(engine, box_of(stored), 300)

    def work(number: int) -> None:
        running, turn = box_of(stored), 0
        while not stop.wait(0.01):
            turn += 1
            with contextlib.suppress(StorageUnavailableError):  # SQLite is fair to nobody
                put_source(engine, running, f"{number}-{turn % 3}")

    rotating = [open_engine(stored) for _ in range(2)]  # other processes'
    with ThreadPoolExecutor(5) as pool:
        working = [pool.submit(work, number) for number in range(3)]
        try:
            for _ in range(3):
                at_once = [pool.submit(rotate_box, each, box_of(stored), keys) for each in rotating]
                for rotation in at_once:
                    assert rotation.result(20).lost == ()
        finally:
            stop.set()
        for done in working:
            done.result(10)
    left, current = box_of(stored), box_of(stored).read_again().newest
    assert set(under(engine)) == {current}
    for former in formers(keys):
        former.unlink()
    assert len(opened(engine, left)) == len(stored_secrets(engine)) > 300
    for each in rotating:
        each.dispose()
