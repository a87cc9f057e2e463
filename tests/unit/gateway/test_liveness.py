import pytest

from schemas.turn import Heartbeat, Started
from workers.gateway.session.liveness import DEVICE, STRANGER, Life, Liveness, Patience
from workers.gateway.session.supervisor import LAST_START_S, TurnLostError, Watch


@pytest.mark.parametrize("patience", [DEVICE, STRANGER])
def test_a_peer_is_degraded_then_gone_then_alive_again(patience: Patience) -> None:
    liveness = Liveness(now=0.0)
    assert liveness.look(1, 1.0, patience) is Life.ALIVE
    assert liveness.look(1, 1.0 + patience.degraded_s, patience) is Life.DEGRADED
    assert liveness.look(1, 1.0 + patience.gone_s, patience) is Life.GONE
    assert liveness.look(2, 1.1 + patience.gone_s, patience) is Life.ALIVE


def test_only_the_living_attempt_is_a_sign_of_life() -> None:
    watch = Watch()
    assert watch.begin(0.0) == 1
    assert watch.accepts(Started(attempt=1), 1.0)
    assert not watch.is_overdue(2.4)
    assert watch.is_overdue(2.5)
    assert watch.begin(2.5) == 2
    assert not watch.accepts(Heartbeat(attempt=1), 3.9)
    assert watch.is_overdue(4.0)


def test_the_last_attempt_is_the_last() -> None:
    watch = Watch()
    for expected in (1, 2, 3):
        assert watch.begin(0.0) == expected
    with pytest.raises(TurnLostError):
        watch.begin(0.0)


def test_the_last_attempt_may_wait_longer_for_a_worker_but_not_for_its_next_word() -> None:
    watch = Watch()
    for _ in range(3):
        watch.begin(0.0)
    assert not watch.is_overdue(LAST_START_S - 0.1)
    assert watch.is_overdue(LAST_START_S)
    assert watch.accepts(Started(attempt=3), 5.0)
    assert watch.is_overdue(6.5)
