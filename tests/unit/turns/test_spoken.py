"""What a further attempt may still say."""

from hypothesis import given
from hypothesis import strategies as st

from schemas.turn import Spoken
from workers.turns.spoken import Place, Placement

WORDS = st.sampled_from(["Yes.", "No.", "Perhaps.", "Well."])
HEARD = st.lists(
    st.builds(Spoken, text=WORDS, packets=st.integers(0, 50), complete=st.booleans()), max_size=6
).map(tuple)


def said(text: str, packets: int = 9, *, complete: bool = True) -> Spoken:
    return Spoken(text=text, packets=packets, complete=complete)


def test_a_first_attempt_counts_from_nought() -> None:
    placement = Placement(())
    assert [placement.place(text) for text in ("A.", "A.", "B.")] == [Place(0), Place(1), Place(2)]


def test_a_sentence_is_passed_over_as_often_as_it_was_heard() -> None:
    placement = Placement((said("Yes."), said("Yes.")))
    assert [placement.place("Yes.") for _ in range(3)] == [None, None, Place(2)]


def test_case_and_punctuation_make_no_other_sentence() -> None:
    assert Placement((said("Hello, there."),)).place("hello there!") is None


def test_the_sentence_that_was_cut_goes_on_under_its_number() -> None:
    placement = Placement((said("One."), said("Two.", 7, complete=False)))
    assert placement.place("One.") is None
    assert placement.place("Two.") == Place(1, 7)
    assert placement.place("Three.") == Place(2)


@given(HEARD, st.lists(WORDS, max_size=12))
def test_numbers_are_never_given_twice(spoken: tuple[Spoken, ...], texts: list[str]) -> None:
    placement = Placement(spoken)
    places = [place for text in texts if (place := placement.place(text))]
    numbers = [place.number for place in places]
    assert len(set(numbers)) == len(numbers)
    for place in places:
        assert place.number >= len(spoken) or not spoken[place.number].complete
