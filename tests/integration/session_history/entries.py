"""Entries of a time line, made up."""

from datetime import UTC, datetime, timedelta

from schemas.ids import new_id
from schemas.session_history import MessageEntry, SentRequest, TurnEntry

BEGAN = datetime(2026, 3, 1, 12, tzinfo=UTC)


def turn(second: int = 0, said: str = "What time is it?", reply: str = "It is noon.") -> TurnEntry:
    at = BEGAN + timedelta(seconds=second)
    messages = (
        {"role": "system", "content": "Be brief."},
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [{"id": "1", "function": {"name": "clock", "arguments": '{"a": 1}'}}],
        },
        {"role": "user", "content": said},
    )
    return TurnEntry(
        id=new_id("turn"),
        at=at,
        ended_at=at + timedelta(seconds=2),
        kind="utterance",
        user=said,
        reply_id=new_id("reply"),
        reply=reply,
        status="completed",
        interrupted=False,
        sent=(SentRequest(attempt=1, model="mine", messages=messages),),
        model="mine",
        entry=0,
        attempts=1,
        errors=(),
        metrics={"llm_first_token_ms": 12.5, "model": "mine"},
    )


def message(second: int = 0, content: str = "I look at page 3.") -> MessageEntry:
    at = BEGAN + timedelta(seconds=second)
    return MessageEntry(id=new_id("item"), at=at, role="user", content=content)
