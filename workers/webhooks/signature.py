"""Signatures of webhooks, checked and made: HMAC-SHA256 over the body as it came.

Three schemes: Standard Webhooks (`webhook-id`, `webhook-timestamp`, `webhook-signature`),
GitHub's `X-Hub-Signature-256` with `X-GitHub-Delivery`, and Stripe's `Stripe-Signature`.
Nothing here parses a body: it is not believed yet.
"""

import base64
import binascii
import hashlib
import hmac
import re
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from pydantic import SecretStr

from schemas.webhook import Scheme
from workers.errors import EdgewiseError

TOLERANCE_S: Final = 300
"""How far a signed timestamp may be from now, before and after."""
MAX_SIGNATURES: Final = 16
PREFIX: Final = "whsec_"
_KEY_BYTES: Final = range(24, 65)
"""How long a Standard Webhooks secret is."""
_NEW_KEY_BYTES: Final = 32
_OTHERS_SECRET: Final = re.compile(r"[\x20-\x7e]{8,256}")
_ID: Final = re.compile(r"[\x21-\x7e]{1,256}")
_SECONDS: Final = re.compile(r"[0-9]{1,12}", re.ASCII)
_HEX: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)

Values = Callable[[str], Sequence[str]]
"""From the name of a header to all its values."""


class SignatureError(EdgewiseError):
    """A webhook is not signed as it must be; the message says what is wrong, not with what."""

    code = "unauthorized"


class SecretFormError(EdgewiseError):
    """A webhook secret is not written as its scheme has it."""

    code = "validation_error"


@dataclass(frozen=True)
class Presented:
    """What the headers of a webhook say of its body; none of it is believed yet."""

    signatures: tuple[bytes, ...]
    """Any of them may fit."""
    prefix: bytes = b""
    """What was signed in front of the body."""
    webhook_id: str | None = None
    """None where the body says it."""

    def fits(self, body: bytes, keys: Iterable[bytes]) -> bool:
        """Tell whether one of the keys made one of the signatures; takes as long either way."""
        fitting = 0
        for key in keys:
            made = hmac.digest(key, self.prefix + body, "sha256")
            fitting += sum(hmac.compare_digest(made, each) for each in self.signatures)
        return fitting > 0


def read_headers(scheme: Scheme, values: Values, now: float) -> Presented:
    """Return what is presented; raises SignatureError for what is malformed, too old or too new."""
    return _READERS[scheme](values, now)


def new_secret() -> SecretStr:
    """Make a secret in the form of Standard Webhooks: `whsec_` and base64."""
    return SecretStr(PREFIX + base64.b64encode(secrets.token_bytes(_NEW_KEY_BYTES)).decode())


def key_of(scheme: Scheme, secret: SecretStr) -> bytes:
    """Return the key that a secret stands for; raises SecretFormError."""
    text = secret.get_secret_value()
    if scheme != "standard":  # GitHub and Stripe take the text itself, prefix included
        if not _OTHERS_SECRET.fullmatch(text):
            raise SecretFormError("not 8 to 256 printable ASCII characters")
        return text.encode("ascii")
    try:
        key = base64.b64decode(text.removeprefix(PREFIX).encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        key = b""
    if not text.startswith(PREFIX) or len(key) not in _KEY_BYTES:
        raise SecretFormError(f"not {PREFIX} and 24 to 64 bytes in base64")
    return key


def signed_headers(
    webhook_id: str, body: bytes, keys: Sequence[bytes], now: float
) -> dict[str, str]:
    """Return the headers of Standard Webhooks, a signature for each key."""
    prefix = f"{webhook_id}.{int(now)}.".encode("ascii")
    made = (base64.b64encode(hmac.digest(key, prefix + body, hashlib.sha256)) for key in keys)
    return {
        "webhook-id": webhook_id,
        "webhook-timestamp": str(int(now)),
        "webhook-signature": " ".join(f"v1,{each.decode('ascii')}" for each in made),
    }


def _read_standard(values: Values, now: float) -> Presented:
    webhook_id = _one(values, "webhook-id", _ID)
    timestamp = _one(values, "webhook-timestamp", _SECONDS)
    _check_age(timestamp, now)
    given = _one(values, "webhook-signature", None).split(" ")
    signatures = [_from_base64(text[3:]) for text in given if text.startswith("v1,")]
    return Presented(_bounded(signatures), f"{webhook_id}.{timestamp}.".encode("ascii"), webhook_id)


def _read_github(values: Values, _now: float) -> Presented:
    webhook_id = _one(values, "x-github-delivery", _ID)
    algorithm, _, text = _one(values, "x-hub-signature-256", None).partition("=")
    if algorithm != "sha256" or not _HEX.fullmatch(text):
        raise SignatureError("x-hub-signature-256 is malformed")
    return Presented((bytes.fromhex(text),), webhook_id=webhook_id)


def _read_stripe(values: Values, now: float) -> Presented:
    pairs = [part.partition("=") for part in _one(values, "stripe-signature", None).split(",")]
    times = [value for name, _, value in pairs if name.strip() == "t"]
    if len(times) != 1 or not _SECONDS.fullmatch(times[0]):
        raise SignatureError("stripe-signature is malformed")
    _check_age(times[0], now)
    given = [value for name, _, value in pairs if name.strip() == "v1"]
    if not all(map(_HEX.fullmatch, given)):
        raise SignatureError("stripe-signature is malformed")
    return Presented(_bounded(map(bytes.fromhex, given)), f"{times[0]}.".encode("ascii"))


_READERS: Final[Mapping[Scheme, Callable[[Values, float], Presented]]] = {
    "standard": _read_standard,
    "github": _read_github,
    "stripe": _read_stripe,
}


def _one(values: Values, name: str, form: "re.Pattern[str] | None") -> str:
    given = values(name)
    if not given:
        raise SignatureError(f"the header {name} is missing")
    if len(given) != 1 or (form is not None and not form.fullmatch(given[0])):
        raise SignatureError(f"the header {name} is malformed")
    return given[0]


def _check_age(timestamp: str, now: float) -> None:
    if abs(int(timestamp) - now) > TOLERANCE_S:
        raise SignatureError("the timestamp is more than 5 minutes off")


def _bounded(signatures: Iterable[bytes]) -> tuple[bytes, ...]:
    found = tuple(signatures)
    if not 0 < len(found) <= MAX_SIGNATURES:
        raise SignatureError("there is no signature of a known version, or too many")
    return found


def _from_base64(text: str) -> bytes:
    try:
        return base64.b64decode(text.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        raise SignatureError("webhook-signature is malformed") from None
