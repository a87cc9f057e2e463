"""How long it takes to seal a model key, to open it, and to put it in its envelope and take it out.

The real functions with the bindings and lengths of real entries, in one thread: HPKE as the
gateway seals and the config worker opens, AES-256-GCM as the database holds it.
"""

import os
import time
from collections.abc import Callable

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from pydantic import SecretStr

from bench.figure import Figure, percentile
from schemas.ids import new_id
from workers.secrets.binding import Binding
from workers.secrets.envelope import decrypt, encrypt
from workers.secrets.key_ring import KeyEncryptionKey
from workers.secrets.sealing import seal
from workers.secrets.unsealing import unseal

ROUNDS, QUICK_ROUNDS = 20_000, 3_000
WARM_UP = 200
TARGET_US = 100


def run(*, quick: bool) -> list[Figure]:
    """Return the mean of each of the four."""
    rounds = QUICK_ROUNDS if quick else ROUNDS
    private, stored = X25519PrivateKey.generate(), KeyEncryptionKey(os.urandom(32))
    public = private.public_key()
    place = Binding("default", new_id("agent"), 0, "https://api.example.com/v1")
    secret = SecretStr("sk-" + os.urandom(80).hex())
    sealed, envelope = seal(public, secret, place), encrypt(stored, secret, place)
    operations: dict[str, Callable[[], object]] = {
        "seal, at the gateway": lambda: seal(public, secret, place),
        "open, at the config worker": lambda: unseal(private, sealed, place),
        "encrypt, before it is stored": lambda: encrypt(stored, secret, place),
        "decrypt, before the call": lambda: decrypt(lambda _: stored, envelope, place),
    }
    return [_figure(name, operation, rounds) for name, operation in operations.items()]


def _figure(name: str, operation: Callable[[], object], rounds: int) -> Figure:
    for _ in range(WARM_UP):
        operation()
    taken = []
    for _ in range(rounds):
        began = time.perf_counter()
        operation()
        taken.append(1e6 * (time.perf_counter() - began))
    note = f"p50 {percentile(taken, 0.5):.0f} µs, p99 {percentile(taken, 0.99):.0f} µs of {rounds}"
    return Figure(f"a model key: {name}", sum(taken) / rounds, "µs", TARGET_US, note=note)
