"""What the built-in responder says."""

from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.llm_gateway.responder import ABILITIES, HELLO, NO_MODEL, respond

NOW = datetime(2026, 11, 22, 19, 5)  # noqa: DTZ001  # the wall clock of the speaker


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        ("what is two plus two", "That is 4."),
        ("What's 3 * 4?", "That is 12."),
        ("twelve times seven", "That is 84."),
        ("hey can you tell me what is ten minus one please", "That is 9."),
        ("what does two plus two make", "That is 4."),
        ("how much is ten divided by zero", "I cannot divide by zero."),
        ("two to the power of two hundred", "That number is too large for me."),
        ("what time is it", "It is 7:05 PM."),
        ("What's the time?", "It is 7:05 PM."),
        ("hello what time is it", "It is 7:05 PM."),
        ("could you tell me the time please", "It is 7:05 PM."),
        ("what day is it", "Today is Sunday, the 22nd of November 2026."),
        ("what is the date today", "Today is Sunday, the 22nd of November 2026."),
        ("what's today's date?", "Today is Sunday, the 22nd of November 2026."),
        ("repeat after me the quick brown fox", "the quick brown fox"),
        ("Please repeat after me: Two plus two!", "Two plus two!"),
        ("say after me, hello", "hello"),
        ("hello", HELLO),
        ("Hi there!", HELLO),
        ("good morning", HELLO),
        ("what can you do", f"I am the built-in responder of Edgewise. {ABILITIES}"),
        ("help", f"I am the built-in responder of Edgewise. {ABILITIES}"),
        ("thank you very much", "You are welcome."),
        ("goodbye", "Goodbye!"),
        ("who wrote hamlet", NO_MODEL),
        ("go forward ten meters", NO_MODEL),
        ("is it time to go for a walk", NO_MODEL),
        ("", NO_MODEL),
    ],
)
def test_questions_get_their_answers(said: str, answer: str) -> None:
    assert respond(said, NOW) == answer


@pytest.mark.parametrize(
    ("hour", "minute", "said"),
    [
        (0, 0, "It is 12 AM."),
        (0, 30, "It is 12:30 AM."),
        (12, 0, "It is 12 PM."),
        (13, 1, "It is 1:01 PM."),
        (23, 59, "It is 11:59 PM."),
    ],
)
def test_the_clock_has_twelve_hours_twice(hour: int, minute: int, said: str) -> None:
    assert respond("what time is it", NOW.replace(hour=hour, minute=minute)) == said


@pytest.mark.parametrize(
    ("day", "said"), [(1, "1st"), (2, "2nd"), (3, "3rd"), (4, "4th"), (11, "11th"), (13, "13th")]
)
def test_days_are_counted_as_they_are_said(day: int, said: str) -> None:
    assert f"the {said} of November" in respond("what day is it", NOW.replace(day=day))


def test_without_a_model_it_says_so_and_names_the_setting() -> None:
    assert "no language model is configured" in NO_MODEL
    assert "EDGEWISE_MANAGED_LLM_BASE_URL" in NO_MODEL


@given(st.text(max_size=2_000))
def test_anything_gets_an_answer_that_is_short_enough_to_be_spoken(said: str) -> None:
    answer = respond(said, NOW)
    assert 0 < len(answer) <= 1_000
