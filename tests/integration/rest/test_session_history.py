"""The history of sessions over REST, on each database."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from sqlalchemy import Engine

from schemas.error import ErrorBody
from schemas.ids import new_id
from tests.integration.rest.test_every_route import AGENT, BODIES
from tests.integration.session_history.entries import message, turn
from tests.servers.accounts import MadeKey, make_account, make_key
from tests.servers.parts import running_gateway
from workers.secrets.key_files import keys_folder
from workers.secrets.make_keys import make_missing_keys
from workers.settings import Settings
from workers.storage.database import open_engine, writing
from workers.storage.sessions.documents import to_document
from workers.storage.sessions.rows import end_session, put_entry, put_session

BEGAN = datetime(2026, 3, 1, 12, tzinfo=UTC)
ACCOUNT = "historians"


@pytest.fixture(scope="module")
def key(system_settings: Settings) -> MadeKey:
    make_account(system_settings, ACCOUNT)
    return make_key(system_settings, "configure", "talk", account=ACCOUNT)


@pytest.fixture
def mine(client: httpx.Client, key: MadeKey) -> Iterator[httpx.Client]:
    """A client with the key of an account of its own, empty at the start."""
    with httpx.Client(
        base_url=client.base_url, headers={"Authorization": key.text}, timeout=20
    ) as own:
        assert own.delete("/v1/sessions").status_code == 200
        yield own


@pytest.fixture
def engine(system_settings: Settings) -> Iterator[Engine]:
    engine = open_engine(system_settings)
    yield engine
    engine.dispose()


def add(engine: Engine, second: int = 0, *, entries: int = 0, account: str = ACCOUNT) -> str:
    session_id = new_id("session")
    began = BEGAN + timedelta(seconds=second)
    with writing(engine) as connection:
        put_session(connection, session_id, account, "agent_" + "0" * 32, began)
        for number in range(entries):
            entry = message(number) if number % 2 else turn(number)
            document, bodies = to_document(entry)
            put_entry(connection, session_id, entry.id, entry.at, document, bodies=bodies)
        end_session(connection, session_id, "client", began + timedelta(seconds=90))
    return session_id


def code_of(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, ErrorBody.model_validate_json(answer.content).code


def test_sessions_are_listed_newest_first_page_by_page(mine: httpx.Client, engine: Engine) -> None:
    made = [add(engine, second) for second in (0, 1, 1, 2, 3)]
    seen: list[str] = []
    query: dict[str, str | int] = {"limit": 2}
    while True:
        page = mine.get("/v1/sessions", params=query).raise_for_status().json()
        seen += [session["id"] for session in page["sessions"]]
        assert len(page["sessions"]) <= 2
        if not page["has_more"]:
            break
        query["cursor"] = page["response_metadata"]["next_cursor"]
    assert (seen[0], seen[1], seen[4]) == (made[4], made[3], made[0])
    assert set(seen) == set(made)
    assert page["sessions"][-1] == {
        "id": made[0],
        "agent_id": "agent_" + "0" * 32,
        "status": "ended",
        "reason": "client",
        "started_at": "2026-03-01T12:00:00Z",
        "ended_at": "2026-03-01T12:01:30Z",
        "duration_s": 90.0,
    }


def test_a_session_shows_what_was_said_and_sent(mine: httpx.Client, engine: Engine) -> None:
    session_id = add(engine, entries=3)
    record = mine.get(f"/v1/sessions/{session_id}").raise_for_status().json()
    assert [entry["type"] for entry in record["timeline"]] == ["turn", "message", "turn"]
    told = record["timeline"][0]
    assert (told["user"], told["reply"]) == ("What time is it?", "It is noon.")
    assert told["sent"][0]["messages"] == [dict(one) for one in turn().sent[0].messages]
    assert record["has_more"] is False
    first = mine.get(f"/v1/sessions/{session_id}", params={"limit": 2}).json()
    assert first["has_more"] is True
    cursor = first["response_metadata"]["next_cursor"]
    rest = mine.get(f"/v1/sessions/{session_id}", params={"cursor": cursor}).json()
    assert first["timeline"] + rest["timeline"] == record["timeline"]


WRONG = ["limit=0", "limit=201", "limit=x", "limit=%206", "limit=6.0", "limit=6_0", "limit=%D9%A6"]
WRONG += ["limit=", "limit=2&limit=6", "cursor=x", "cursor=%00"]


@pytest.mark.parametrize("query", WRONG)
def test_a_query_that_is_wrong_is_refused(mine: httpx.Client, engine: Engine, query: str) -> None:
    session_id = add(engine)
    for path in ("/v1/sessions", f"/v1/sessions/{session_id}"):
        assert code_of(mine.get(f"{path}?{query}")) == (422, "validation_error")


def test_the_history_of_another_account_is_not_there(
    mine: httpx.Client, client: httpx.Client, engine: Engine
) -> None:
    others = add(engine, account="default")
    own = add(engine)
    for path in (others, "session_" + "0" * 32, "session_x", "agent_" + "0" * 32):
        for method in ("GET", "DELETE"):
            answer = mine.request(method, f"/v1/sessions/{path}")
            assert code_of(answer) == (404, "session_not_found"), (method, path)
    assert [one["id"] for one in mine.get("/v1/sessions").json()["sessions"]] == [own]
    assert mine.delete("/v1/sessions").json() == {"removed": 1, "has_more": False}
    assert client.get(f"/v1/sessions/{others}").status_code == 200
    assert client.delete(f"/v1/sessions/{others}").status_code == 204


def test_a_session_is_there_while_it_lasts_and_until_it_is_removed(
    mine: httpx.Client, system_settings: Settings
) -> None:
    agent = mine.post("/v1/agents", json=AGENT).raise_for_status().json()["id"]
    asked = BODIES["post", "/v1/agents/{agent_id}/sessions"]
    opened = mine.post(f"/v1/agents/{agent}/sessions", **asked)
    path = opened.headers["location"]
    active = mine.get(path).raise_for_status().json()
    assert (active["status"], active["reason"], active["agent_id"]) == ("active", None, agent)
    assert mine.delete(path).status_code == 204
    ended = mine.get(path).raise_for_status().json()
    assert (ended["status"], ended["reason"]) == ("ended", "deleted")
    talker = make_key(system_settings, "talk", account=ACCOUNT)
    headers = {"Authorization": talker.text}
    assert code_of(mine.delete(path, headers=headers)) == (404, "session_not_found")
    assert code_of(mine.get(path, headers=headers)) == (401, "unauthorized")
    assert mine.delete(path).status_code == 204
    assert code_of(mine.delete(path)) == (404, "session_not_found")


def test_a_gateway_that_is_stopped_says_so_of_its_sessions(
    mine: httpx.Client, system_settings: Settings, key: MadeKey, tmp_path: Path
) -> None:
    agent = mine.post("/v1/agents", json=AGENT).raise_for_status().json()["id"]
    asked = BODIES["post", "/v1/agents/{agent_id}/sessions"]
    headers = {**asked["headers"], "Authorization": key.text}
    settings = Settings(
        _env_file=None,
        home=tmp_path,
        redis_url=system_settings.redis_url,
        database_url=system_settings.database,
    )
    make_missing_keys(keys_folder(settings.home_path), {})
    with running_gateway(settings) as (part, second):
        opened = second.post(
            f"/v1/agents/{agent}/sessions", content=asked["content"], headers=headers
        )
        assert opened.status_code == 201
        part.stop()
    record = mine.get(opened.headers["location"]).raise_for_status().json()
    assert (record["status"], record["reason"]) == ("ended", "shutdown")


def test_a_session_of_another_gateway_cannot_be_removed_while_it_lasts(
    mine: httpx.Client, engine: Engine
) -> None:
    session_id = new_id("session")
    with writing(engine) as connection:
        put_session(connection, session_id, ACCOUNT, "agent_" + "0" * 32, datetime.now(UTC))
    assert code_of(mine.delete(f"/v1/sessions/{session_id}")) == (409, "invalid_request")
    assert mine.delete("/v1/sessions").json()["removed"] == 0
    assert mine.get(f"/v1/sessions/{session_id}").json()["status"] == "active"
