"""The page on queue messages: its program is run as it stands, on Redis and on RabbitMQ."""

import base64
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import redis
from kombu.connection import Connection
from sqlalchemy import Engine, text

from schemas.ids import agent_id_of, new_id
from tests.servers.parts import Part, configure, flush, running_config_worker
from tests.servers.planted import found_under, planted
from tests.servers.rabbitmq import running_rabbitmq
from tests.servers.system import clean_environment
from tests.servers.waiting import wait_for
from workers.secrets.key_files import keys_folder
from workers.secrets.make_keys import make_missing_keys
from workers.settings import Settings
from workers.storage.agents.rows import StoredAgent, find_agent
from workers.storage.database import open_engine, reading
from workers.storage.events.reports import EventReport, list_events

PAGE = (Path(__file__).parents[3] / "docs" / "queue.md").read_text()
MAKE, RENEW, BY_REDIS, BY_AMQP = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
MADE = {"name": "Front desk", "system_prompt": "p", "voice": {"voice_id": "ivy"}}
NOTHING_OF_OURS = "\nimport sys\nassert not {'workers', 'schemas', 'edge'} & sys.modules.keys()\n"


@dataclass
class Queue:
    """A broker with a config worker on it."""

    settings: Settings
    worker: Part
    engine: Engine

    @property
    def url(self) -> str:
        return str(self.settings.broker_url or self.settings.redis_url)

    @property
    def is_redis(self) -> bool:
        return self.settings.broker_url is None

    def run(self, program: str) -> None:
        send = BY_REDIS if self.is_redis else BY_AMQP
        variables = clean_environment(
            BROKER_URL=self.url,
            EDGEWISE_SEALING_PUBLIC_KEY=(
                keys_folder(self.settings.home_path) / "sealing.public"
            ).read_text(),
        )
        code = program + send + NOTHING_OF_OURS
        done = subprocess.run(
            [sys.executable, "-c", code],
            env=variables,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr

    def put(
        self, body: object, changed: dict[str, object] | None = None, *, raw: str | None = None
    ) -> None:
        """Put a message with this body (or this text as it is) and changed headers on the queue."""
        content = json.dumps(body) if raw is None else raw
        headers = {"task": "config.change", "id": new_id("event"), **(changed or {})}
        if not self.is_redis:
            with Connection(self.url) as connection:  # type: ignore[no-untyped-call]  # kombu's
                connection.Producer().publish(
                    content.encode(),
                    routing_key="config",
                    headers={name: value for name, value in headers.items() if value is not None},
                    content_type="application/json",
                    content_encoding="utf-8",
                )
            return
        properties = {
            "body_encoding": "base64",
            "delivery_tag": "the-same",
            "delivery_info": {"exchange": "", "routing_key": "config"},
        }
        self.push(
            json.dumps(
                {
                    "body": base64.b64encode(content.encode()).decode(),
                    "content-type": "application/json",
                    "content-encoding": "utf-8",
                    "headers": headers,
                    "properties": properties,
                }
            )
        )

    def push(self, entry: str | bytes) -> None:
        """Put an entry on the list as it is."""
        with redis.Redis.from_url(self.url) as client:
            client.lpush("config", entry)

    def change(self, **fields: object) -> None:
        """Send a valid message but for these fields."""
        message = {
            "id": new_id("event"),
            "account": "default",
            "external_id": "x",
            "kind": "agent.upsert",
            "agent": MADE,
            **fields,
        }
        self.put([[], {"message": {k: v for k, v in message.items() if v is not None}}, {}])

    def agent(self, external_id: str) -> StoredAgent | None:
        with reading(self.engine) as connection:
            return find_agent(connection, agent_id_of("default", external_id))

    def events(self) -> list[EventReport]:
        with reading(self.engine) as connection:
            return list_events(connection, None, 100)

    def passes_by(self) -> None:
        """See that what was sent before holds up nothing, and that the worker is the same."""
        name = new_id("event")
        self.change(external_id=name)
        wait_for("the one behind is applied", lambda: self.agent(name), within=20)
        assert self.worker.process.poll() is None
        assert self.worker.log.read_text().count("config worker is ready") == 1


@pytest.fixture(scope="module")
def rabbitmq_url() -> Iterator[str]:
    with running_rabbitmq() as url:
        yield url


@pytest.fixture(scope="module", params=["redis", "rabbitmq"])
def queue(
    request: pytest.FixtureRequest, redis_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Queue]:
    settings = Settings(_env_file=None, home=tmp_path_factory.mktemp("home"), redis_url=redis_url)
    if request.param == "rabbitmq":
        settings = configure(settings, broker_url=request.getfixturevalue("rabbitmq_url"))
    make_missing_keys(keys_folder(settings.home_path), {})
    engine = open_engine(settings)
    with running_config_worker(settings) as worker:
        yield Queue(settings, worker, engine)
    engine.dispose()
    flush(settings)


def test_the_program_of_the_page_makes_an_agent_with_a_model_and_its_key(queue: Queue) -> None:
    queue.run(MAKE)
    stored = wait_for("the agent is there", lambda: queue.agent("front-desk"), within=20)
    assert stored.agent.external_id == "front-desk"
    assert [entry.base_url for entry in stored.agent.llm] == ["https://8.8.8.8/v1"]
    with reading(queue.engine) as connection:
        keys = connection.execute(text("SELECT count(*) FROM llm_entries")).scalar()
    assert keys == 1

    assert stored.agent.tools[0].http is not None
    assert stored.agent.tools[0].http.headers[0].name == "Authorization"

    queue.run(MAKE)
    queue.run(MAKE + RENEW)
    wait_for("its key is new", lambda: (a := queue.agent("front-desk")) and a.version == 2)
    queue.change(external_id="front-desk", agent=dict(MADE, name="Renamed"))
    wait_for(
        "it is renamed", lambda: (a := queue.agent("front-desk")) and a.agent.name == "Renamed"
    )
    renamed = queue.agent("front-desk")
    assert renamed is not None
    assert (renamed.version, renamed.agent.llm) == (3, stored.agent.llm), "once, and the key stays"
    assert renamed.agent.tools == stored.agent.tools
    assert not [event.message for event in queue.events() if event.message]


def test_kinds_of_messages_and_a_rejection_that_says_why(queue: Queue) -> None:
    queue.change(external_id="k1")
    queue.change(external_id="k1", kind="agent.change", agent=None, changes={"greeting": "Hello."})
    wait_for("it is changed", lambda: (a := queue.agent("k1")) and a.agent.greeting == "Hello.")
    queue.change(external_id="k1", kind="agent.delete", agent=None)
    wait_for("it is gone", lambda: queue.agent("k1") is None)
    queue.change(external_id="none", kind="agent.change", agent=None, changes={"greeting": "Hi."})
    wait_for(
        "it is rejected",
        lambda: any(event.message == "there is no such agent" for event in queue.events()),
    )


SECRET = planted("queue")
TOOL = {"name": "t", "description": "d"}
DEEP = "[" * 100_000 + "]" * 100_000
BODIES = [
    f'"{SECRET}"',
    "5",
    "null",
    "{}",
    f'{{"args": ["{SECRET}"]}}',
    "[]",
    f'[[], {{"message": "{SECRET}"}}, {{}}]',
    f'[["{SECRET}"], {{}}, {{}}]',
    f'[[], {{"{SECRET}": 1}}, {{}}]',
    f'[[], "{SECRET}", {{}}]',
    f'[[], {{"message": {{}}}}, "{SECRET}"]',
    f'[[], {{"message": {{}}}}, {{}}, "{SECRET}"]',
    f'[[], {{"message": {{}}}} "{SECRET}"',
    '[[], {"message": {"id": NaN, "account": Infinity}}, {}]',
    f'[[], {{"message": {DEEP}}}, {{}}]',
    DEEP,
    "9" * 10_000,
    f'["{SECRET}{"x" * 1_100_000}", {{}}, {{}}]',
]
HEADERS: list[dict[str, object]] = [
    {"task": SECRET},
    {"task": [SECRET]},
    {"task": {"x": SECRET}},
    {"task": None},
    {"task": SECRET, "id": None},
    {"id": None},
    {"id": f"{SECRET} "},
    {"eta": SECRET},
    {"eta": 5},
    {"expires": SECRET},
    {"timelimit": SECRET},
    {"retries": SECRET},
    {"compression": SECRET},
]
FIELDS: list[dict[str, object]] = [
    {"account": "nobody"},
    {"account": f"{SECRET} "},
    {"id": f"{SECRET} "},
    {SECRET: SECRET},
    {"agent_id": SECRET},
    {"external_id": None},
    {"external_id": "\ud800"},
    {"external_id": "\0"},
    {"agent": {**MADE, "name": 5, "voice": SECRET}},
    {"agent": {**MADE, "llm": [{"api_key": SECRET}]}},
    {"llm": [{"base_url": "https://8.8.8.8", "model": "m", "api_key": SECRET}]},
    {"llm": [{"base_url": "https://8.8.8.8", "model": "m", "sealed_api_key": SECRET}]},
    {"llm": [{"base_url": "HTTPS://8.8.8.8/", "model": "m", "sealed_api_key": SECRET}]},
    {"tools": [{**TOOL, "http": {"url": "https://8.8.8.8", "headers": [{"name": SECRET}]}}]},
    {"tools": [{**TOOL, "http": {"url": "https://8.8.8.8", "headers": [{"value": SECRET}]}}]},
    {"tools": [{**TOOL, SECRET: SECRET}]},
    {"tools": [TOOL, TOOL]},
    {"kind": "agent.llm.rotate", "agent": None, "sealed_api_key": SECRET},
    {"kind": "agent.llm.rotate", "agent": None, "api_key": SECRET},
    {"occurred_at": SECRET},
    {"occurred_at": "2026-01-01T00:00:00"},
    {"kind": SECRET},
    {"kind": "agent.delete"},
]


def test_what_is_no_message_is_dropped_not_quoted_and_holds_up_nothing(queue: Queue) -> None:
    before = len(queue.events())
    for body in BODIES:
        queue.put(None, raw=body)
    for headers in HEADERS:
        queue.put([[], {"message": SECRET}, {}], headers)
    for fields in FIELDS:
        queue.change(**fields)
    if queue.is_redis:
        envelope = {"body": SECRET, "properties": {"delivery_tag": 1, "body_encoding": "base64"}}
        for entry in (SECRET, DEEP, "5", f'["{SECRET}"]', b"\xff\xfe", json.dumps(envelope)):
            queue.push(entry)
    queue.passes_by()
    assert len(queue.events()) == before + 1
    assert found_under(queue.settings.home_path) == {}
