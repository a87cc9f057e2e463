"""Cutting a reply into sentences while it is written."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.turns.sentences import FIRST_CLAUSE, MAX_SENTENCE, SentenceCutter

# fmt: off
PIECES = st.sampled_from([
    "Hello", ". ", ".", "! ", "? ", "...", " ", "\n", "1. ", "Mr. ", "e.g. ", "U.S. ", "etc. ",
    "3.14", ", ", "word ", "```", "**", "<think>", "</think>", "A", "b", '"', "\u201d", "\u3002",
    "\u300c", "\u300d", "\U0001f642",
])
# fmt: on
TEXTS = st.lists(PIECES, max_size=80).map("".join)


def cut(text: str) -> list[str]:
    cutter = SentenceCutter()
    return cutter.push(text) + cutter.flush()


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("Hi. How are you? Fine!", ["Hi.", "How are you?", "Fine!"]),
        ("It is 3.14 or so. Yes.", ["It is 3.14 or so.", "Yes."]),
        ("Ask Mr. Smith or Dr. Jones. Now.", ["Ask Mr. Smith or Dr. Jones.", "Now."]),
        ("J. K. Rowling wrote it. So?", ["J. K. Rowling wrote it.", "So?"]),
        ("Fruit, e.g. apples, i.e. food. Good.", ["Fruit, e.g. apples, i.e. food.", "Good."]),
        ("Well... let me see. Ok.", ["Well... let me see.", "Ok."]),
        ("Well... Then go.", ["Well...", "Then go."]),
        ("At 5 p.m. we go. At 6 p.m. You stay.", ["At 5 p.m. we go.", "At 6 p.m.", "You stay."]),
        ('He said "Stop." Then left.', ['He said "Stop."', "Then left."]),
        ("It works (mostly). Good.", ["It works (mostly).", "Good."]),
        ("Really?! Yes.", ["Really?!", "Yes."]),
        ("1. First\n2. Second\n", ["1. First", "2. Second"]),
        ("It was I. Then you.", ["It was I.", "Then you."]),
        ("No full stop", ["No full stop"]),
        ("你好。再见。", ["你好。", "再见。"]),
        ("Look:\n```python\nprint('x. y')\n```\nDone.", ["Look:", "Done."]),
        ("<think>Hm. So\n\nwhat?</think>Hi. <thinking>Go on.</thinking>Bye.", ["Hi.", "Bye."]),
        ("Done.\n```\nx = 1. So\n", ["Done."]),
        ("A ``` begins code. It ends so, too.", ["A", "begins code.", "It ends so, too."]),
        ("Less is <b. So it is", ["Less is <b.", "So it is"]),
        ("كيف حالك؟ أنا بخير.", ["كيف حالك؟", "أنا بخير."]),
        ("यह अच्छा है। धन्यवाद।", ["यह अच्छा है।", "धन्यवाद।"]),
        ("他说：「你好。」然后走了。", ["他说：「你好。」", "然后走了。"]),  # noqa: RUF001  # Chinese
        ("「一。二。」三。", ["「一。", "二。」", "三。"]),
        (
            "因为今天的天气真的非常非常好，我们走吧，好。",  # noqa: RUF001  # Chinese
            ["因为今天的天气真的非常非常好，", "我们走吧，好。"],  # noqa: RUF001  # Chinese
        ),
        ("  \n\n ... !! \n", []),
        ("", []),
    ],
)
def test_a_text_is_cut_where_its_sentences_end(text: str, sentences: list[str]) -> None:
    assert cut(text) == sentences


def test_much_that_follows_a_stray_fence_is_code_without_an_end() -> None:
    assert cut("See ``` " + "x = 1. " * 300) == ["See"]


def test_a_sentence_comes_out_with_the_space_behind_it() -> None:
    cutter = SentenceCutter()
    assert cutter.push("One.") == []
    assert cutter.push(" ") == ["One."]


def test_a_long_first_clause_is_cut_at_its_comma_a_later_one_is_not() -> None:
    clause = "Because the weather is as fine as this today,"
    assert len(clause) > FIRST_CLAUSE
    assert cut(f"{clause} let us go. {clause} let us stay.") == [
        clause,
        "let us go.",
        f"{clause} let us stay.",
    ]


def test_a_text_without_any_end_is_cut_at_a_space() -> None:
    sentences = cut("word " * 500)
    assert all(len(sentence) <= MAX_SENTENCE for sentence in sentences)
    assert all(set(sentence.split()) == {"word"} for sentence in sentences)


def test_a_word_without_end_is_cut_too() -> None:
    assert all(len(sentence) <= MAX_SENTENCE for sentence in cut("x" * 5_000))


@given(TEXTS, st.data())
def test_the_sentences_do_not_depend_on_how_the_deltas_were_cut(
    text: str, data: st.DataObject
) -> None:
    cutter, sentences, rest = SentenceCutter(), [], text
    while rest:
        size = data.draw(st.integers(1, len(rest)))
        sentences += cutter.push(rest[:size])
        rest = rest[size:]
    assert sentences + cutter.flush() == cut(text)


@given(TEXTS)
def test_every_sentence_has_a_word_and_no_word_is_lost_outside_of_code(text: str) -> None:
    sentences = cut(text)
    assert all(any(char.isalnum() for char in sentence) for sentence in sentences)
    if "```" not in text and "<think>" not in text:
        kept = [char for sentence in sentences for char in sentence if char.isalnum()]
        assert kept == [char for char in text if char.isalnum()]


@given(st.text(max_size=2_000))
def test_any_text_is_bounded_sentences(text: str) -> None:
    assert all(0 < len(sentence) <= MAX_SENTENCE for sentence in cut(text))
