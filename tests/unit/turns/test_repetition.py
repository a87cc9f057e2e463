"""A model that goes round in circles is noticed; one that counts or laughs is not."""

import pytest

from workers.errors import ModelError
from workers.turns.repetition import Repetition


def taken(sentences: list[str]) -> int:
    """How many sentences are taken until a circle is noticed."""
    repetition = Repetition()
    for number, sentence in enumerate(sentences):
        try:
            repetition.take(sentence)
        except ModelError:
            return number
    return len(sentences)


@pytest.mark.parametrize("length", range(1, 9))
def test_a_circle_is_noticed_in_its_fourth_round(length: int) -> None:
    circle = [f"This is sentence {number}!" for number in range(length)]
    assert taken(["First of all.", *circle * 50]) == 1 + 4 * length - 1


def test_what_is_spelt_otherwise_is_the_same_sentence() -> None:
    assert taken(["I do not know.", "I do not know!", "i do NOT know", "I do  not know."]) == 3


@pytest.mark.parametrize(
    "said",
    [
        ["No."] * 6,
        ["Yeah yeah yeah."] * 3,
        [f"{number}." for number in range(200)],
        ["Row your boat.", "Gently down the stream.", "Row your boat.", "Life is a dream."] * 3,
    ],
)
def test_what_people_say_is_no_circle(said: list[str]) -> None:
    assert taken(said) == len(said)
