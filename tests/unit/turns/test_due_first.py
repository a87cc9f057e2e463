import asyncio
import gc

import pytest

from workers.turns import due_first
from workers.turns.due_first import (
    AHEAD_S,
    CROWD,
    PACKET_S,
    SOON_S,
    YOUNG_S,
    DueFirst,
    Playing,
)


def now() -> float:
    return asyncio.get_running_loop().time()


async def test_who_is_due_first_comes_first_and_equals_come_in_order() -> None:
    order, done = DueFirst(at_once=1), list[str]()

    async def work(name: str, due: float) -> None:
        await order.turn(due)
        done.append(name)

    names = [("late", 9.0), ("first", 1.0), ("also first", 1.0), ("second", 5.0)]
    await asyncio.gather(*[work(*item) for item in names])
    assert done == ["first", "also first", "second", "late"]


@pytest.mark.parametrize(("ahead_s", "expected"), [(0, 3), (SOON_S / 2, 1)])
async def test_a_round_of_the_loop_lets_in_so_many_that_are_due_and_one_that_is_ahead(
    ahead_s: float, expected: int
) -> None:
    order, done, rounds = DueFirst(at_once=3), 0, list[int]()

    async def work() -> None:
        nonlocal done
        await order.turn(now() + ahead_s)
        done += 1

    tasks = [asyncio.create_task(work()) for _ in range(12)]
    while done < len(tasks):
        before = done
        await asyncio.sleep(0)
        rounds.append(done - before)
    assert max(rounds) == expected


async def test_what_is_due_passes_what_is_ahead_even_if_it_comes_later() -> None:
    order, done = DueFirst(), list[str]()

    async def work(name: str, due: float) -> None:
        await order.turn(due)
        done.append(name)

    ahead = [asyncio.create_task(work("ahead", now() + 60)) for _ in range(20)]
    for _ in range(5):
        await asyncio.sleep(0)
    await work("new", now())
    assert 0 < done.index("new") < 10
    await asyncio.gather(*ahead)


@pytest.mark.parametrize("has_its_turn", [False, True])
async def test_who_is_cancelled_lets_the_next_one_in(*, has_its_turn: bool) -> None:
    order = DueFirst(at_once=1)
    gone = asyncio.create_task(order.turn(1))
    next_one = asyncio.create_task(order.turn(2))
    await asyncio.sleep(0)
    if has_its_turn:
        asyncio.get_running_loop().call_soon(gone.cancel)
    else:
        gone.cancel()
    async with asyncio.timeout(5):
        await next_one
        await asyncio.gather(gone, return_exceptions=True)
        await order.turn(3)


async def test_a_reply_that_is_ahead_waits_for_one_that_has_not_begun() -> None:
    order, done, moment = DueFirst(at_once=1), list[str](), [100.0]
    ahead, new = (Playing(order, lambda: moment[0]) for _ in range(2))
    ahead.made(500)

    async def work(name: str, playing: Playing) -> None:
        await playing.turn()
        done.append(name)
        playing.made(10)

    await asyncio.gather(work("ahead", ahead), work("new", new))
    assert done == ["new", "ahead"]
    moment[0] = 111.0
    await asyncio.gather(work("ahead", ahead), work("new", new))
    assert done[2:] == ["new", "ahead"]


async def test_what_is_far_ahead_goes_one_by_one_at_a_pace_and_wakes_nobody_meanwhile(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(due_first, "FAR_EVERY_S", 0.1)
    monkeypatch.setattr(due_first, "FAR_EACH_S", 1)
    order, began, done = DueFirst(), now(), list[float]()
    looks = 0
    look = order._round

    def counted(loop: asyncio.AbstractEventLoop) -> None:
        nonlocal looks
        looks += 1
        look(loop)

    monkeypatch.setattr(order, "_round", counted)

    async def work() -> None:
        await order.turn(now() + 60)
        done.append(now() - began)

    async with asyncio.timeout(30):
        await asyncio.gather(*(work() for _ in range(4)))
    assert all(number * 0.099 <= when for number, when in enumerate(done))
    assert looks <= 2 * len(done)


async def test_what_is_far_ahead_leaves_the_cores_to_a_crowd_that_has_not_begun(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(due_first, "FAR_IN_A_CROWD_S", 0.4)
    order = DueFirst()
    crowd = [Playing(order, now) for _ in range(CROWD)]

    async def took_s(pieces: int) -> float:
        began = now()
        for _ in range(pieces):
            await order.turn(now() + 60)
        return now() - began

    await order.turn(now() + 60)
    assert await took_s(2) >= 2 * 0.4 * 0.99
    crowd[0].made(1)
    await order.turn(now() + 60)
    assert await took_s(2) < 0.4
    crowd.append(Playing(order, lambda: now() - YOUNG_S))
    await order.turn(now() + 60)
    assert await took_s(2) < 0.4
    unheard = Playing(order, now, due=now() + 60)  # nobody waits for it
    assert unheard not in order.silent
    assert len(order.silent) == CROWD
    del crowd  # guesses that were thrown away
    gc.collect()
    assert len(order.silent) == 0


async def test_a_reply_that_is_alone_is_made_hundreds_of_times_faster_than_it_is_heard() -> None:
    order, pieces = DueFirst(), 500
    playing = Playing(order, now)
    async with asyncio.timeout(30):
        for _ in range(pieces):
            await playing.turn()
            playing.made(10)
    assert playing.due - now() > pieces * 10 * PACKET_S - 30


async def test_what_was_far_ahead_is_let_in_once_it_is_due_soon(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(due_first, "FAR_EVERY_S", 3_600)
    monkeypatch.setattr(due_first, "FAR_EACH_S", 3_600)
    order = DueFirst()
    await order.turn(now() + 60)
    async with asyncio.timeout(30):
        await order.turn(now() + SOON_S + 0.1)
        later = asyncio.create_task(order.turn(now() + 60))
        await order.turn(now())
    assert not later.done()
    later.cancel()


async def test_a_reply_too_far_ahead_waits_until_its_listener_has_come_closer() -> None:
    moment = 0.0
    loop = asyncio.get_running_loop()
    playing = Playing(DueFirst(), lambda: moment)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "time", lambda: moment)
        playing.made(round(AHEAD_S / PACKET_S))
        await playing.room()
        assert moment == 0
        playing.made(round(60 / PACKET_S))
        waiting = asyncio.create_task(playing.room())
        while not waiting.done():
            moment += 0.5
            await asyncio.sleep(0)
        assert moment == pytest.approx(60, abs=2)


async def test_after_a_pause_a_listener_hears_what_is_made_then_and_not_earlier() -> None:
    moment = [100.0]
    playing = Playing(DueFirst(), lambda: moment[0])
    playing.made(50)
    moment[0] = 400.0
    playing.made(50)
    assert playing.due == pytest.approx(401)


async def test_no_listener_runs_dry_on_a_busy_loop() -> None:
    """Thirty replies of 12 s; each round of the loop takes a time of its own."""
    moment = 0.0
    loop = asyncio.get_running_loop()
    order = DueFirst()
    dry = list[float]()

    async def reply() -> None:
        begun, made = None, 0.0
        playing = Playing(order, lambda: moment)
        while made < 12:
            await playing.turn()
            begun = moment if begun is None else begun
            if moment > begun + made:
                dry.append(moment - begun - made)
            made += 0.5
            playing.made(25)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "time", lambda: moment)
        replies = [asyncio.create_task(reply()) for _ in range(30)]
        while not all(task.done() for task in replies):
            moment += 0.01
            await asyncio.sleep(0)
    assert not dry
