"""Sums as people say and write them."""

import contextlib
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.llm_gateway.arithmetic import NotASumError, TooLargeError, evaluate, say
from workers.llm_gateway.number_words import read_number

# fmt: off
ONES = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten",
    "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen",
    "nineteen",
)
TENS = ("", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
# fmt: on


def spell(number: int) -> str:
    if number < 20:
        return ONES[number]
    if number < 100:
        return TENS[number // 10] + (f" {ONES[number % 10]}" if number % 10 else "")
    for scale, word in ((10**9, "billion"), (10**6, "million"), (1000, "thousand")):
        if number >= scale:
            rest = f" {spell(number % scale)}" if number % scale else ""
            return f"{spell(number // scale)} {word}{rest}"
    rest = f" and {spell(number % 100)}" if number % 100 else ""
    return f"{spell(number // 100)} hundred{rest}"


@pytest.mark.parametrize(
    ("said", "value"),
    [
        ("two plus two", 4),
        ("twelve times seven", 84),
        ("3 * 4", 12),
        ("3x4", 12),
        ("two plus three times four", 14),
        ("( two + 3 ) * 4", 20),
        ("nine divided by three divided by three", 1),
        ("ten minus four minus three", 3),
        ("ten over four", Fraction(5, 2)),
        ("a hundred and five minus twenty-one", 84),
        ("one thousand two hundred and three plus a million", 1_001_203),
        ("minus five plus two", -3),
        ("5 - -3", 8),
        ("three point one four times two", Fraction(157, 25)),
        ("five squared", 25),
        ("two cubed", 8),
        ("two to the power of ten", 1024),
        ("2^3^2", 512),
        ("2^-2", Fraction(1, 4)),
        ("-2^2", -4),
        ("the square root of sixteen", 4),
        ("square root of sixteen plus nine", 13),
        ("ten percent of fifty", 5),
        ("15% of 80", 12),
        ("1,000 + 1", 1001),
        ("0.1 + 0.2", Fraction(3, 10)),
        ("to plus to", 4),
        ("for times too", 8),
    ],
)
def test_sums_are_worked_out(said: str, value: Fraction) -> None:
    assert evaluate(said) == value


@pytest.mark.parametrize(
    "said",
    [
        "",
        "five",
        "two two",
        "seven times",
        "plus",
        "two plus apples",
        "twenty twelve plus one",
        "(2 + 3",
        "2 + 3)",
        "two and two",
        "the square root of minus one",
        "2 ^ 0.5",
        "__import__('os')",
        "1 + 1; 2",
        "1 + " * 40 + "1",
    ],
)
def test_what_is_no_sum_is_said_to_be_none(said: str) -> None:
    with pytest.raises(NotASumError):
        evaluate(said)


@pytest.mark.parametrize("said", ["9^9^9", "2^9999999", "9" * 40 + "+1", "999999999999 * 99999"])
def test_what_grows_too_large_is_refused_at_once(said: str) -> None:
    with pytest.raises(TooLargeError):
        evaluate(said)


@pytest.mark.parametrize("said", ["ten divided by zero", "0 ^ -1", "5 / (2 - 2)"])
def test_nothing_is_divided_by_zero(said: str) -> None:
    with pytest.raises(ZeroDivisionError):
        evaluate(said)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (Fraction(4), "4"),
        (Fraction(-3), "minus 3"),
        (Fraction(5, 2), "2.5"),
        (Fraction(-1, 4), "minus 0.25"),
        (Fraction(1, 3), "about 0.3333"),
        (Fraction(-2, 3), "about minus 0.6667"),
        (Fraction(-1, 10**9), "about 0"),
    ],
)
def test_values_are_said_short(value: Fraction, said: str) -> None:
    assert say(value) == said


@given(st.integers(0, 10**12 - 1))
def test_every_number_is_understood_as_it_is_spelled(number: int) -> None:
    words = spell(number).split()
    assert read_number(words, 0) == (Fraction(number), len(words))


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.sampled_from(["plus", "minus", "times"]))
def test_spelled_sums_have_the_value_of_written_ones(a: int, b: int, operator: str) -> None:
    value = {"plus": a + b, "minus": a - b, "times": a * b}[operator]
    assert evaluate(f"{spell(a)} {operator} {spell(b)}") == value
    assert evaluate(f"{a} {operator} {b}") == value


@given(st.text(alphabet="0123456789.+-*/^() abcdefghijklmnopqrstuvwxyz%,", max_size=80))
def test_any_text_is_a_sum_or_one_of_three_errors(text: str) -> None:
    with contextlib.suppress(NotASumError, TooLargeError, ZeroDivisionError):
        evaluate(text)
