"""When the next group may follow those that nobody has answered yet."""

import asyncio

from workers.gateway.configuring.on_the_way import OnTheWay


async def is_room(on_the_way: OnTheWay) -> bool:
    """Tell whether a group could go at once."""
    waiting = asyncio.create_task(on_the_way.room(), name="wait for room")
    await asyncio.sleep(0)
    has_room = waiting.done()
    waiting.cancel()
    return has_room


async def test_there_is_room_until_so_many_are_on_the_way_and_again_when_one_is_answered() -> None:
    on_the_way = OnTheWay(2, holds_s=60)
    first = on_the_way.add()
    assert await is_room(on_the_way)
    second = on_the_way.add()
    assert not await is_room(on_the_way)
    on_the_way.remove(first)
    assert await is_room(on_the_way)
    on_the_way.remove(first)  # its time is up, too
    third = on_the_way.add()
    assert not await is_room(on_the_way)
    for group in (second, third):
        on_the_way.remove(group)
    assert await is_room(on_the_way)


async def test_one_that_nobody_answers_holds_up_the_next_for_a_moment_only() -> None:
    on_the_way = OnTheWay(1, holds_s=0.01)
    on_the_way.add()
    async with asyncio.timeout(10):
        await on_the_way.room()
