from hypothesis import given
from hypothesis import strategies as st

from edge.media.gate import Gate, GateClosed, GateOpened, Passed

Speech = st.lists(st.booleans(), max_size=400)
Runs = st.lists(st.tuples(st.booleans(), st.integers(1, 60)), max_size=20)


def run(
    speech: list[bool], gate: Gate[int] | None = None
) -> list[GateOpened | GateClosed | Passed[int]]:
    gate = gate or Gate()
    return [event for n, says in enumerate(speech) for event in gate.push(n, speech=says)]


def spread(runs: list[tuple[bool, int]]) -> list[bool]:
    return [says for says, length in runs for _ in range(length)]


def test_speech_goes_out_with_300_ms_before_it_and_200_ms_after_it() -> None:
    events = run([False] * 50 + [True] * 20 + [False] * 50)

    assert events[0] == GateOpened(pre_roll_ms=300)
    assert events[-1] == GateClosed(silence_ms=200)
    assert events[1:-1] == [Passed(n, index=n) for n in range(50 - 15, 70 + 10)]


def test_a_click_shorter_than_the_onset_opens_nothing() -> None:
    assert run([False] * 50 + [True] * 2 + [False] * 50 + [True] * 2) == []


def test_speech_right_at_the_start_reports_the_pre_roll_there_was() -> None:
    assert run([True] * 3)[0] == GateOpened(pre_roll_ms=0)
    assert run([False] * 2 + [True] * 3)[0] == GateOpened(pre_roll_ms=40)


def test_a_gate_that_reopens_at_once_repeats_nothing() -> None:
    events = run([True] * 10 + [False] * 12 + [True] * 10)

    assert [type(event) for event in events if not isinstance(event, Passed)] == [
        GateOpened,
        GateClosed,
        GateOpened,
    ]
    assert [event.index for event in events if isinstance(event, Passed)] == list(range(32))
    assert GateOpened(pre_roll_ms=40) in events


@given(Runs)
def test_an_item_passes_once_at_most_in_order_and_under_its_own_number(
    runs: list[tuple[bool, int]],
) -> None:
    passed = [event for event in run(spread(runs)) if isinstance(event, Passed)]

    indexes = [event.index for event in passed]
    assert indexes == sorted(set(indexes))
    assert all(event.item == event.index for event in passed)


@given(Runs)
def test_items_pass_only_between_opening_and_closing(runs: list[tuple[bool, int]]) -> None:
    gate: Gate[int] = Gate()
    is_open = False
    for event in run(spread(runs), gate):
        match event:
            case GateOpened(pre_roll_ms):
                assert not is_open
                assert 0 <= pre_roll_ms <= 300
                is_open = True
            case GateClosed(silence_ms):
                assert is_open
                assert silence_ms == 200
                is_open = False
            case _:
                assert is_open
    assert gate.is_open is is_open


@given(Speech)
def test_all_speech_of_an_onset_or_longer_passes(speech: list[bool]) -> None:
    passed = {event.index for event in run(speech) if isinstance(event, Passed)}

    for start in range(len(speech) - 2):
        if all(speech[start : start + 3]):
            assert {start, start + 1, start + 2} <= passed


def test_the_duty_cycle_covers_the_last_minute() -> None:
    gate: Gate[int] = Gate()
    assert gate.duty_cycle == 0

    run([True] * 1500 + [False] * 1500, gate)
    assert abs(gate.duty_cycle - (1500 + 9 - 2) / 3000) < 1e-9

    run([False] * 3000, gate)
    assert gate.duty_cycle == 0


def test_a_gate_that_has_not_closed_for_30_s_says_so_until_it_closes() -> None:
    gate: Gate[int] = Gate()
    said = []
    for speech in ([True] * (1500 + 1), [True], [False] * 10):
        run(speech, gate)
        said.append(gate.always_open)
    assert said == [False, True, False]
