"""What a process remembers of keys: how long, how many, and while the database is away."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from schemas.account import SCOPES, Scope
from tests.fakes.keys import KeysInADict
from workers.errors import StorageUnavailableError
from workers.storage.accounts.key_text import digest_of, is_key, is_token, new_key, new_token
from workers.web import key_ring
from workers.web.callers import OPERATOR, Caller
from workers.web.key_ring import FRESH_S, GRACE_S, MOST_LOOKS, KeyRing

OPERATOR_KEY = "the operators own key"


@dataclass
class Clock:
    now: float = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def keys() -> KeysInADict:
    return KeysInADict()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def ring(
    keys: KeysInADict, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[KeyRing]:
    monkeypatch.setattr(key_ring, "WAIT_S", 30.0)  # a look is late only where a test says so
    async with KeyRing.open(OPERATOR_KEY, keys.look_up, clock) as ring:
        yield ring


async def test_the_operators_key_needs_no_database(ring: KeyRing, keys: KeysInADict) -> None:
    keys.is_away = True
    assert await ring.find(OPERATOR_KEY) is OPERATOR
    assert keys.asked == 0


async def test_a_key_stands_for_its_account_and_scopes(ring: KeyRing, keys: KeysInADict) -> None:
    caller = await ring.find(keys.add("talk", "llm", account="acme"))
    assert caller is not None
    assert caller.account == "acme"
    assert caller.scopes == {"talk", "llm"}


@pytest.mark.parametrize("key", ["", "x", OPERATOR_KEY[:-1], "ew_", "ew_" + "é" * 43, "a" * 9_999])
async def test_what_has_not_the_form_of_a_key_is_not_looked_up(
    ring: KeyRing, keys: KeysInADict, key: str
) -> None:
    assert await ring.find(key) is None
    assert keys.asked == 0


async def test_a_key_is_looked_up_once_although_many_requests_come(
    ring: KeyRing, keys: KeysInADict, clock: Clock
) -> None:
    key = keys.add("talk")
    assert None not in await asyncio.gather(*(ring.find(key) for _ in range(50)))
    clock.now += FRESH_S * 0.9
    assert await ring.find(key) is not None
    assert keys.asked == 1


async def test_a_revoked_key_stops_after_two_seconds(
    ring: KeyRing, keys: KeysInADict, clock: Clock
) -> None:
    key = keys.add("talk")
    await ring.find(key)
    keys.revoke(key)
    clock.now += FRESH_S
    assert await ring.find(key) is None


async def test_while_the_database_is_away_known_keys_go_on_for_a_day_and_others_cannot_be_judged(
    ring: KeyRing, keys: KeysInADict, clock: Clock
) -> None:
    known, other = keys.add("talk"), keys.add("talk")
    await ring.find(known)
    keys.is_away = True
    for _ in range(3):
        clock.now += GRACE_S / 3.1
        assert await ring.find(known) is not None
    asked = keys.asked
    assert await ring.find(known) is not None
    assert keys.asked == asked  # not at every request
    with pytest.raises(StorageUnavailableError):
        await ring.find(other)
    clock.now += GRACE_S
    with pytest.raises(StorageUnavailableError):
        await ring.find(known)


async def test_a_key_that_was_revoked_while_the_database_was_away_stops_when_it_is_back(
    ring: KeyRing, keys: KeysInADict, clock: Clock
) -> None:
    key = keys.add("talk")
    await ring.find(key)
    keys.is_away = True
    clock.now += FRESH_S
    await ring.find(key)
    keys.is_away = False
    keys.revoke(key)
    clock.now += FRESH_S
    assert await ring.find(key) is None


async def test_a_database_that_hangs_delays_a_known_key_once_and_by_little(
    ring: KeyRing, keys: KeysInADict, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_ring, "WAIT_S", 0.05)
    key = keys.add("talk")
    await ring.find(key)
    clock.now += FRESH_S
    keys.may_answer.clear()
    try:
        async with asyncio.timeout(5):
            assert await ring.find(key) is not None
            assert await ring.find(key) is not None
        assert keys.asked == 2
    finally:
        keys.may_answer.set()


async def test_a_flood_of_keys_that_nobody_knows_is_turned_away_and_known_ones_pass(
    ring: KeyRing, keys: KeysInADict, clock: Clock
) -> None:
    known = keys.add("talk")
    await ring.find(known)
    clock.now += FRESH_S
    keys.may_answer.clear()
    flood = [asyncio.create_task(ring.find(new_key())) for _ in range(MOST_LOOKS)]
    try:
        await asyncio.sleep(0)
        with pytest.raises(StorageUnavailableError):
            await ring.find(new_key())
        passing = asyncio.create_task(ring.find(known))
        await asyncio.sleep(0)
    finally:
        keys.may_answer.set()
    assert await asyncio.gather(*flood) == [None] * MOST_LOOKS
    assert await passing is not None


async def test_the_number_of_keys_in_memory_is_bounded_and_the_oldest_go_first(
    ring: KeyRing, keys: KeysInADict, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_ring, "MOST_KEYS", 3)
    made = [keys.add("talk") for _ in range(5)]
    for key in made:
        await ring.find(key)
    keys.is_away = True
    for key in made[2:]:
        assert await ring.find(key) is not None
    with pytest.raises(StorageUnavailableError):
        await ring.find(made[1])


async def test_a_ring_closes_although_a_look_hangs(keys: KeysInADict) -> None:
    async with KeyRing.open(OPERATOR_KEY, keys.look_up) as ring:
        keys.may_answer.clear()
        asking = asyncio.create_task(ring.find(keys.add("talk")))
        await asyncio.sleep(0)
        asking.cancel()
    keys.may_answer.set()
    assert asking.cancelled() or asking.cancelling()


async def test_no_key_reaches_the_log(ring: KeyRing, keys: KeysInADict) -> None:
    key = keys.add("talk")
    keys.is_away = True
    with structlog.testing.capture_logs() as logs, pytest.raises(StorageUnavailableError) as caught:
        await ring.find(key)
    assert logs
    assert key not in repr(logs) + repr(caught.value)
    assert key not in repr(ring)


@given(st.sets(st.sampled_from(SCOPES)), st.sampled_from(SCOPES))
def test_a_scope_allows_itself_and_admin_allows_all(held: set[Scope], wanted: Scope) -> None:
    assert Caller("a", frozenset(held)).may(wanted) is bool(held & {wanted, "admin"})


def test_an_admin_of_another_account_is_not_the_operator() -> None:
    assert OPERATOR.is_operator
    assert not Caller("acme", frozenset({"admin"})).is_operator
    assert not Caller("default", frozenset({"configure", "talk", "llm"})).is_operator


def test_keys_and_tokens_are_long_random_and_not_taken_for_each_other() -> None:
    made = {new_key() for _ in range(100)} | {new_token() for _ in range(100)}
    assert len(made) == 200
    assert all(is_key(text) is not is_token(text) for text in made)
    assert all(len(text.partition("_")[2]) == 43 for text in made)  # 256 bits in base64
    assert len({digest_of(text) for text in made}) == 200
