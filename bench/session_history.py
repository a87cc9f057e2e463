"""What it costs a conversation that it is kept: the hand-over on the event loop, and the room.

A session of 100 turns, each sent with the whole conversation so far, into SQLite; the figure
is how long the gateway's loop is held up by handing a turn over.
"""

import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from sqlalchemy import func, select

from bench.figure import Figure, percentile
from schemas.ids import new_id
from schemas.session_history import SentRequest, TurnEntry
from workers.settings import Settings
from workers.storage.database import open_engine, reading
from workers.storage.sessions.recorder import SessionRecorder
from workers.storage.sessions.tables import session_entries, session_messages
from workers.storage.upgrade import upgrade_engine

TURNS: Final = 100
SESSIONS, QUICK_SESSIONS = 20, 5
TARGET_US: Final = 1_000
TARGET_TURNS_S: Final = 50
"""A gateway with all the busy sessions that it takes has five."""
TARGET_KB: Final = 400
WRITTEN_S: Final = 30.0
USER: Final = "what I said was about so long " * 3
AGENT: Final = "what the agent answered was a little longer than that " * 4


def run(*, quick: bool) -> list[Figure]:
    """Return the time of a hand-over, the turns written in a second, and the size of a session."""
    sessions = QUICK_SESSIONS if quick else SESSIONS
    with tempfile.TemporaryDirectory(prefix="ew-") as folder:
        engine = open_engine(Settings(_env_file=None, home=Path(folder)))
        upgrade_engine(engine)
        began = time.perf_counter()
        with SessionRecorder.open(engine, 30) as recorder:
            taken = [one for _ in range(sessions) for one in _session(recorder)]
            took_s = time.perf_counter() - began
        with reading(engine) as connection:
            size = sum(
                connection.execute(select(func.sum(func.length(column)))).scalar_one()
                for column in (session_entries.c.document, session_messages.c.body)
            )
        engine.dispose()
    count = sessions * TURNS
    p99, p50 = percentile(taken, 0.99), percentile(taken, 0.5)
    said = f"{TURNS * (len(USER) + len(AGENT)) / 1_000:.0f} kB were said"
    return [
        Figure(
            "history: a turn handed over, p99",
            p99,
            "µs",
            TARGET_US,
            note=f"p50 {p50:.0f} µs of {count}",
        ),
        Figure(
            "history: turns written",
            count / took_s,
            "/s",
            TARGET_TURNS_S,
            "at least",
            note="SQLite, one thread",
        ),
        Figure(
            f"history: room for {TURNS} turns",
            size / sessions / 1_000,
            "kB",
            TARGET_KB,
            note=said,
        ),
    ]


def _session(recorder: SessionRecorder) -> list[float]:
    """Let a session happen; return how long each hand-over took, in µs."""
    session_id = new_id("session")
    taken: list[float] = []
    recorder.started(session_id, "bench", new_id("agent"))
    history = [{"role": "system", "content": "Be brief. " * 80}]
    for number in range(TURNS):
        history.append({"role": "user", "content": f"{number} {USER}"})
        entry = _turn(tuple(history))
        began = time.perf_counter()
        recorder.added(session_id, entry)
        taken.append(1e6 * (time.perf_counter() - began))
        history.append({"role": "assistant", "content": f"{number} {AGENT}"})
    recorder.ended(session_id, "client")
    if not recorder.flush(WRITTEN_S):
        raise TimeoutError("the history was not written in time")
    return taken


def _turn(messages: tuple[dict[str, str], ...]) -> TurnEntry:
    now = datetime.now(UTC)
    return TurnEntry(
        id=new_id("turn"),
        at=now,
        ended_at=now,
        kind="utterance",
        user=USER,
        reply_id=new_id("reply"),
        reply=AGENT,
        status="completed",
        interrupted=False,
        sent=(SentRequest(attempt=1, model="bench", messages=messages),),
        model="bench",
        attempts=1,
        errors=(),
        metrics={},
    )
