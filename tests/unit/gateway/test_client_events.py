"""What a client's event may be, and how it is told what is wrong with one."""

import json
from typing import Any

import pytest

from schemas.session_events import ReplyCreate, read_client_event

SECRET = "sk-in-the-wrong-place"
KINDS = "input.gate.opened, input.gate.closed, reply.cancel, reply.create, conversation.message"


@pytest.mark.parametrize(
    ("event", "said"),
    [
        (
            {"type": "conversation.message", "role": "user", "content": "x", SECRET: 1},
            "conversation.message: unknown field; one of: type, role, content",
        ),
        ({"type": "session.end", SECRET: SECRET}, "session.end: unknown field; one of: type"),
        ({"type": SECRET}, f"type: unknown event; one of: {KINDS}, tool.result, session.end"),
        ({SECRET: SECRET}, "type: Field required"),
        ([SECRET], "event: Input should be an object"),
        (
            {"type": "reply.create", "instructions": [SECRET]},
            "reply.create.instructions: Input should be a valid string",
        ),
    ],
)
def test_an_event_is_told_what_is_wrong_without_a_word_of_it(event: Any, said: str) -> None:
    with pytest.raises(ValueError, match=r"^[a-z.]+: ") as refused:
        read_client_event(json.dumps(event))
    assert str(refused.value) == said


def test_what_is_no_json_is_said_to_be_none() -> None:
    with pytest.raises(ValueError, match=r"^event: Invalid JSON") as refused:
        read_client_event(SECRET)
    assert SECRET not in str(refused.value)


def test_an_event_that_is_right_is_read() -> None:
    event = read_client_event('{"type": "reply.create", "instructions": "Say hello."}')
    assert event == ReplyCreate(instructions="Say hello.")
