"""What an earlier attempt wrote, said again."""

import asyncio

import pytest

from tests.fakes.tools import CallingChat
from workers.turns.filler import Filler
from workers.turns.timeline import Timeline
from workers.turns.unsaid import Unsaid
from workers.turns.writing import AT_ONCE, Writing


def writing(unsaid: Unsaid) -> Writing:
    filler = Filler(lambda _aside: None, "", 60, asyncio.Event())
    return Writing(CallingChat(), unsaid, filler, Timeline(lambda: 0.0, None, "m"))


@pytest.mark.parametrize("text", ["So it goes on. ", "<think></think>"])
async def test_others_have_the_loop_while_a_long_text_is_repeated(text: str) -> None:
    repeating = asyncio.create_task(writing(Unsaid()).repeat(text * 1_000), name="test-repeat")
    rounds = 0
    while not repeating.done():
        rounds += 1
        await asyncio.sleep(0)
    await repeating
    assert rounds >= 1_000 * len(text) // AT_ONCE


async def test_what_is_repeated_is_whole_and_may_go_round_in_circles() -> None:
    unsaid = Unsaid()
    await writing(unsaid).repeat("So it goes on. " * 100 + "The end")
    unsaid.end()
    said = [await unsaid.next() for _ in range(101)]
    assert said == ["So it goes on."] * 100 + ["The end"]
    assert await unsaid.next() is None
