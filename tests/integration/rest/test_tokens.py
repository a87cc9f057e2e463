"""Short-lived tokens: each opens one session of its account, and nothing else."""

from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
import redis

from tests.servers.accounts import (
    Keys,
    assert_refused,
    opened,
)
from tests.servers.waiting import wait_for
from workers.settings import Settings


@pytest.fixture
def token(client: httpx.Client, keys: Keys) -> str:
    answer = client.post("/v1/tokens", headers=keys.talk.headers)
    assert answer.status_code == 201, answer.text
    assert answer.headers["cache-control"] == "no-store"
    return str(answer.json()["token"])


def test_a_token_opens_one_session(client: httpx.Client, agent_id: str, token: str) -> None:
    session = opened(client, agent_id, token)
    assert session.status_code == 201, session.text
    again = opened(client, agent_id, token)
    assert_refused(again, 401, "unauthorized")
    assert token not in again.text
    assert client.delete(session.headers["location"]).status_code == 204


def test_of_many_who_use_a_token_at_once_one_gets_in(
    client: httpx.Client, agent_id: str, token: str
) -> None:
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: opened(client, agent_id, token), range(8)))
    assert sorted(answer.status_code for answer in answers) == [201] + [401] * 7
    for answer in answers:
        if answer.status_code == 201:
            client.delete(answer.headers["location"])


def test_a_token_opens_nothing_else_and_is_not_used_up_by_trying(
    client: httpx.Client, agent_id: str, token: str
) -> None:
    headers = {"Authorization": f"Bearer {token}"}
    for answer in (
        client.get("/v1/agents", headers=headers),
        client.post("/v1/tokens", headers=headers),
        client.delete("/v1/sessions/session_" + "0" * 32, headers=headers),
    ):
        assert_refused(answer, 401, "unauthorized")
    session = opened(client, agent_id, token)
    assert session.status_code == 201, session.text
    client.delete(session.headers["location"])


def test_a_token_is_its_accounts(client: httpx.Client, keys: Keys, agent_id: str) -> None:
    token = client.get("/v1/token", headers=keys.other.headers).json()["token"]
    assert_refused(opened(client, agent_id, token), 404, "agent_not_found")


def test_a_token_expires(client: httpx.Client, agent_id: str, system_settings: Settings) -> None:
    answer = client.get("/v1/token?expires_in_seconds=1")
    assert answer.json()["expires_in_seconds"] == 1
    token = answer.json()["token"]
    with redis.Redis.from_url(str(system_settings.redis_url)) as connection:
        wait_for("it is gone", lambda: not list(connection.scan_iter("token:*")), within=3)
    assert_refused(opened(client, agent_id, token), 401, "unauthorized")


def test_redis_holds_no_token(client: httpx.Client, token: str, system_settings: Settings) -> None:
    assert client.get("/healthz").status_code == 200
    with redis.Redis.from_url(str(system_settings.redis_url)) as connection:
        held = {key: connection.get(key) for key in connection.scan_iter("token:*")}
        assert held
        assert token.encode() not in repr(held).encode()
        assert all(0 < connection.ttl(key) <= 60 for key in held)


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ({"expires_in_seconds": 0}, "expires_in_seconds"),
        ({"expires_in_seconds": 601}, "expires_in_seconds"),
        ({"expires_in_seconds": "x"}, "expires_in_seconds"),
        ({"max_session_duration_seconds": 59}, "max_session_duration_seconds"),
        ({"max_session_duration_seconds": 10_801}, "max_session_duration_seconds"),
    ],
)
def test_the_bounds_of_a_token_are_kept(
    client: httpx.Client, query: dict[str, object], param: str
) -> None:
    for answer in (
        client.get("/v1/token", params={name: str(value) for name, value in query.items()}),
        client.post("/v1/tokens", json=query),
    ):
        assert_refused(answer, 422, "validation_error")
        assert answer.json()["param"] == param


def test_the_longest_and_the_shortest_token_are_made(client: httpx.Client) -> None:
    for expires, lasts in ((1, 60), (600, 10_800)):
        asked = {"expires_in_seconds": expires, "max_session_duration_seconds": lasts}
        assert client.post("/v1/tokens", json=asked).status_code == 201
        assert client.get("/v1/token", params=asked).json()["expires_in_seconds"] == expires
    assert_refused(client.post("/v1/tokens", json={"scope": "admin"}), 422, "validation_error")
