"""Changes that were accepted while name servers are away: they wait, but not for ever."""

import asyncio
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path

from sqlalchemy import Engine

from tests.integration.config.keys import NOW, accept, sealed, upsert
from tests.integration.config.rested import RESTED, report
from tests.integration.config.staged import counts, post, row
from tests.integration.config.stored_agents import apply_at
from workers.agent_config.endpoints import EndpointCheck
from workers.agent_config.groups import apply_group, apply_named
from workers.agent_config.vault import Vault
from workers.agent_config.waiting import PATIENCE
from workers.errors import TemporarilyUnresolvedError, UnresolvedHostError
from workers.providers.base_url_policy import BaseUrlPolicy
from workers.providers.public_address import IpAddress
from workers.settings import Settings


class Names:
    """A name service that a test turns on and off."""

    def __init__(self) -> None:
        self.error: Exception | None = TemporarilyUnresolvedError("not now")

    async def __call__(self, _host: str) -> tuple[IpAddress, ...]:
        if self.error is not None:
            raise self.error
        return (ip_address("9.9.9.9"),)


def test_a_name_that_cannot_be_resolved_now_is_waited_for_but_not_for_ever(
    engine: Engine, keys: Path, vault: Vault
) -> None:
    names = Names()
    accepted = NOW - 2 * PATIENCE  # it does not count how long nobody looked a name up
    with EndpointCheck.open(BaseUrlPolicy(), BaseUrlPolicy(), names) as check:
        event, called, spent = upsert(), upsert(), upsert()
        event_id, spent_id = (
            accept(engine, each, sealed(keys, each, "sk-1"), at=accepted) for each in (event, spent)
        )
        until = NOW + timedelta(seconds=5)
        called_id = accept(engine, called, sealed(keys, called, "sk-1"), expires_at=until)
        refused = apply_at(engine, called_id, NOW, vault, check)
        assert refused is not None
        assert (refused.result.status, refused.result.code) == ("rejected", "unavailable")
        assert apply_at(engine, event_id, NOW, vault, check) is None
        assert apply_at(engine, spent_id, NOW, vault, check) is None
        assert report(engine, event_id).message == "names_unavailable"

        assert apply_at(engine, event_id, RESTED, vault, check) is None
        late = NOW + PATIENCE + timedelta(seconds=1)
        ended = apply_at(engine, spent_id, late, vault, check)
        assert ended is not None
        assert (ended.result.status, ended.result.code, ended.result.param) == (
            "rejected",
            "validation_error",
            "llm.0.base_url",
        )
        names.error = None
        applied = apply_at(engine, event_id, late, vault, check)
        assert applied is not None
        assert applied.result.status == "applied"


def test_rows_whose_names_cannot_be_resolved_now_rest_and_a_name_without_address_is_refused(
    engine: Engine, stored: Settings, vault: Vault
) -> None:
    names = Names()
    rows = [row(n, llm=[("m", "sk")], settings=stored) for n in (1, 2)] + [row(3)]
    with EndpointCheck.open(BaseUrlPolicy(), BaseUrlPolicy(), names) as check:
        batch_id = post(engine, rows)
        first = apply_group(engine, batch_id, lambda: NOW, vault, check)
        assert first is not None
        assert (len(first.outcomes), first.alone) == (1, [])
        assert apply_group(engine, batch_id, lambda: NOW, vault, check) is None
        names.error = UnresolvedHostError("no address")
        assert apply_group(engine, batch_id, lambda: RESTED, vault, check) is not None
    assert counts(engine, batch_id) == {"created": 1, "failed": 2}


def test_what_was_not_looked_up_in_time_rests_where_names_are_away_but_no_call_that_waits(
    engine: Engine, keys: Path, vault: Vault
) -> None:
    async def names(host: str) -> tuple[IpAddress, ...]:
        if host.startswith("slow"):
            await asyncio.Event().wait()
        raise TemporarilyUnresolvedError(host)

    events = [upsert("https://a.example.com"), upsert("https://slow.example.com")]
    ids = [accept(engine, each, sealed(keys, each, "sk-1")) for each in events]
    called = upsert("https://slow2.example.com")
    until = NOW + timedelta(seconds=5)
    called_id = accept(engine, called, sealed(keys, called, "sk-1"), expires_at=until)
    with EndpointCheck.open(BaseUrlPolicy(), BaseUrlPolicy(), names) as check:
        applied = apply_named(engine, [*ids, called_id], lambda: NOW, vault, check, lease_s=1.0)
    assert applied is not None
    assert (applied.outcomes, applied.alone) == ([], [called_id])
    assert {report(engine, each).message for each in ids} == {"names_unavailable"}
