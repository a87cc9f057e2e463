"""Between a model and a voice, each at its own pace."""

import asyncio

import pytest

from workers.errors import ModelError
from workers.turns.filler import Aside
from workers.turns.unsaid import LAST_WORDS, MOST, Unsaid

BROKEN = ModelError("disconnected", "scripted", retryable=True)


async def rest_of(unsaid: Unsaid) -> list[str | Aside]:
    rest = []
    while (sentence := await unsaid.next()) is not None:
        rest.append(sentence)
    return rest


async def test_the_voice_waits_for_the_model_and_says_all_in_order() -> None:
    unsaid = Unsaid()
    saying = asyncio.create_task(rest_of(unsaid), name="test-voice")
    for sentence in ("One.", Aside("Well."), "Two."):
        await asyncio.sleep(0)
        unsaid.put(sentence)
    unsaid.end()
    assert await saying == ["One.", Aside("Well."), "Two."]
    assert unsaid.error is None
    assert await unsaid.next() is None


async def test_of_a_reply_that_fails_the_first_of_what_is_left_is_said() -> None:
    unsaid = Unsaid()
    for number in range(LAST_WORDS + 5):
        unsaid.put(f"{number}.")
    assert await unsaid.next() == "0."
    unsaid.end(BROKEN)
    assert await rest_of(unsaid) == [f"{number}." for number in range(1, LAST_WORDS + 1)]
    assert unsaid.error is BROKEN


async def test_a_model_that_leaves_the_voice_too_far_behind_has_written_too_much() -> None:
    unsaid = Unsaid()
    for _ in range(MOST):
        unsaid.put("Again.")
    with pytest.raises(ModelError) as caught:
        unsaid.put("Again.")
    assert caught.value.failure == "too_large"
    await unsaid.next()
    unsaid.put("Again.")
