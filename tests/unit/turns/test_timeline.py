"""From moments to metrics."""

from schemas.chat import Answered, FailedTry, Used
from schemas.turn import TurnMetrics
from workers.errors import ModelError
from workers.turns.timeline import Moment, Timeline


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def timeline_of(*moments: tuple[Moment, float]) -> TurnMetrics:
    clock = Clock()
    timeline = Timeline(clock, 3.0, "some-model")
    for moment, at in moments:
        clock.now = at
        timeline.mark(moment)
    return timeline.metrics()


def test_each_stage_is_measured_between_its_moments() -> None:
    metrics = timeline_of(
        ("pause", 2.0),
        ("transcript", 2.1),
        ("request", 2.1),
        ("first_token", 2.3),
        ("first_sentence", 2.4),
        ("first_audio", 2.45),
        ("end", 2.5),
        ("let_out", 2.502),
        ("done", 3.0),
    )
    assert metrics == TurnMetrics(
        queue_ms=3.0,
        stt_ms=100.0,
        llm_first_token_ms=200.0,
        tts_first_audio_ms=50.0,
        engine_ms=450.0,
        endpoint_to_audio_ms=2.0,
        total_ms=3000.0,
        model="some-model",
    )


def test_a_stage_that_did_not_happen_is_not_measured() -> None:
    assert timeline_of(("done", 1.0)) == TurnMetrics(queue_ms=3.0, total_ms=1000.0)


def test_a_guess_that_is_thrown_away_leaves_no_moments() -> None:
    clock = Clock()
    timeline = Timeline(clock, None, "m")
    for moment in ("pause", "transcript", "request", "first_token", "first_audio"):
        timeline.mark(moment)
    timeline.forget_guess()
    assert timeline.metrics().llm_first_token_ms is None
    assert timeline.metrics().model is None


def test_the_first_of_several_moments_counts_where_it_is_the_first_that_is_meant() -> None:
    clock = Clock()
    timeline = Timeline(clock, None, "m")
    timeline.mark("request")
    clock.now = 1.0
    timeline.mark_first("first_token")
    clock.now = 2.0
    timeline.mark_first("first_token")
    assert timeline.metrics().llm_first_token_ms == 1000.0


def test_the_tokens_of_all_rounds_are_added_up_and_those_of_a_dropped_guess_are_not() -> None:
    timeline = Timeline(lambda: 0.0, None, "a")
    assert timeline.metrics().prompt_tokens is None
    timeline.used(Used(9, 9))
    timeline.forget_guess()
    timeline.used(Used(12, 5))
    timeline.used(Used(30, 7))
    metrics = timeline.metrics()
    assert (metrics.prompt_tokens, metrics.completion_tokens) == (42, 12)


def test_a_further_round_of_tools_is_no_further_try() -> None:
    failed = FailedTry(entry=0, model="a", code="http_5xx", after_ms=1)
    timeline = Timeline(lambda: 0.0, None, "a")
    timeline.mark("request")
    timeline.answered(Answered(entry=1, model="b", tries=2, failures=(failed,)))
    timeline.answered(Answered(entry=0, model="a", tries=1))
    assert (timeline.metrics().tries, timeline.metrics().entry) == (2, 0)
    broken = ModelError("http_5xx", "scripted", retryable=True)
    broken.tries, broken.failures = 2, (failed, failed)
    timeline.failed(broken)
    assert (timeline.metrics().tries, timeline.metrics().model) == (3, "a")
    assert timeline.metrics().failures == (failed,) * 3
    timeline.forget_guess()
    assert (timeline.metrics().tries, timeline.metrics().failures) == (0, ())
