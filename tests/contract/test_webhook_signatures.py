"""What a signed webhook is: ours and the packages of those who set the schemes say the same."""

import base64
import hmac
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest
import stripe
from pydantic import SecretStr
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from schemas.webhook import Scheme
from workers.webhooks.signature import SignatureError, key_of, read_headers, signed_headers

SECRET = "whsec_" + base64.b64encode(b"the key of the contract, long enough").decode()
OTHER = "whsec_" + base64.b64encode(b"another key altogether, long enough").decode()
BODY = '{"id": "evt_1", "object": "event", "type": "agent.delete", "ü": "🛎️"}'
Headers = dict[str, str]


def ours(scheme: Scheme, headers: Headers, body: str) -> bool:
    try:
        presented = read_headers(
            scheme, lambda name: [headers[name]] if name in headers else [], time.time()
        )
    except SignatureError:
        return False
    return presented.fits(body.encode(), [key_of(scheme, SecretStr(SECRET))])


def stripes(headers: Headers, body: str) -> bool:
    try:
        event = stripe.Webhook.construct_event(body, headers.get("stripe-signature"), SECRET)
    except stripe.SignatureVerificationError:
        return False
    return str(event.id) == "evt_1"


def standards(headers: Headers, body: str) -> bool:
    try:
        return Webhook(SECRET).verify(body, headers) is not None
    except WebhookVerificationError:
        return False


def stripe_signs(secret: str, body: str, at: float) -> str:
    header: str = stripe.WebhookSignature.generate_signature_header(body, secret, int(at))
    return header


def signed_by_hand(secret: str, body: str, at: float) -> str:
    made = hmac.digest(secret.encode(), f"{int(at)}.{body}".encode(), "sha256")
    return f"t={int(at)},v1={made.hex()}"


@dataclass(frozen=True)
class Case:
    header: Callable[[float], str]
    good: bool
    body: str = BODY


STRIPE = {
    "their signature": Case(lambda now: stripe_signs(SECRET, BODY, now), good=True),
    "ours": Case(lambda now: signed_by_hand(SECRET, BODY, now), good=True),
    "both while a secret is rotated": Case(
        lambda now: (
            signed_by_hand(OTHER, BODY, now)
            + ","
            + stripe_signs(SECRET, BODY, now).partition(",")[2]
        ),
        good=True,
    ),
    "one of another version beside it": Case(
        lambda now: signed_by_hand(SECRET, BODY, now) + ",v0=" + "0" * 64, good=True
    ),
    "4 minutes old": Case(lambda now: stripe_signs(SECRET, BODY, now - 240), good=True),
    "6 minutes old": Case(lambda now: stripe_signs(SECRET, BODY, now - 360), good=False),
    "another secret": Case(lambda now: stripe_signs(OTHER, BODY, now), good=False),
    "another body": Case(lambda now: stripe_signs(SECRET, BODY, now), good=False, body=BODY + " "),
    "another time than the signed one": Case(
        lambda now: stripe_signs(SECRET, BODY, now).replace("t=", "t=1"), good=False
    ),
    "another version alone": Case(
        lambda now: stripe_signs(SECRET, BODY, now).replace("v1=", "v0="), good=False
    ),
    "capital letters": Case(
        lambda now: stripe_signs(SECRET, BODY, now).upper().replace("T=", "t=").replace("V1", "v1"),
        good=False,
    ),
    "no time": Case(lambda now: stripe_signs(SECRET, BODY, now).partition(",")[2], good=False),
    "nothing": Case(lambda _: "", good=False),
    "no pairs": Case(lambda _: "t,v1", good=False),
}


@pytest.mark.parametrize("name", STRIPE)
def test_stripes_scheme_is_what_stripes_own_package_takes(name: str) -> None:
    case = STRIPE[name]
    headers = {"stripe-signature": case.header(time.time())}
    said = ours("stripe", headers, case.body), stripes(headers, case.body)
    assert said == (case.good, case.good)


def standard_headers(at: float, signatures: str) -> Headers:
    return {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(int(at)),
        "webhook-signature": signatures,
    }


def by_us(at: float, *secrets: str) -> Headers:
    keys = [key_of("standard", SecretStr(secret)) for secret in secrets]
    return signed_headers("msg_1", BODY.encode(), keys, at)


def by_them(at: float, secret: str) -> Headers:
    moment = datetime.fromtimestamp(int(at), UTC)
    return standard_headers(at, Webhook(secret).sign("msg_1", moment, BODY))


STANDARD: dict[str, tuple[Callable[[float], Headers], bool]] = {
    "their signature": (lambda now: by_them(now, SECRET), True),
    "ours": (lambda now: by_us(now, SECRET), True),
    "both while a secret is rotated": (lambda now: by_us(now, OTHER, SECRET), True),
    "one of another version beside it": (
        lambda now: standard_headers(now, "v1a,AAAA " + by_them(now, SECRET)["webhook-signature"]),
        True,
    ),
    "4 minutes old": (lambda now: by_them(now - 240, SECRET), True),
    "6 minutes old": (lambda now: by_us(now - 360, SECRET), False),
    "6 minutes ahead": (lambda now: by_us(now + 360, SECRET), False),
    "another secret": (lambda now: by_us(now, OTHER), False),
    "another id": (lambda now: by_us(now, SECRET) | {"webhook-id": "msg_2"}, False),
    "another version alone": (
        lambda now: standard_headers(
            now, by_them(now, SECRET)["webhook-signature"].replace("v1,", "v2,")
        ),
        False,
    ),
    "no signature": (lambda now: standard_headers(now, ""), False),
}


@pytest.mark.parametrize("name", STANDARD)
def test_standard_webhooks_are_what_their_own_package_takes(name: str) -> None:
    make, good = STANDARD[name]
    headers = make(time.time())
    assert (ours("standard", headers, BODY), standards(headers, BODY)) == (good, good)
