"""Several accounts and their keys, made on the command line, on both databases."""

import time

import httpx
import pytest
import sqlalchemy as sa

from tests.servers.accounts import (
    AGENT,
    OTHER_ACCOUNT,
    SDP,
    Keys,
    MadeKey,
    assert_refused,
    edgewise,
    make_key,
    opened,
    revoke,
)
from tests.servers.parts import KEY, Part, client_of, running_part
from tests.servers.waiting import wait_for
from workers.settings import Settings
from workers.storage.database import open_engine


def test_a_key_configures_and_talks_for_its_own_account(
    client: httpx.Client, keys: Keys, agent_id: str
) -> None:
    for key in (keys.admin, keys.configure):
        found = client.get(f"/v1/agents/{agent_id}", headers=key.headers)
        assert found.status_code == 200, found.text
    for key in (keys.admin, keys.talk):
        session = opened(client, agent_id, key)
        assert session.status_code == 201, session.text
        ended = client.delete(session.headers["location"], headers=key.headers)
        assert ended.status_code == 204


def test_an_empty_offer_asks_whether_a_key_may_talk_and_opens_nothing(
    client: httpx.Client, keys: Keys, agent_id: str
) -> None:
    def asked(agent: str, key: MadeKey) -> httpx.Response:
        return client.post(f"/v1/agents/{agent}/sessions", headers={**SDP, **key.headers})

    assert_refused(asked(agent_id, keys.talk), 400, "invalid_request")
    assert_refused(asked("agent_" + "0" * 32, keys.talk), 404, "agent_not_found")
    assert_refused(asked(agent_id, keys.configure), 401, "unauthorized")


def test_a_missing_scope_is_named(client: httpx.Client, keys: Keys, agent_id: str) -> None:
    for key, scope, answer in (
        (keys.talk, "configure", client.get("/v1/agents", headers=keys.talk.headers)),
        (keys.llm, "configure", client.post("/v1/agents", headers=keys.llm.headers)),
        (keys.configure, "talk", opened(client, agent_id, keys.configure)),
        (keys.llm, "talk", client.get("/v1/token", headers=keys.llm.headers)),
    ):
        assert_refused(answer, 401, "unauthorized")
        assert f"`{scope}`" in answer.json()["message"]
        assert f'scope="{scope}"' in answer.headers["www-authenticate"]
        assert key.text not in answer.text


def test_two_accounts_see_nothing_of_each_other(
    client: httpx.Client, keys: Keys, agent_id: str
) -> None:
    theirs = client.post("/v1/agents", json=AGENT, headers=keys.other.headers)
    assert theirs.status_code == 201, theirs.text
    their_id = theirs.json()["id"]
    assert_refused(client.get(f"/v1/agents/{their_id}"), 404, "agent_not_found")
    assert_refused(opened(client, agent_id, keys.other), 404, "agent_not_found")
    listed = client.get("/v1/agents", headers=keys.other.headers).json()["agents"]
    assert [agent["id"] for agent in listed] == [their_id]
    assert their_id not in client.get("/v1/agents?limit=200").text


def test_a_cursor_of_another_account_leads_to_nothing_of_it(
    client: httpx.Client, keys: Keys
) -> None:
    for _ in range(2):
        client.post("/v1/agents", json=AGENT).raise_for_status()
    page = client.get("/v1/agents?limit=1").json()
    cursor = page["response_metadata"]["next_cursor"]
    own = {agent["id"] for agent in client.get("/v1/agents?limit=200").json()["agents"]}
    answer = client.get("/v1/agents", params={"cursor": cursor}, headers=keys.other.headers)
    assert not own & {agent["id"] for agent in answer.json()["agents"]}


def test_a_new_key_works_at_once_and_a_revoked_one_stops_within_three_seconds(
    client: httpx.Client, system_settings: Settings
) -> None:
    key = make_key(system_settings, "configure")
    assert client.get("/v1/agents", headers=key.headers).status_code == 200
    revoke(system_settings, key)
    began = time.monotonic()
    wait_for(
        "the key is refused",
        lambda: client.get("/v1/agents", headers=key.headers).status_code == 401,
        within=3,
    )
    assert time.monotonic() - began < 3
    assert_refused(client.get("/v1/agents", headers=key.headers), 401, "unauthorized")
    assert client.get("/v1/agents").status_code == 200


def test_a_key_in_memory_goes_on_although_its_table_cannot_be_read(
    client: httpx.Client, keys: Keys, system_settings: Settings
) -> None:
    client.get("/v1/voices", headers=keys.configure.headers).raise_for_status()
    engine = open_engine(system_settings)
    with engine.begin() as connection:
        connection.execute(sa.text("ALTER TABLE api_keys RENAME TO hidden"))
    try:
        for _ in range(20):
            answer = client.get("/v1/voices", headers=keys.configure.headers)
            assert answer.status_code == 200
    finally:
        with engine.begin() as connection:
            connection.execute(sa.text("ALTER TABLE hidden RENAME TO api_keys"))
        engine.dispose()


def test_a_key_is_kept_as_a_hash_and_shown_once(
    client: httpx.Client, keys: Keys, system_settings: Settings, gateway: tuple[Part, httpx.Client]
) -> None:
    client.get("/v1/agents", headers=keys.admin.headers).raise_for_status()
    assert_refused(
        client.get("/v1/agents", headers={"Authorization": "ew_no"}), 401, "unauthorized"
    )
    listed = edgewise(system_settings, "keys", "list")
    assert keys.admin.id in listed.stdout
    engine = open_engine(system_settings)
    with engine.connect() as connection:
        rows = repr(connection.execute(sa.text("SELECT * FROM api_keys")).all())
    engine.dispose()
    log = gateway[0].log.read_text()
    assert keys.admin.id in rows
    assert keys.admin.id in log  # who called
    for key in (keys.admin, keys.configure, keys.talk, keys.llm, keys.other):
        assert key.text not in rows + listed.stdout + listed.stderr + log
    assert KEY not in log


def test_the_file_of_the_database_holds_no_key(keys: Keys, system_settings: Settings) -> None:
    for file in system_settings.home_path.glob("edgewise.db*"):
        content = file.read_bytes()
        assert keys.admin.text.encode() not in content


def test_the_llm_gateway_takes_keys_with_the_scope_llm(
    client: httpx.Client, keys: Keys, system_settings: Settings
) -> None:
    assert client.get("/healthz").status_code == 200
    with (
        running_part(system_settings, "llm-gateway") as part,
        client_of(system_settings, part, "llm-gateway") as models,
    ):
        wanted = {keys.llm: 200, keys.admin: 200, keys.other: 200, keys.talk: 401}
        for key, status in wanted.items():
            answer = models.get("/v1/models", headers=key.headers)
            assert answer.status_code == status, answer.text
        assert answer.json()["error"]["code"] == "missing_scope"
        assert models.get("/v1/models", headers={"Authorization": "no"}).status_code == 401
        for path in ("/v1/usage?account=default", "/metrics"):
            assert models.get(path, headers=keys.admin.headers).status_code == 200
            for key in (keys.other, keys.llm) if path == "/metrics" else (keys.other,):
                assert models.get(path, headers=key.headers).status_code == 401
        own = models.get("/v1/usage", headers=keys.other.headers)
        assert own.json()["account"] == OTHER_ACCOUNT
        assert models.get("/v1/models").status_code == 200
        assert not part.logged(keys.llm.text)


@pytest.mark.parametrize(
    "words",
    [
        ("accounts", "create", OTHER_ACCOUNT),
        ("accounts", "create", "Not A Name"),
        ("keys", "create", "--scope", "talk", "--account", "nobody"),
        ("keys", "create", "--scope", "everything"),
        ("keys", "create"),
        ("keys", "revoke", "key_" + "0" * 32),
    ],
)
def test_a_command_that_makes_no_sense_says_why_and_fails(
    keys: Keys, system_settings: Settings, words: tuple[str, ...]
) -> None:
    assert keys.other.id
    done = edgewise(system_settings, *words)
    assert done.returncode != 0
    assert done.stdout == ""
    assert done.stderr
    assert "Traceback" not in done.stderr


def test_accounts_are_listed_and_keys_by_account(keys: Keys, system_settings: Settings) -> None:
    listed = edgewise(system_settings, "accounts", "list").stdout
    head, *names = [line.split()[0] for line in listed.splitlines()]
    assert head == "ACCOUNT"
    assert {OTHER_ACCOUNT, "default"} <= set(names)
    listed = edgewise(system_settings, "keys", "list", "--account", OTHER_ACCOUNT).stdout
    assert keys.other.id in listed
    assert keys.admin.id not in listed
