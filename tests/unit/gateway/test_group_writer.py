"""Which items are written together, and what becomes of those that are not written."""

import asyncio
from collections.abc import Sequence

import pytest

from workers.gateway.configuring.group_writer import GroupWriter
from workers.gateway.rest_errors import ApiError


class HeldWrite:
    """Writes that end when the test lets them; an item of `bad` fails alone."""

    def __init__(self, *bad: str) -> None:
        self.groups: list[list[str]] = []
        self.bad = bad
        self.failure: Exception | None = None
        self._began: asyncio.Queue[None] = asyncio.Queue()
        self._go = asyncio.Semaphore(0)

    async def __call__(self, items: Sequence[str]) -> list[str | Exception]:
        self.groups.append(list(items))
        self._began.put_nowait(None)
        await self._go.acquire()
        if self.failure is not None:
            raise self.failure
        return [ValueError(item) if item in self.bad else item.upper() for item in items]

    async def began(self) -> None:
        async with asyncio.timeout(10):
            await self._began.get()

    def let_go(self, count: int = 1) -> None:
        for _ in range(count):
            self._go.release()


async def begin(writer: GroupWriter[str, str], *items: str) -> "list[asyncio.Task[str]]":
    """Let these items come in this order, and each of them wait."""
    tasks = [asyncio.create_task(writer.write(item), name=item) for item in items]
    await asyncio.sleep(0)
    return tasks


async def outcomes(tasks: "Sequence[asyncio.Task[str]]") -> list[str | BaseException]:
    async with asyncio.timeout(10):
        return await asyncio.gather(*tasks, return_exceptions=True)


async def test_the_first_goes_at_once_and_what_comes_meanwhile_goes_together() -> None:
    write = HeldWrite()
    writer = GroupWriter[str, str](write)
    tasks = await begin(writer, "a")
    await write.began()
    tasks += await begin(writer, "b", "c", "d")
    write.let_go(2)
    assert await outcomes(tasks) == ["A", "B", "C", "D"]
    assert write.groups == [["a"], ["b", "c", "d"]]


async def test_one_that_comes_when_all_are_written_goes_at_once_again() -> None:
    write = HeldWrite()
    writer = GroupWriter[str, str](write)
    write.let_go(2)
    for item in ("a", "b"):
        assert await outcomes(await begin(writer, item)) == [item.upper()]
    assert write.groups == [["a"], ["b"]]


async def test_a_group_is_no_larger_than_its_bound_and_nobody_is_overtaken() -> None:
    write = HeldWrite()
    writer = GroupWriter[str, str](write, at_once=2)
    tasks = await begin(writer, "a")
    await write.began()
    tasks += await begin(writer, *"bcdef")
    write.let_go(4)
    assert await outcomes(tasks) == list("ABCDEF")
    assert write.groups == [["a"], ["b", "c"], ["d", "e"], ["f"]]


async def test_one_that_fails_fails_alone() -> None:
    write = HeldWrite("b")
    writer = GroupWriter[str, str](write)
    tasks = await begin(writer, "a")
    await write.began()
    tasks += await begin(writer, "b", "c")
    write.let_go(2)
    first, failed, third = await outcomes(tasks)
    assert (first, third) == ("A", "C")
    assert isinstance(failed, ValueError)


async def test_a_write_that_fails_whole_is_told_to_each_and_the_next_goes_on() -> None:
    write = HeldWrite()
    writer = GroupWriter[str, str](write)
    write.failure = OSError("away")
    tasks = await begin(writer, "a", "b")
    await write.began()
    later = await begin(writer, "c")
    write.let_go()
    assert [type(outcome) for outcome in await outcomes(tasks)] == [OSError, OSError]
    write.failure = None
    write.let_go()
    assert await outcomes(later) == ["C"]


async def test_beyond_the_bound_of_those_that_wait_there_is_a_503_with_retry_after() -> None:
    write = HeldWrite()
    writer = GroupWriter[str, str](write, most_waiting=2)
    tasks = await begin(writer, "a")
    await write.began()
    tasks += await begin(writer, "b", "c")
    with pytest.raises(ApiError) as refused:
        await writer.write("d")
    assert refused.value.status == 503
    assert int(refused.value.headers["Retry-After"]) > 0
    write.let_go(2)
    assert await outcomes(tasks) == ["A", "B", "C"]


async def test_one_whose_turn_does_not_come_in_time_is_never_written() -> None:
    write = HeldWrite()
    writer = GroupWriter[str, str](write, turn_s=0.01)
    tasks = await begin(writer, "a")
    await write.began()
    with pytest.raises(ApiError) as refused:
        await writer.write("b")
    assert refused.value.status == 503
    write.let_go()
    assert await outcomes(tasks) == ["A"], "what is being written is waited for"
    assert write.groups == [["a"]]


async def test_who_is_cancelled_before_the_turn_is_never_written() -> None:
    write = HeldWrite()
    writer = GroupWriter[str, str](write)
    tasks = await begin(writer, "a")
    await write.began()
    gone, stays = await begin(writer, "b", "c")
    gone.cancel()
    write.let_go(2)
    assert await outcomes([*tasks, stays]) == ["A", "C"]
    assert gone.cancelled()
    assert write.groups == [["a"], ["c"]]


async def test_who_is_cancelled_while_being_written_takes_nobody_along() -> None:
    write = HeldWrite()
    writer = GroupWriter[str, str](write)
    gone, stays = await begin(writer, "a", "b")
    await write.began()
    later = await begin(writer, "c")
    gone.cancel()
    write.let_go(2)
    assert await outcomes([stays, *later]) == ["B", "C"]
    assert write.groups == [["a", "b"], ["c"]]


async def test_at_the_end_everyone_is_turned_away() -> None:
    write = HeldWrite()
    async with GroupWriter[str, str](write).closing() as writer:
        (written,) = await begin(writer, "a")
        await write.began()
        (waits,) = await begin(writer, "b")
    told = await outcomes([written, waits])
    assert [getattr(each, "status", each) for each in told] == [503, 503]
    assert write.groups == [["a"]]
