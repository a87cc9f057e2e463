"""Sources: made, rotated, listed and removed by their own account."""

from datetime import UTC, datetime, timedelta

import httpx
import sqlalchemy as sa
from sqlalchemy import Engine

from schemas.ids import agent_id_of
from tests.servers.accounts import make_account, make_key
from tests.servers.waiting import wait_for
from tests.servers.webhooks import Sender, code_of, new_sender, upsert_body
from workers.settings import Settings


def test_both_secrets_are_valid_while_one_replaces_the_other(
    client: httpx.Client, sender: Sender, engine: Engine
) -> None:
    name = source_name(client, sender)
    newer = new_sender(client, name, overlap_hours=1)
    assert newer.url == sender.url
    assert newer.secret != sender.secret
    for each in (sender, newer):
        assert each.send(upsert_body("rotating")).status_code == 202
    shown = client.get(f"/v1/sources/{name}").json()
    ends = [datetime.fromisoformat(each["expires_at"]) for each in shown["secrets"][1:]]
    assert shown["secrets"][0]["expires_at"] is None
    assert [timedelta(minutes=59) < end - datetime.now(UTC) < timedelta(hours=1) for end in ends]
    with engine.begin() as connection:  # an hour later
        connection.execute(
            sa.text("UPDATE webhook_secrets SET expires_at = 1 WHERE expires_at IS NOT NULL")
        )
    wait_for("it ends", lambda: sender.send(upsert_body("rotating")).status_code == 401)
    assert newer.send(upsert_body("rotating")).status_code == 202
    newest = new_sender(client, name, overlap_hours=0)
    wait_for("it ends", lambda: newer.send(upsert_body("rotating")).status_code == 401)
    assert newest.send(upsert_body("rotating")).status_code == 202


def source_name(client: httpx.Client, sender: Sender) -> str:
    sources = client.get("/v1/sources").json()["sources"]
    return str(next(each["name"] for each in sources if each["url"] == sender.url))


def test_a_source_is_listed_without_its_secret_and_goes_for_good(
    client: httpx.Client, sender: Sender
) -> None:
    name = source_name(client, sender)
    for answer in (client.get("/v1/sources"), client.get(f"/v1/sources/{name}")):
        assert answer.status_code == 200
        assert sender.secret not in answer.text
        assert "whsec_" not in answer.text
    assert client.delete(f"/v1/sources/{name}").status_code == 204
    assert code_of(client.delete(f"/v1/sources/{name}")) == (404, "source_not_found")
    wait_for("it ends", lambda: sender.send(upsert_body("gone")).status_code != 202)
    assert code_of(sender.send(upsert_body("gone"))) == (404, "source_not_found")
    assert new_sender(client, name).url != sender.url


def test_two_accounts_may_have_a_source_of_one_name(
    client: httpx.Client, sender: Sender, system_settings: Settings
) -> None:
    make_account(system_settings, "hooks")
    theirs = make_key(system_settings, "configure", account="hooks")
    name = source_name(client, sender)
    path = f"/v1/sources/{name}"
    for method in ("GET", "DELETE"):
        answer = client.request(method, path, headers=theirs.headers)
        assert code_of(answer) == (404, "source_not_found")
    made = client.put(path, headers=theirs.headers)
    assert made.status_code == 201
    assert made.headers["cache-control"] == "no-store"
    their_sender = Sender(client, made.json()["url"], made.json()["secret"])
    assert their_sender.send(upsert_body("theirs")).status_code == 202
    agent = f"/v1/agents/{agent_id_of('hooks', 'theirs')}"
    wait_for("made", lambda: client.get(agent, headers=theirs.headers).status_code == 200)
    assert client.get(agent).status_code == 404
    assert sender.send(upsert_body("ours")).status_code == 202


def test_a_secret_that_the_scheme_cannot_use_is_a_422_and_stays_unsaid(
    client: httpx.Client,
) -> None:
    for asked in (
        {"secret": "planted-2f71"},
        {"secret": "whsec_planted2f71"},
        {"secret": "short", "scheme": "github"},
        {"secret": "planted\t2f71", "scheme": "stripe"},
        {"secret": "", "scheme": "github"},
        {"scheme": "slack"},
        {"overlap_hours": 169},
        {"overlap_hours": -1},
        {"planted_2f71": 1},
    ):
        answer = client.put("/v1/sources/refused", json=asked)
        assert code_of(answer) == (422, "validation_error"), asked
        assert "2f71" not in answer.text
    assert client.get("/v1/sources/refused").status_code == 404
    assert client.put("/v1/sources/Not-A-Name").status_code == 422
