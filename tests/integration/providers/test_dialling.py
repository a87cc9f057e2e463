"""Several addresses of one host: who is dialled when, who wins, and what becomes of the rest."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from ipaddress import ip_address

import httpcore
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.servers.stalls import Stalls
from workers.errors import UnresolvedHostError
from workers.providers.pinned_dialling import (
    MAX_DIALLED,
    STAGGER_S,
    first_to_answer,
    in_dialling_order,
)
from workers.providers.public_address import IpAddress
from workers.providers.resolve import system_resolve


class Line(httpcore.AsyncNetworkStream):
    """A connection that knows whether it was closed."""

    def __init__(self) -> None:
        self.is_closed = False

    async def aclose(self) -> None:
        self.is_closed = True


class Dials:
    """Makes dials that fail, hang or answer, and notes when each was started."""

    def __init__(self) -> None:
        self.started: list[float] = []
        self.two_started = asyncio.Event()
        self.cancelled = 0
        self.lines: list[Line] = []

    def _note(self) -> None:
        self.started.append(time.monotonic())
        if len(self.started) > 1:
            self.two_started.set()

    def fails(self) -> Callable[[], Awaitable[Line]]:
        async def dial() -> Line:
            self._note()
            raise httpcore.ConnectError("refused")

        return dial

    def hangs(self) -> Callable[[], Awaitable[Line]]:
        async def dial() -> Line:
            self._note()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                self.cancelled += 1
                raise
            raise AssertionError

        return dial

    def answers(self, when: asyncio.Event | None = None) -> Callable[[], Awaitable[Line]]:
        async def dial() -> Line:
            self._note()
            if when is not None:
                await when.wait()
            self.lines.append(Line())
            return self.lines[-1]

        return dial


def test_the_two_versions_take_turns_and_the_resolver_s_first_goes_first() -> None:
    answer = ["2606:4700::1", "2606:4700::2", "2606:4700::3", "1.1.1.1", "1.1.1.2"]

    order = in_dialling_order([ip_address(text) for text in answer])

    assert [str(address) for address in order] == [
        "2606:4700::1",
        "1.1.1.1",
        "2606:4700::2",
        "1.1.1.2",
        "2606:4700::3",
    ]


@given(st.lists(st.ip_addresses(), min_size=1, max_size=20, unique=True))
def test_the_order_invents_nothing_and_is_bounded(addresses: list[IpAddress]) -> None:
    order = in_dialling_order(addresses)

    assert order[0] == addresses[0]
    assert len(order) == min(len(addresses), MAX_DIALLED)
    assert set(order) <= set(addresses)
    assert len(set(order)) == len(order)


async def test_a_refusal_starts_the_next_at_once(stalls: Stalls) -> None:
    dials = Dials()

    line = await first_to_answer([dials.fails(), dials.fails(), dials.answers()])

    assert line is dials.lines[0]
    assert stalls.seconds(dials.started[0], dials.started[2]) < STAGGER_S


async def test_silence_gives_the_next_its_chance_and_the_silent_one_is_left(
    stalls: Stalls,
) -> None:
    dials = Dials()

    line = await first_to_answer([dials.hangs(), dials.answers()])

    assert line is dials.lines[0]
    assert dials.started[1] - dials.started[0] >= STAGGER_S - 0.01
    assert stalls.seconds(*dials.started) < 3 * STAGGER_S
    assert dials.cancelled == 1


async def test_an_answer_starts_no_other_dial() -> None:
    dials = Dials()

    await first_to_answer([dials.answers(), dials.answers()])

    assert len(dials.started) == 1


async def test_two_that_answer_in_the_same_moment_leave_one_connection() -> None:
    dials, now = Dials(), asyncio.Event()
    racing = asyncio.create_task(first_to_answer([dials.answers(now), dials.answers(now)]))
    await asyncio.wait_for(dials.two_started.wait(), 5)
    now.set()

    line = await racing

    assert len(dials.lines) == 2
    assert [one for one in dials.lines if not one.is_closed] == [line]


async def test_none_that_answers_is_one_error() -> None:
    dials = Dials()
    with pytest.raises(httpcore.ConnectError, match="no address of the host answers"):
        await first_to_answer([dials.fails(), dials.fails()])


async def test_giving_up_stops_every_dial() -> None:
    dials = Dials()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(STAGGER_S * 1.5):
            await first_to_answer([dials.hangs(), dials.hangs()])
    assert dials.cancelled == 2


async def test_a_race_that_is_cancelled_when_it_is_won_leaves_no_connection() -> None:
    dials, losing = Dials(), asyncio.Event()

    async def stubborn() -> Line:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            losing.set()
            await asyncio.Event().wait()
        raise AssertionError

    racing = asyncio.create_task(first_to_answer([stubborn, dials.answers()]))
    await asyncio.wait_for(losing.wait(), 5)
    racing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await racing

    assert [line.is_closed for line in dials.lines] == [True]


async def test_the_system_s_resolver_knows_this_machine_and_refuses_what_is_no_name() -> None:
    assert ip_address("127.0.0.1") in await system_resolve("localhost")
    assert await system_resolve("2606:4700::1111") == (ip_address("2606:4700::1111"),)
    with pytest.raises(UnresolvedHostError):
        await system_resolve("nobody.invalid")
