"""What of a sentence is said."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.turns.speakable import speakable


@pytest.mark.parametrize(
    ("sentence", "said"),
    [
        ("Hello there.", "Hello there."),
        ("**Bold** and *slanted* and `code`.", "Bold and slanted and code."),
        ("## A heading", "A heading"),
        ("- an item", "an item"),
        ("2. second", "second"),
        ("> quoted", "quoted"),
        ("See [the page](https://example.com/x).", "See the page."),
        ("See https://example.com/x now.", "See a link now."),
        ("Great 🎉👍🏽 work ❤️!", "Great work !"),
        ("It is 20 °C.", "It is 20 °C."),
        ("a_b stays, _this_ too.", "a_b stays, this too."),
        ("<b>Tag</b>", "Tag"),
        ("3 < 5 and 7 > 2, you see", "3 < 5 and 7 > 2, you see"),
        ("2 + 2 = 4, 50 % and $3.", "2 + 2 = 4, 50 % and $3."),
        ("---", ""),
        ("🙂", ""),
        ("", ""),
        ("na\u00efve caf\u00e9", "na\u00efve caf\u00e9"),
        ("with\x00control\u200bmarks", "with control marks"),
    ],
)
def test_markup_and_pictures_are_left_out(sentence: str, said: str) -> None:
    assert speakable(sentence) == said


@given(st.text(max_size=300))
def test_what_is_said_is_one_line_with_a_word_in_it_or_nothing(text: str) -> None:
    said = speakable(text)
    assert said == " ".join(said.split())
    assert not said or any(char.isalnum() for char in said)
