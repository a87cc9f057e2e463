"""An agent's own deadlines are kept within the operator's."""

import pytest
from pydantic import ValidationError

from schemas.agent import Deadlines, Lines
from workers.providers.chat import Budget
from workers.turns.models import within

OPERATORS = Budget(connect_s=1, first_token_s=8, between_tokens_s=3, total_s=30)


def test_what_is_shorter_counts() -> None:
    own = Deadlines(connect=0.5, first_token=20, between_tokens=2)
    wanted = Budget(connect_s=0.5, first_token_s=8, between_tokens_s=2, total_s=30)
    assert within(OPERATORS, own) == wanted
    assert within(OPERATORS, Deadlines()) == OPERATORS


@pytest.mark.parametrize("seconds", [0, -1, 301, float("inf"), float("nan")])
def test_a_deadline_that_cannot_be_is_refused(seconds: float) -> None:
    with pytest.raises(ValidationError):
        Deadlines(total=seconds)


@pytest.mark.parametrize("line", ["", " ", "…", "x" * 201, "a\0b"])
def test_a_line_that_cannot_be_said_is_refused(line: str) -> None:
    with pytest.raises(ValidationError):
        Lines(failed=line)


def test_only_the_filler_may_be_silence() -> None:
    assert not Lines(filler=" ").filler
