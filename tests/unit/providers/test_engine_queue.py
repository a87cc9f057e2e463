import asyncio

from workers.providers.speech.engine_queue import EngineQueue


async def test_the_next_free_engine_goes_to_who_is_due_first() -> None:
    queue, done = EngineQueue(1), list[str]()

    async def work(name: str, due: float) -> None:
        async with queue.place(due):
            await asyncio.sleep(0)
            done.append(name)

    names = [("under way", 50.0), ("late", 9.0), ("first", 1.0), ("also first", 1.0)]
    await asyncio.gather(*[work(*item) for item in names])
    assert done == ["under way", "first", "also first", "late"]


async def test_as_many_are_in_as_there_are_engines() -> None:
    queue, inside, most = EngineQueue(3), 0, 0

    async def work() -> None:
        nonlocal inside, most
        async with queue.place(0):
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0)
            inside -= 1

    await asyncio.gather(*[work() for _ in range(20)])
    assert most == 3


async def test_who_is_cancelled_leaves_its_place_to_others() -> None:
    queue = EngineQueue(1)
    waiting = []
    for let_in in (False, True):
        async with queue.place(0):
            waiting = [asyncio.create_task(hold(queue)) for _ in range(2)]
            await asyncio.sleep(0)
            if not let_in:
                waiting[0].cancel()
        if let_in:  # it has its turn, and does not know yet
            waiting[0].cancel()
        async with asyncio.timeout(5):
            await asyncio.gather(*waiting, return_exceptions=True)
            assert waiting[0].cancelled()
            await hold(queue)


async def hold(queue: EngineQueue) -> None:
    async with queue.place(0):
        await asyncio.sleep(0)
