"""The page on sessions: the events and the record that it shows are real ones."""

import json
import re
from pathlib import Path
from typing import Any, get_args

import pytest

from schemas.session_events import AnyServerEvent, ClientEvent, SessionError, read_client_event
from schemas.session_history import SessionRecord

PAGE = (Path(__file__).parents[3] / "docs" / "sessions.md").read_text()
SHOWN: list[dict[str, Any]] = [
    json.loads(block) for block in re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
]


def test_the_events_that_are_shown_are_taken() -> None:
    sent = [one for one in SHOWN if one.get("type") in ("reply.create", "conversation.message")]
    assert [read_client_event(json.dumps(one)).type for one in sent] == [
        "conversation.message",
        "reply.create",
    ]


def test_the_error_that_is_shown_is_the_one_that_is_answered() -> None:
    (shown,) = [one for one in SHOWN if one.get("type") == "session.error"]
    wrong = json.dumps({"type": "conversation.message", "role": "tool", "content": "x"})
    with pytest.raises(ValueError, match="role") as refused:
        read_client_event(wrong)
    error = SessionError(code="invalid_format", message=str(refused.value))
    assert shown == error.model_dump(mode="json", exclude={"timestamp"})


def test_the_record_that_is_shown_is_one() -> None:
    (shown,) = [one for one in SHOWN if "timeline" in one]
    record = SessionRecord.model_validate_json(json.dumps(shown))
    assert [entry.type for entry in record.timeline] == ["turn", "message"]
    assert json.loads(record.model_dump_json()).keys() == shown.keys()
    assert record.timeline[0].model_dump().keys() == shown["timeline"][0].keys()


def test_the_tables_name_every_event_and_no_other() -> None:
    told = set(re.findall(r"`([a-z.]+) \{", PAGE))
    there = {kind.model_fields["type"].default for kind in get_args(ClientEvent | AnyServerEvent)}
    assert told == there


def test_the_table_names_the_fields_of_what_the_server_sends() -> None:
    rows = dict(re.findall(r"^\| `([a-z.]+) \{([^}]*)\}` \|", PAGE, re.MULTILINE))
    for kind in get_args(AnyServerEvent):
        names = [name for name in kind.model_fields if name not in ("type", "timestamp")]
        told = rows[kind.model_fields["type"].default].split(", ") if names else []
        if told and told[-1] == "…":
            assert told[:-1] == names[: len(told) - 1]
        else:
            assert told == names
