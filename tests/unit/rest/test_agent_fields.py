"""Text that is stripped is measured as it is kept."""

import pytest
from pydantic import BaseModel, ValidationError

from schemas.agent import AgentCreate, AgentUpdate, Lines
from schemas.batch import UpsertRow

FIELDS = {"system_prompt": "b", "voice": {"voice_id": "ivy"}}


@pytest.mark.parametrize(
    ("model", "more"),
    [(AgentCreate, FIELDS), (AgentUpdate, {}), (UpsertRow, {"external_id": "a", **FIELDS})],
)
def test_a_name_of_nothing_but_space_is_refused_and_others_are_stripped(
    model: type[BaseModel], more: dict[str, object]
) -> None:
    for blank in ("", " ", "\n\t ", "\u2028"):
        with pytest.raises(ValidationError, match="at least 1 character"):
            model.model_validate({**more, "name": blank})
    for given, kept in (("  Ada ", "Ada"), (f" {'x' * 256}\n", "x" * 256)):
        read = model.model_validate({**more, "name": given})
        assert read.model_dump(include={"name"}) == {"name": kept}
    for wrong in ("x" * 257, "a\0b"):
        with pytest.raises(ValidationError):
            model.model_validate({**more, "name": wrong})


def test_a_line_is_stripped_before_it_is_measured() -> None:
    assert Lines(failed=f" {'x' * 200} ").failed == "x" * 200
    assert Lines(filler="  ").filler == ""
    for wrong in ("x" * 201, "  ", "a\0b"):
        with pytest.raises(ValidationError):
            Lines(failed=wrong)
