"""A session that is lost with its gateway is told of, where nothing is kept of what was said."""

import signal
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest
import sqlalchemy as sa

from tests.acceptance.model import Model
from tests.acceptance.talking import start_talk
from tests.servers.databases import database_of
from tests.servers.system import System, running_system
from tests.servers.waiting import wait_for
from tests.servers.webhook_receiver import Receiver, running_receiver

pytestmark = pytest.mark.slow


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with running_receiver() as receiver:
        yield receiver


@pytest.fixture
def forgetful(shared_model: Model) -> Iterator[System]:
    """A system that keeps nothing of what is said."""
    with running_system(
        EDGEWISE_SESSION_HISTORY_DAYS="0",
        EDGEWISE_WEBHOOK_ALLOW="127.0.0.1",
        EDGEWISE_MANAGED_LLM_BASE_URL=shared_model.url,
        EDGEWISE_MANAGED_LLM_MODEL="scripted",
    ) as running:
        yield running


def rows(system: System, table: str) -> int:
    engine = sa.create_engine(database_of(system.home) or f"sqlite:///{system.home}/edgewise.db")
    with engine.connect() as connection:
        return int(connection.execute(sa.text(f"SELECT count(*) FROM {table}")).scalar_one())


def test_a_session_lost_with_its_gateway_is_told_of_once_and_nothing_was_kept_of_it(
    forgetful: System, model: Model, receiver: Receiver, go_forward: Path
) -> None:
    agent = forgetful.agent()
    asked = {"url": receiver.url, "events": ["session.ended"]}
    made = httpx.post(
        f"{forgetful.url}/v1/webhook-endpoints", json=asked, headers=forgetful.headers, timeout=20
    )
    assert made.status_code == 201, made.text
    model.says("Ten it is.", "Again.")
    talking = start_talk(forgetful, agent, go_forward, go_forward)
    try:
        wait_for("a turn", lambda: model.requests, within=40)
        pid = forgetful.part("gateway")
        assert pid is not None
        psutil.Process(pid).send_signal(signal.SIGKILL)
    finally:
        talking.process.kill()
        talking.finish()
    wait_for("a ready system", forgetful.is_ready, within=30)

    wait_for("the end of the session", lambda: receiver.received, within=75)
    message = receiver.received[0].verified(made.json()["secret"])

    assert (message["type"], message["data"]["reason"]) == ("session.ended", "lost")
    assert message["data"]["agent_id"] == agent
    assert [rows(forgetful, table) for table in ("session_entries", "session_messages")] == [0, 0]
    assert rows(forgetful, "webhook_deliveries") == 1
