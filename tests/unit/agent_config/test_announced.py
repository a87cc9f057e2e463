"""What the log says of events that were settled together."""

import structlog
from redis import Redis
from structlog.contextvars import bound_contextvars, merge_contextvars

from schemas.config_event import ConfigResult
from schemas.ids import new_id
from workers.agent_config.settling import Outcome
from workers.agent_config.tasks import announce_results


def test_each_event_of_a_group_is_logged_under_its_own_id() -> None:
    names = [new_id("event"), new_id("event")]
    outcomes = [Outcome(ConfigResult(event_id=name, status="applied")) for name in names]
    with (
        Redis(unix_socket_path="/nowhere/redis.sock") as away,
        structlog.testing.capture_logs(processors=[merge_contextvars]) as lines,
        bound_contextvars(event_id=names[0]),
    ):
        announce_results(away, outcomes)
    settled = [line["event_id"] for line in lines if line["event"] == "config event settled"]
    assert settled == names
