"""Messages to endpoints: sent, sent again, given up, on both databases and real sockets."""

import json
import signal
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
import sqlalchemy as sa
from sqlalchemy import Engine
from typer.testing import CliRunner, Result

from schemas.ids import new_id
from schemas.webhook import MESSAGE_TYPES
from tests.integration.config.keys import NOW, accept, change, new_vault, upsert
from tests.integration.config.rested import report
from tests.integration.config.stored_agents import apply_at
from tests.servers.parts import configure, environment, running_config_worker
from tests.servers.waiting import wait_for
from tests.servers.webhook_receiver import Receiver, running_receiver
from workers.commands.webhooks import webhooks
from workers.gateway.configuring.endpoint_keeper import EndpointKeeper
from workers.providers.base_url_allow import parse_allow
from workers.providers.base_url_policy import BaseUrlPolicy
from workers.secrets.key_files import keys_folder
from workers.secrets.secret_box import SecretBox
from workers.settings import Settings
from workers.storage.database import reading, writing
from workers.storage.events.withdrawal import withdraw_overdue
from workers.storage.webhooks.deliveries import Delivery, list_deliveries
from workers.storage.webhooks.endpoints import StoredEndpoint, find_endpoint
from workers.storage.webhooks.outbox import announce
from workers.webhooks.deliver import LEASE, Deliverer
from workers.webhooks.post import Poster

POLICY = BaseUrlPolicy(parse_allow("127.0.0.1"))


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with running_receiver() as running:
        yield running


@pytest.fixture
def box(stored: Settings) -> SecretBox:
    new_vault(stored)
    return SecretBox(keys_folder(stored.home_path), {})


@pytest.fixture
async def deliverer(engine: Engine, box: SecretBox) -> AsyncIterator[Deliverer]:
    async with Poster.open(POLICY) as poster:
        yield Deliverer(engine, box, poster)


class Endpoint:
    def __init__(self, engine: Engine, box: SecretBox, url: str, account: str = "default") -> None:
        keeper = EndpointKeeper(engine, box, POLICY)
        kept, secret = keeper.add(account, url, MESSAGE_TYPES, datetime.now(UTC))
        self.id = kept.endpoint.id
        self.secret = secret.get_secret_value()
        self._engine = engine

    @property
    def stored(self) -> StoredEndpoint:
        with reading(self._engine) as connection:
            found = find_endpoint(connection, self.id)
        assert found is not None
        return found

    def tell(self, at: datetime | None = None) -> str:
        """Write a message down; return its id."""
        with writing(self._engine) as connection:
            told = announce(
                connection, "default", "config_event.applied", {"n": 1}, at or datetime.now(UTC)
            )
            assert told == 1
        return deliveries(self._engine)[0].id


@pytest.fixture
def endpoint(engine: Engine, box: SecretBox, receiver: Receiver) -> Endpoint:
    return Endpoint(engine, box, receiver.url)


def deliveries(engine: Engine) -> list[Delivery]:
    with reading(engine) as connection:
        return list_deliveries(connection, limit=100)


async def attempt(deliverer: Deliverer, at: datetime | None = None) -> int:
    """Send what is due; return how many messages that were."""
    claimed = deliverer._claim(at or datetime.now(UTC))
    for each in claimed:
        deliverer._under_way[each.account, each.endpoint_id] += 1
        await deliverer.deliver(each)
    return len(claimed)


async def test_what_becomes_of_an_event_is_told_in_a_signed_message(
    engine: Engine, receiver: Receiver, endpoint: Endpoint, deliverer: Deliverer
) -> None:
    event = upsert().model_copy(update={"llm": ()})
    applied = accept(engine, event)
    assert apply_at(engine, applied, NOW) is not None
    rejected = accept(engine, change(new_id("agent"), name="b"))
    assert apply_at(engine, rejected, NOW) is not None
    assert await attempt(deliverer, datetime.now(UTC)) == 2
    messages = [received.verified(endpoint.secret) for received in receiver.received]
    told = {each["data"]["event_id"]: each for each in messages}
    assert told[applied]["type"] == "config_event.applied"
    about = {"event_id": applied, "kind": "agent.upsert", "agent_id": event.agent_id}
    assert told[applied]["data"] == about
    assert told[rejected]["type"] == "config_event.rejected"
    assert told[rejected]["data"]["code"] == "agent_not_found"
    assert told[rejected]["data"]["message"] == "there is no such agent"
    assert [each.status for each in deliveries(engine)] == ["delivered"] * 2
    assert endpoint.stored.delivered_at is not None
    assert receiver.received[0].headers["content-type"] == "application/json"


async def test_a_dead_event_is_told_without_its_reason_and_a_withdrawn_one_not(
    engine: Engine, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("sk-planted")

    monkeypatch.setattr("workers.agent_config.settling.build_agent", fail)
    late = accept(engine, upsert(), expires_at=NOW)
    with writing(engine) as connection:
        assert withdraw_overdue(connection, NOW) == 1
    plain, until = {"llm": ()}, NOW + timedelta(seconds=9)
    event_id = accept(engine, upsert().model_copy(update=plain))
    called = accept(engine, upsert().model_copy(update=plain), expires_at=until)
    for seconds in (0, 2, 4):
        for each in (event_id, called):
            apply_at(engine, each, NOW + timedelta(seconds=seconds))
    assert report(engine, called).status == "dead", "its caller is told, and nobody else"
    (dead,) = deliveries(engine)
    assert dead.endpoint_id == endpoint.id
    assert dead.type == "config_event.dead"
    data = json.loads(dead.body)["data"]
    assert set(data) == {"event_id", "kind", "agent_id"}
    assert data["event_id"] == event_id != late


async def test_a_500_is_tried_again_later_under_the_same_id(
    engine: Engine, receiver: Receiver, endpoint: Endpoint, deliverer: Deliverer
) -> None:
    told = endpoint.tell()
    receiver.status, receiver.body = 500, b"x" * 1_000_000
    for number, pause in ((1, 5), (2, 20), (3, 80)):
        (due,) = deliveries(engine)
        began = max(due.due_at, datetime.now(UTC))
        assert await attempt(deliverer, began) == 1
        (waiting,) = deliveries(engine)
        assert (waiting.status, waiting.attempts, waiting.last_status) == ("pending", number, 500)
        later = (waiting.due_at - datetime.now(UTC)).total_seconds()
        assert 0.8 * pause - 2 < later <= 1.2 * pause
    in_an_hour = format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)
    for asks in ("3600", in_an_hour):
        receiver.status, receiver.headers = 503, {"retry-after": asks}
        assert await attempt(deliverer, deliveries(engine)[0].due_at) == 1
        (asked,) = deliveries(engine)
        assert asked.due_at > datetime.now(UTC) + timedelta(minutes=59)
    receiver.status = 200
    assert await attempt(deliverer, asked.due_at - timedelta(seconds=1)) == 0
    assert await attempt(deliverer, asked.due_at) == 1
    assert {each.id for each in receiver.received} == {told}
    assert len(receiver.received) == 6
    for each in receiver.received:
        each.verified(endpoint.secret)
    assert deliveries(engine)[0].status == "delivered"


@pytest.mark.parametrize("status", [301, 307, 400, 404, 429])
async def test_what_is_no_2xx_is_no_delivery_and_a_redirect_is_not_followed(
    engine: Engine, receiver: Receiver, endpoint: Endpoint, deliverer: Deliverer, status: int
) -> None:
    endpoint.tell()
    receiver.status, receiver.headers = status, {"location": receiver.url}
    assert await attempt(deliverer) == 1
    assert len(receiver.received) == 1
    assert deliveries(engine)[0].status == "pending"


def command(settings: Settings, *words: str) -> Result:
    """Run a command of `edgewise webhooks` here."""
    return CliRunner().invoke(webhooks, words, env=environment(settings))


async def test_a_410_ends_it_until_somebody_sends_again(
    engine: Engine,
    stored: Settings,
    receiver: Receiver,
    endpoint: Endpoint,
    deliverer: Deliverer,
) -> None:
    ids = {endpoint.tell() for _ in range(3)}
    receiver.status = 410
    assert await attempt(deliverer) == 3
    assert endpoint.stored.disabled_at is not None
    assert {(each.id, each.status) for each in deliveries(engine)} == {
        (id_, "failed") for id_ in ids
    }
    with writing(engine) as connection:
        assert announce(connection, "default", "config_event.applied", {}, NOW) == 0
    listed = command(stored, "list", "--status", "failed", "--json")
    assert {json.loads(line)["id"] for line in listed.stdout.splitlines()} == ids
    receiver.status = 200
    before = len(receiver.received)
    one = next(iter(ids))
    assert command(stored, "resend", one).exit_code == 0
    assert json.loads(command(stored, "show", one).stdout)["status"] == "pending"
    assert command(stored, "resend", one).exit_code == 1
    assert command(stored, "resend", "--failed").exit_code == 0
    assert await attempt(deliverer) == 3
    assert {each.id for each in receiver.received[before:]} == ids
    assert {each.status for each in deliveries(engine)} == {"delivered"}
    assert command(stored, "resend", new_id("msg")).exit_code == 1


async def test_after_three_days_it_has_failed_and_a_silent_endpoint_is_disabled(
    engine: Engine, receiver: Receiver, endpoint: Endpoint, deliverer: Deliverer
) -> None:
    long_ago = datetime.now(UTC) - timedelta(days=3, seconds=1)
    endpoint.tell(long_ago)
    receiver.status = 500
    assert await attempt(deliverer) == 1
    assert deliveries(engine)[0].status == "failed"
    assert endpoint.stored.disabled_at is not None


async def test_what_fails_at_an_endpoint_that_takes_others_in_does_not_disable_it(
    engine: Engine, receiver: Receiver, endpoint: Endpoint, deliverer: Deliverer
) -> None:
    endpoint.tell()
    await attempt(deliverer)
    endpoint.tell(datetime.now(UTC) - timedelta(days=3, seconds=1))
    receiver.status = 500
    await attempt(deliverer)
    assert sorted(each.status for each in deliveries(engine)) == ["delivered", "failed"]
    assert endpoint.stored.disabled_at is None


async def test_an_address_that_is_not_public_is_not_dialled(
    engine: Engine, box: SecretBox, receiver: Receiver
) -> None:
    for url in (receiver.url, "http://169.254.169.254/", "https://127.0.0.1/hook"):
        endpoint = Endpoint(engine, box, url)
        with writing(engine) as connection:
            connection.execute(sa.text("DELETE FROM webhook_deliveries"))
            announce(connection, "default", "config_event.applied", {}, datetime.now(UTC))
        async with Poster.open(BaseUrlPolicy()) as poster:
            await attempt(Deliverer(engine, box, poster))
        refused = {each.endpoint_id: each for each in deliveries(engine)}[endpoint.id]
        assert refused.last_error in {"blocked_address", "invalid_value"}
        assert refused.last_status is None
    assert receiver.received == []


async def test_one_slow_endpoint_holds_up_no_other(
    engine: Engine, box: SecretBox, receiver: Receiver, deliverer: Deliverer
) -> None:
    slow = Endpoint(engine, box, receiver.url)
    for _ in range(40):
        slow.tell(datetime.now(UTC) - timedelta(minutes=1))
    first = deliverer._claim(datetime.now(UTC))
    assert len(first) == 4
    for each in first:
        deliverer._under_way[each.account, each.endpoint_id] += 1
    other = Endpoint(engine, box, receiver.url)
    with writing(engine) as connection:
        announce(connection, "default", "session.ended", {}, datetime.now(UTC))
    second = deliverer._claim(datetime.now(UTC))
    assert {each.endpoint_id for each in second} == {other.id}


@pytest.mark.slow
def test_a_message_outlives_the_worker_that_is_killed_over_it(
    engine: Engine, stored: Settings, receiver: Receiver, endpoint: Endpoint
) -> None:
    settings = configure(stored, webhook_allow="127.0.0.1")
    receiver.may_answer.clear()
    with running_config_worker(settings) as part:
        told = endpoint.tell()
        wait_for("it is being sent", lambda: receiver.received, within=10)
        part.stop(signal.SIGKILL)
    (left,) = deliveries(engine)
    assert left.status == "pending"
    assert left.due_at - datetime.now(UTC) < LEASE
    receiver.may_answer.set()
    with writing(engine) as connection:
        connection.execute(sa.text("UPDATE webhook_deliveries SET due_at = 0"))
    with running_config_worker(settings):
        wait_for("it is delivered", lambda: deliveries(engine)[0].status == "delivered", within=10)
    assert {each.id for each in receiver.received} == {told}
    assert len(receiver.received) == 2
