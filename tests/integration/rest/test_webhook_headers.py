"""What a webhook is signed with: taken as the schemes have it, else a 401 and never a 500."""

import hmac
import json
import time
from datetime import UTC, datetime, timedelta

import httpx
import stripe
from sqlalchemy import Engine

from schemas.ids import new_id
from tests.servers.webhooks import Sender, code_of, count, new_sender, signed_headers, upsert_body


def test_a_timestamp_may_be_almost_five_minutes_off_and_no_more(sender: Sender) -> None:
    # To the second in the unit tests; here a request may take four.
    for seconds, status in ((295, 202), (-295, 202), (305, 401), (-305, 401)):
        answer = sender.send(upsert_body("clock"), at=time.time() + seconds)
        assert answer.status_code == status, (seconds, answer.text)


def headers_that_are_wrong() -> list[dict[str, str]]:
    good = "v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4="
    return [
        {"webhook-id": ""},
        {"webhook-id": "with space"},
        {"webhook-id": "x" * 257},
        {"webhook-id": "caf\u00e9"},
        {"webhook-timestamp": ""},
        {"webhook-timestamp": "now"},
        {"webhook-timestamp": "-1"},
        {"webhook-timestamp": "1e9"},
        {"webhook-timestamp": "9" * 400},
        {"webhook-timestamp": "1614265330"},
        {"webhook-timestamp": "\u0661\u0662".encode().decode("latin-1")},
        {"webhook-signature": ""},
        {"webhook-signature": "v1"},
        {"webhook-signature": "v1,"},
        {"webhook-signature": "v1,not base64!"},
        {"webhook-signature": "v1,===="},
        {"webhook-signature": "v1,\xff\xfe"},
        {"webhook-signature": good},
        {"webhook-signature": good.replace("v1,", "v2,")},
        {"webhook-signature": good.replace("v1,", "v1a,")},
        {"webhook-signature": " ".join([good] * 100)},
        {"webhook-signature": "," * 2_000},
    ]


def test_headers_that_are_wrong_are_a_401_and_change_nothing(
    sender: Sender, engine: Engine
) -> None:
    before = count(engine, "config_events")
    for wrong in headers_that_are_wrong():
        raw = {name: value.encode("latin-1") for name, value in wrong.items()}
        answer = sender.send(upsert_body("wrong"), **raw)  # type: ignore[arg-type]  # str is ASCII alone
        assert code_of(answer) == (401, "unauthorized"), wrong
        assert answer.json()["request_id"]
    for name in ("webhook-id", "webhook-timestamp", "webhook-signature"):
        body = upsert_body("wrong")
        headers = signed_headers(sender.secret, body, "twice")
        twice = [*headers.items(), (name, headers[name])]
        answer = sender.client.post(sender.url, content=body, headers=twice)
        assert code_of(answer) == (401, "unauthorized"), name
        del headers[name]
        answer = sender.client.post(sender.url, content=body, headers=headers)
        assert code_of(answer) == (401, "unauthorized"), name
    changed = sender.client.post(
        sender.url, content=body + b" ", headers=signed_headers(sender.secret, body, "changed")
    )
    assert code_of(changed) == (401, "unauthorized")
    assert count(engine, "config_events") == before


def test_github_signs_no_time_so_the_timestamp_of_the_event_bounds_a_replay(
    client: httpx.Client, sender: Sender, engine: Engine
) -> None:
    secret = "the-secret-of-the-other-service"
    github = new_sender(client, "replayed", scheme="github", secret=secret)
    week, now = timedelta(days=7), datetime.now(UTC)
    # Its receipt may be forgotten five minutes early: the sender's clock may be ahead by that.
    for age, status in ((week - timedelta(minutes=6), 202), (week - timedelta(minutes=4), 422)):
        body = upsert_body("replayed", at=now - age)
        made = hmac.digest(secret.encode(), body, "sha256").hex()
        headers = {"x-hub-signature-256": f"sha256={made}", "x-github-delivery": new_id("msg")}
        before = count(engine, "config_events")
        answer = client.post(github.url, content=body, headers=headers)
        assert answer.status_code == status, answer.text
        assert count(engine, "config_events") == before + (status == 202)
    assert code_of(answer) == (422, "validation_error")
    assert answer.json()["param"] == "timestamp"
    assert sender.send(upsert_body("signed", at=now - 2 * week)).status_code == 202


def test_github_and_stripe_sign_in_their_own_ways(client: httpx.Client, engine: Engine) -> None:
    secret = "the-secret-of-the-other-service"
    github = new_sender(client, "from-github", scheme="github", secret=secret)
    body = upsert_body("github")
    made = hmac.digest(secret.encode(), body, "sha256").hex()
    headers = {"x-hub-signature-256": f"sha256={made}", "x-github-delivery": new_id("msg")}
    first = client.post(github.url, content=body, headers=headers)
    assert first.status_code == 202, first.text
    before = count(engine, "config_events")
    # GitHub does not sign the id: another one on the same body is no other webhook.
    replayed = client.post(
        github.url, content=body, headers=headers | {"x-github-delivery": new_id("msg")}
    )
    assert replayed.json() == first.json()
    assert count(engine, "config_events") == before
    payments = new_sender(client, "from-stripe", scheme="stripe", secret=secret)
    for more, status in (({"id": "evt_1"}, 202), ({}, 422)):
        event = json.loads(upsert_body("stripe")) | more
        text = json.dumps(event)
        signed = stripe.WebhookSignature.generate_signature_header(text, secret)
        headers = {"stripe-signature": f"{signed},v0={'0' * 64}"}
        answer = client.post(payments.url, content=text, headers=headers)
        assert answer.status_code == status, answer.text
    for url in (github.url, payments.url):
        for wrong in ("", "sha256=", "sha1=" + "0" * 40, f"t={'9' * 999},v1={made}", "t=,v1=,,="):
            answer = client.post(
                url,
                content=body,
                headers={
                    "x-hub-signature-256": wrong,
                    "x-github-delivery": "x",
                    "stripe-signature": wrong,
                },
            )
            assert code_of(answer) == (401, "unauthorized"), (url, wrong)
