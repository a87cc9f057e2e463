"""The copy of an agent: how long it serves, and what it looks like."""

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from schemas.agent import Agent, Input, Output, Voice
from workers.storage.agents.copies import FRESH_S, KEEP_S, copy_arguments, is_fresh, read_copy
from workers.storage.agents.rows import StoredAgent, position_of
from workers.storage.tables import from_microseconds, to_microseconds

NOW = datetime(2026, 11, 22, 19, 5, 0, 123456, tzinfo=UTC)


def stored(name: str = "a") -> StoredAgent:
    agent = Agent(
        id="agent_" + "0" * 32,
        name=name,
        system_prompt="b",
        greeting=None,
        voice=Voice(voice_id="ivy"),
        input=Input(),
        output=Output(),
        llm=(),
        created_at=NOW,
        updated_at=NOW,
    )
    return StoredAgent(account="default", version=3, agent=agent)


def test_a_copy_reads_back_as_it_was() -> None:
    version, body, keep_s = copy_arguments(stored())
    assert (version, keep_s) == (3, KEEP_S)
    assert read_copy(body.encode()) == stored()


def test_what_is_no_copy_counts_as_none() -> None:
    for body in (None, b"", b"{", b"{}", b"null"):
        assert read_copy(body) is None


def test_a_copy_is_fresh_for_half_a_minute() -> None:
    assert is_fresh(KEEP_S)
    assert is_fresh(KEEP_S - FRESH_S + 1)
    assert not is_fresh(KEEP_S - FRESH_S)
    assert not is_fresh(-2)  # what Redis says of a key that is not there


def test_a_page_ends_at_the_moment_and_the_id() -> None:
    assert position_of(stored().agent) == (to_microseconds(NOW), "agent_" + "0" * 32)


@given(st.datetimes(min_value=datetime(1970, 1, 2), timezones=st.just(UTC)))  # noqa: DTZ001  # hypothesis adds the zone
def test_moments_are_kept_to_the_microsecond(moment: datetime) -> None:
    assert from_microseconds(to_microseconds(moment)) == moment
