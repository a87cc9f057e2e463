"""Signatures against published vectors, an independent signer, and nonsense."""

import base64
import time
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr
from standardwebhooks.webhooks import Webhook

from schemas.webhook import Scheme
from workers.webhooks.signature import (
    SecretFormError,
    SignatureError,
    Values,
    key_of,
    new_secret,
    read_headers,
    signed_headers,
)

SECRET = SecretStr("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
NOW = 1_614_265_330
HEADERS: dict[Scheme, tuple[str, ...]] = {
    "standard": ("webhook-id", "webhook-timestamp", "webhook-signature"),
    "github": ("x-github-delivery", "x-hub-signature-256"),
    "stripe": ("stripe-signature",),
}


def values(headers: dict[str, str]) -> Values:
    return lambda name: [headers[name]] if name in headers else []


def test_the_published_example_of_standard_webhooks_fits() -> None:
    body = b'{"test": 2432232314}'
    headers = {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": str(NOW),
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }
    presented = read_headers("standard", values(headers), NOW)
    key = key_of("standard", SECRET)
    assert presented.fits(body, [key])
    assert not presented.fits(body + b" ", [key])
    assert signed_headers(headers["webhook-id"], body, [key], NOW) == headers


def test_the_published_example_of_github_fits() -> None:
    headers = {
        "x-github-delivery": "72d3162e-cc78-11e3-81ab-4c9367dc0958",
        "x-hub-signature-256": "sha256="
        "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17",
    }
    presented = read_headers("github", values(headers), NOW)
    key = key_of("github", SecretStr("It's a Secret to Everybody"))
    assert presented.fits(b"Hello, World!", [key])
    assert not presented.fits(b"Hello, World", [key])


def test_a_header_as_stripe_shows_it_is_read() -> None:
    first = "5257a869e7ecebeda32affa62cdca3fa51cad7e77a0e56ff536d0ce8e108d8bd"
    old = "6ffbb59b2300aae63f272406069a9788598b792a944a07aba816edb039989a39"
    shown = f"t=1492774577,v1={first},v0={old}"
    presented = read_headers("stripe", values({"stripe-signature": shown}), 1_492_774_577)
    assert presented.signatures == (bytes.fromhex(first),)
    assert presented.prefix == b"1492774577."
    assert presented.webhook_id is None


def test_a_secret_made_here_works_with_the_package_both_ways() -> None:
    old, new = new_secret(), new_secret()
    body = '{"type": "agent.delete", "ü": "🛎️"}'
    now = time.time()
    keys = [key_of("standard", each) for each in (new, old)]
    for secret in (old, new):
        theirs = Webhook(secret.get_secret_value())
        theirs.verify(body, signed_headers("msg_1", body.encode(), keys, now))
        headers = {
            "webhook-id": "msg_1",
            "webhook-timestamp": str(int(now)),
            "webhook-signature": theirs.sign("msg_1", datetime.fromtimestamp(int(now), UTC), body),
        }
        presented = read_headers("standard", values(headers), now)
        assert presented.fits(body.encode(), keys)
        assert not presented.fits(body.encode(), [key_of("standard", new_secret())])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "whsec_",
        "whsec_????",
        "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "whsec_" + base64.b64encode(b"x" * 23).decode(),
        "whsec_" + base64.b64encode(b"x" * 65).decode(),
        "whsec_\u00fc",
    ],
)
def test_what_is_no_secret_of_standard_webhooks_is_refused_unseen(text: str) -> None:
    with pytest.raises(SecretFormError) as refused:
        key_of("standard", SecretStr(text))
    assert text[6:] == "" or text[6:] not in str(refused.value)


@given(
    st.sampled_from(list(HEADERS)),
    st.lists(st.text(st.characters(max_codepoint=255), max_size=80), min_size=3, max_size=3),
)
def test_no_header_whatsoever_is_more_than_a_signature_error(
    scheme: Scheme, texts: list[str]
) -> None:
    headers = dict(zip(HEADERS[scheme], texts, strict=False))
    try:
        presented = read_headers(scheme, values(headers), NOW)
    except SignatureError:
        return
    assert not presented.fits(b"body", [b"key"])


@pytest.mark.parametrize("scheme", ["standard", "stripe"])
def test_a_timestamp_is_good_for_299_seconds_both_ways_and_not_for_301(scheme: Scheme) -> None:
    headers = {
        **signed_headers("msg_1", b"{}", [b"key"], NOW),
        "stripe-signature": f"t={NOW},v1={'0' * 64}",
    }
    for seconds in (-299, 0, 299):
        read_headers(scheme, values(headers), NOW + seconds)
    for seconds in (-301, 301):
        with pytest.raises(SignatureError, match="5 minutes"):
            read_headers(scheme, values(headers), NOW + seconds)
