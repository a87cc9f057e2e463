"""When each stage of a turn happened, and the metrics that follow from it."""

from collections.abc import Callable
from typing import Literal

from schemas.chat import Answered, FailedTry, Used
from schemas.turn import MAX_FAILURES, TurnMetrics
from workers.errors import ModelError

Moment = Literal[
    "started",
    "pause",
    "transcript",
    "request",
    "first_token",
    "first_sentence",
    "first_audio",
    "end",
    "let_out",
    "done",
]


class Timeline:
    """Remembers the moments of a turn, in seconds on the clock that it is given."""

    def __init__(self, now: Callable[[], float], queue_ms: float | None, model: str) -> None:
        self._now = now
        self._queue_ms = queue_ms
        self._model = model
        self._entry: int | None = None
        self._tries = 0
        self._failures: tuple[FailedTry, ...] = ()
        self._used: Used | None = None
        self._at: dict[Moment, float] = {"started": now()}

    def mark(self, moment: Moment) -> None:
        """Note that this happens now; a later one of the same name replaces it."""
        self._at[moment] = self._now()

    def mark_first(self, moment: Moment) -> None:
        """Note that this happens now, unless it is noted already."""
        self._at.setdefault(moment, self._now())

    def answered(self, by: Answered) -> None:
        """Note which model answers, and what it took."""
        self._model, self._entry = by.model, by.entry
        self._count(by.tries, by.failures)

    def used(self, usage: Used) -> None:
        """Add what a request to the model took; a reply with tools has several."""
        before = self._used or Used(0, 0)
        self._used = Used(
            before.prompt_tokens + usage.prompt_tokens,
            before.completion_tokens + usage.completion_tokens,
        )

    def failed(self, error: ModelError) -> None:
        """Note that no model answered, or that the answer broke off."""
        if error.failures:
            self._model, self._entry = error.failures[-1].model, error.failures[-1].entry
        self._count(error.tries, error.failures)

    def _count(self, tries: int, failures: tuple[FailedTry, ...]) -> None:
        if tries:  # a round of tools is no further try
            self._tries = max(1, self._tries) + tries - 1
        self._failures = (*self._failures, *failures)[:MAX_FAILURES]

    def forget_guess(self) -> None:
        """Drop what belongs to a guess that is thrown away."""
        self._entry, self._tries, self._failures, self._used = None, 0, (), None
        for moment in ("request", "first_token", "first_sentence", "first_audio"):
            self._at.pop(moment, None)

    def metrics(self) -> TurnMetrics:
        """Return the metrics as of now, in milliseconds."""
        stt = self._between("pause", "transcript")
        writing = self._between("request", "first_sentence")
        voice = self._between("first_sentence", "first_audio")
        stages = [stage for stage in (stt, writing, voice) if stage is not None]
        return TurnMetrics(
            queue_ms=self._queue_ms,
            stt_ms=stt,
            llm_first_token_ms=self._between("request", "first_token"),
            tts_first_audio_ms=voice,
            engine_ms=round(sum(stages), 3) if stages else None,
            endpoint_to_audio_ms=self._between("end", "let_out"),
            total_ms=self._between("started", "done"),
            model=self._model if "request" in self._at else None,
            entry=self._entry,
            tries=self._tries,
            failures=self._failures,
            prompt_tokens=self._used.prompt_tokens if self._used else None,
            completion_tokens=self._used.completion_tokens if self._used else None,
        )

    def _between(self, start: Moment, end: Moment) -> float | None:
        if start not in self._at or end not in self._at:
            return None
        return round((self._at[end] - self._at[start]) * 1000, 3)
