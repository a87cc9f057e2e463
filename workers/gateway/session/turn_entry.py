"""What the history of a session keeps of a turn: the reply as it was heard, and how it came."""

from datetime import UTC, datetime

from schemas.session_history import Failure, SentRequest, TurnEntry
from schemas.turn import TurnTask
from workers.gateway.session.reply import Reply


def turn_entry(task: TurnTask, began: datetime, reply: Reply, attempts: int) -> TurnEntry | None:
    """Return the entry of a turn that is over; None where nothing was said and nothing failed."""
    measured = reply.measured(attempts)
    sent = tuple(
        SentRequest(**asked.model_dump(exclude={"type"}, mode="python")) for asked in reply.asked
    )
    if not (reply.user_text or reply.is_started or sent):
        return None
    return TurnEntry(
        id=task.turn_id,
        at=began,
        ended_at=datetime.now(UTC),
        kind=task.kind,
        user=reply.user_text,
        reply_id=reply.reply_id,
        reply=reply.heard,
        status=reply.status,
        interrupted=reply.status == "interrupted",
        sent=sent,
        model=measured.model or (sent[-1].model if sent else None),
        entry=measured.entry,
        attempts=measured.attempts,
        errors=tuple(
            Failure(**error.model_dump(exclude={"type", "attempt"})) for error in reply.errors
        ),
        metrics=measured.model_dump(mode="json", exclude={"type", "timestamp", "reply_id"}),
    )
