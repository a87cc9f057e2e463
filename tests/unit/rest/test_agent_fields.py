"""The text of an agent: what is stripped is measured as it is kept, and no blanks come in."""

import json
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from schemas.agent import Agent, AgentCreate, AgentUpdate, Lines
from schemas.batch import UpsertRow
from schemas.config_event import read_change
from schemas.config_message import read_message

FIELDS = {"system_prompt": "b", "voice": {"voice_id": "ivy"}}
taken_in = pytest.mark.parametrize(
    ("model", "more"),
    [(AgentCreate, FIELDS), (AgentUpdate, {}), (UpsertRow, {"external_id": "a", **FIELDS})],
)


@taken_in
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


@taken_in
def test_a_greeting_without_a_word_and_a_blank_prompt_are_refused(
    model: type[BaseModel], more: dict[str, object]
) -> None:
    fields = {"name": "a", **more}
    for wordless in ("  ", "...", "—\n!"):
        with pytest.raises(ValidationError, match="no word to say"):
            model.model_validate({**fields, "greeting": wordless})
    for blank in (" ", "\n\t ", "\u2028"):
        with pytest.raises(ValidationError, match="nothing but space"):
            model.model_validate({**fields, "system_prompt": blank})
    said = {"greeting": " Grüezi! ", "system_prompt": " ... "}
    read = model.model_validate({**fields, **said})
    assert read.model_dump(include=set(said)) == said


def test_messages_of_other_programs_are_held_to_the_same_rules() -> None:
    whose = {"id": "m1", "account": "default", "external_id": "a"}
    agent = {"name": "a", **FIELDS}
    kept: list[dict[str, Any]] = [
        {**whose, "kind": "agent.upsert", "agent": agent},
        {**whose, "kind": "agent.change", "changes": {}},
    ]
    for message, place in zip(kept, ("agent", "changes"), strict=True):
        read_message(message)
        for wrong in ({"greeting": "..."}, {"system_prompt": " "}):
            with pytest.raises(ValidationError):
                read_message({**message, place: {**message[place], **wrong}})


def test_what_was_stored_before_is_read_as_it_is() -> None:
    old = {"name": "a", "voice": {"voice_id": "ivy"}, "system_prompt": " ", "greeting": "..."}
    now = "2026-11-27T00:00:00Z"
    record = {"id": "agent_" + "0" * 32, "created_at": now, "updated_at": now}
    Agent.model_validate({**old, **record, "input": {}, "output": {}, "llm": []})
    for change in (
        {"kind": "agent.upsert", "agent": old},
        {"kind": "agent.change", "changes": old},
    ):
        waiting = {**change, "agent_id": record["id"], "account": "default"}
        read_change(json.dumps(waiting))
