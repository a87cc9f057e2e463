"""An endpoint moves, hears of other things, gets a new secret: over REST and by command."""

from collections.abc import Iterator

import httpx
import pytest
from standardwebhooks.webhooks import WebhookVerificationError

from tests.integration.rest.test_agents import create
from tests.integration.rest.test_apply_command import run
from tests.integration.rest.test_webhook_endpoints import (
    module_settings,
    receiver,
    system_settings,
)
from tests.servers.accounts import Keys
from tests.servers.waiting import wait_for
from tests.servers.webhook_receiver import Received, Receiver, running_receiver
from tests.servers.webhooks import code_of
from workers.settings import Settings

__all__ = ["module_settings", "receiver", "system_settings"]


@pytest.fixture
def elsewhere() -> Iterator[Receiver]:
    with running_receiver() as running:
        yield running


@pytest.fixture
def endpoint(client: httpx.Client, receiver: Receiver) -> Iterator[dict[str, str]]:
    asked = {"url": receiver.url, "events": ["config_event.applied"]}
    made = client.post("/v1/webhook-endpoints", json=asked)
    assert made.status_code == 201, made.text
    yield made.json()
    client.delete(f"/v1/webhook-endpoints/{made.json()['id']}")


def told(client: httpx.Client, receiver: Receiver) -> Received:
    """Change something and return what the receiver hears of it."""
    count = len(receiver.received)
    create(client)
    wait_for("a message", lambda: len(receiver.received) > count, within=15)
    return receiver.received[count]


def fits(message: Received, secret: str) -> bool:
    try:
        message.verified(secret)
    except WebhookVerificationError:
        return False
    return True


def test_two_secrets_sign_while_one_takes_over_and_then_one(
    client: httpx.Client, receiver: Receiver, endpoint: dict[str, str]
) -> None:
    path = f"/v1/webhook-endpoints/{endpoint['id']}"
    first = endpoint["secret"]
    rotated = client.post(f"{path}/secret")
    assert rotated.status_code == 200, rotated.text
    assert rotated.headers["cache-control"] == "no-store"
    second = rotated.json()["secret"]
    assert second != first
    newest, oldest = rotated.json()["secrets"]
    assert newest["expires_at"] is None
    assert oldest["expires_at"] is not None
    shown = client.get(path)
    assert shown.json()["secrets"] == [newest, oldest]
    assert "whsec_" not in shown.text + client.get("/v1/webhook-endpoints").text

    message = told(client, receiver)
    assert (fits(message, first), fits(message, second)) == (True, True)
    assert len(message.headers["webhook-signature"].split(" ")) == 2

    third = client.post(f"{path}/secret", json={"overlap_hours": 0}).json()["secret"]
    message = told(client, receiver)
    assert [fits(message, secret) for secret in (first, second, third)] == [False, False, True]
    for wrong in ({"overlap_hours": -1}, {"overlap_hours": 169}, {"secret": third}):
        refused = client.post(f"{path}/secret", json=wrong)
        assert code_of(refused) == (422, "validation_error")
        assert third not in refused.text


def test_an_endpoint_moves_and_hears_of_other_things_under_its_old_secret(
    client: httpx.Client, receiver: Receiver, elsewhere: Receiver, endpoint: dict[str, str]
) -> None:
    path = f"/v1/webhook-endpoints/{endpoint['id']}"
    receiver.status = 410
    create(client)
    wait_for("disabled", lambda: client.get(path).json()["disabled_at"], within=15)
    moved = client.put(path, json={"url": elsewhere.url})
    assert moved.status_code == 200, moved.text
    assert "secret" not in moved.json()
    assert (moved.json()["url"], moved.json()["disabled_at"]) == (elsewhere.url, None)
    assert moved.json()["events"] == ["config_event.applied"]
    assert fits(told(client, elsewhere), endpoint["secret"])

    asked = {"events": ["session.ended", "config_event.dead", "session.ended"]}
    changed = client.put(path, json=asked).json()
    assert changed["events"] == ["config_event.dead", "session.ended"]
    assert changed == {**moved.json(), "events": changed["events"]} | {
        "delivered_at": changed["delivered_at"]
    }
    create(client)
    waiting = client.put(path, json={"events": ["config_event.applied"]})
    assert waiting.json()["url"] == elsewhere.url
    told(client, elsewhere)
    assert len(elsewhere.received) == 2, "what it did not want to hear was not sent"


def test_the_endpoint_of_another_account_can_be_neither_moved_nor_given_a_secret(
    client: httpx.Client, endpoint: dict[str, str], keys: Keys
) -> None:
    path = f"/v1/webhook-endpoints/{endpoint['id']}"
    for own in (path, "/v1/webhook-endpoints/endpoint_1", f"{path[:-4]}0000"):
        headers = keys.other.headers if own == path else {}
        for answer in (
            client.put(own, json={"url": "https://93.184.216.34/"}, headers=headers),
            client.post(f"{own}/secret", headers=headers),
        ):
            assert code_of(answer) == (404, "not_found"), own
    for scope in (keys.talk, keys.llm):
        assert client.put(path, json={}, headers=scope.headers).status_code == 401
        assert client.post(f"{path}/secret", headers=scope.headers).status_code == 401
    assert client.get(path).json()["url"] == endpoint["url"]
    assert len(client.get(path).json()["secrets"]) == 1


def test_the_command_lists_changes_and_rotates(
    client: httpx.Client,
    receiver: Receiver,
    elsewhere: Receiver,
    endpoint: dict[str, str],
    system_settings: Settings,
) -> None:
    folder = system_settings.home_path
    listed = run(client, folder, "webhooks", "endpoints")
    assert listed.returncode == 0, listed.stderr
    assert endpoint["id"] in listed.stdout
    assert receiver.url in listed.stdout
    assert endpoint["secret"] not in listed.stdout

    words = ("--to", elsewhere.url, "--event", "config_event.applied")
    moved = run(client, folder, "webhooks", "change", endpoint["id"], *words)
    assert moved.returncode == 0, moved.stderr
    assert elsewhere.url in moved.stdout

    rotated = run(client, folder, "webhooks", "rotate", endpoint["id"], "--overlap-hours", "1")
    assert rotated.returncode == 0, rotated.stderr
    assert "sign, too, until" in rotated.stderr
    message = told(client, elsewhere)
    assert fits(message, rotated.stdout.strip())
    assert fits(message, endpoint["secret"])

    gone = run(client, folder, "webhooks", "rotate", "endpoint_nobody")
    assert (gone.returncode, gone.stdout) == (1, "")
    assert "there is no such endpoint" in gone.stderr
