import asyncio

import pytest

from workers.turns.due_first import DueFirst, Playing


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_who_is_due_first_comes_first_and_equals_come_in_order() -> None:
    order, done = DueFirst(at_once=1), list[str]()

    async def work(name: str, due: float) -> None:
        async with order.turn(due):
            done.append(name)
            await asyncio.sleep(0)

    async with order.turn(0):
        names = [("late", 9.0), ("first", 1.0), ("also first", 1.0), ("second", 5.0)]
        tasks = [asyncio.create_task(work(*item)) for item in names]
        await settle()
        assert done == []
    await asyncio.gather(*tasks)
    assert done == ["first", "also first", "second", "late"]


async def test_no_more_than_so_many_are_in_at_once() -> None:
    order, inside, most = DueFirst(at_once=3), 0, 0

    async def work(due: float) -> None:
        nonlocal inside, most
        async with order.turn(due):
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0)
            inside -= 1

    await asyncio.gather(*[work(number % 7) for number in range(50)])
    assert (inside, most) == (0, 3)


@pytest.mark.parametrize("has_its_turn", [False, True])
async def test_who_is_cancelled_lets_the_next_one_in(*, has_its_turn: bool) -> None:
    order = DueFirst(at_once=1)
    entered = asyncio.Event()

    async def work(due: float) -> None:
        async with order.turn(due):
            entered.set()

    gate = order.turn(0)
    await gate.__aenter__()
    gone, next_one = asyncio.create_task(work(1)), asyncio.create_task(work(2))
    await settle()
    if has_its_turn:
        await gate.__aexit__(None, None, None)
        gone.cancel()
    else:
        gone.cancel()
        await settle()
        await gate.__aexit__(None, None, None)
    async with asyncio.timeout(5):
        await next_one
        await asyncio.gather(gone, return_exceptions=True)
        async with order.turn(3):
            pass


async def test_a_reply_that_is_ahead_waits_for_one_that_has_not_begun() -> None:
    order, done, now = DueFirst(at_once=1), list[str](), [100.0]
    ahead, new = (Playing(order, lambda: now[0]) for _ in range(2))
    ahead.made(500)

    async def work(name: str, playing: Playing) -> None:
        async with playing.turn():
            done.append(name)
        playing.made(10)

    async with order.turn(0):
        tasks = [asyncio.create_task(work(*item)) for item in (("ahead", ahead), ("new", new))]
        await settle()
    await asyncio.gather(*tasks)
    assert done == ["new", "ahead"]
    now[0] = 111.0
    async with order.turn(0):
        tasks = [asyncio.create_task(work(*item)) for item in (("new", new), ("ahead", ahead))]
        await settle()
    await asyncio.gather(*tasks)
    assert done[2:] == ["new", "ahead"]
