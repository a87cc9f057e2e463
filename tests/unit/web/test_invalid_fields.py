"""What is told of a field that is wrong: words of JSON, and not what was sent."""

import pytest
from pydantic import ValidationError

from schemas.agent import AgentCreate
from schemas.batch import UpsertRow
from tests.fakes.rest_application import agent
from workers.gateway.rest_errors import ApiError
from workers.web.invalid_fields import invalid_items

ENTRY = {"base_url": "https://llm.example.com/v1", "model": "m", "api_key": "k"}
TOOL = {"name": "a", "description": "b"}


@pytest.mark.parametrize(
    ("fields", "param", "message"),
    [
        ({"system_prompt": "x" * 32_769}, "system_prompt", "String should have at most 32768 c"),
        ({"greeting": "x" * 2_049}, "greeting", "String should have at most 2048 characters"),
        ({"greeting": ""}, "greeting", "String should have at least 1 character"),
        (
            {"input": {"keyterms": ["a", "x" * 101]}},
            "input.keyterms.1",
            "String should have at most 100 characters",
        ),
        ({"input": {"keyterms": ["x"] * 101}}, "input.keyterms", "List should have at most 100 i"),
        ({"input": {"keyterms": "x"}}, "input.keyterms", "Input should be a list"),
        ({"input": []}, "input", "Input should be an object"),
        ({"llm": {}}, "llm", "Input should be a list"),
        ({"llm": [ENTRY] * 9}, "llm", "List should have at most 8 items"),
        ({"llm": ["x"]}, "llm.0", "Input should be an object"),
        ({"llm": [{**ENTRY, "api_key": ""}]}, "llm.0.api_key", "String should have at least 1 ch"),
        ({"llm": [{**ENTRY, "api_key": "x" * 1_025}]}, "llm.0.api_key", "String should have at mo"),
        ({"llm": [{**ENTRY, "model": "a\0b"}]}, "llm.0.model", "holds a NUL character"),
        (
            {"tools": [{**TOOL, "parameters": []}]},
            "tools.0.parameters",
            "Input should be an object",
        ),
        ({"voice": {"voice_id": "nobody"}}, "voice", "unknown voice; one of: ivy"),
    ],
)
def test_a_fault_is_told_in_words_of_json(
    fields: dict[str, object], param: str, message: str
) -> None:
    for model in (AgentCreate, UpsertRow):
        with pytest.raises(ValidationError) as raised:
            model.model_validate(
                agent(external_id="a", **fields) if model is UpsertRow else agent(**fields)
            )
        (item,) = invalid_items(raised.value.errors(), model)
        assert item.param == param
        assert item.message.startswith(message)
        assert not any(word in item.message for word in ("after validation", "dict", "uple"))


def test_every_item_says_where_in_its_param_alone() -> None:
    refusal = ApiError(422, "validation_error", "llm: holds more than 1 entry", "llm")
    assert [(item.param, item.message) for item in refusal.errors] == [
        ("llm", "holds more than 1 entry")
    ]
