"""A probe over real sockets: what each kind of endpoint comes out as."""

from collections.abc import AsyncIterator
from functools import partial
from urllib.parse import urlsplit

import pytest
import trustme
from pydantic import SecretStr

from schemas.llm_health import ProbeResult
from tests.integration.providers.little_server import LittleServer
from tests.servers.planted import found_in, planted
from tests.servers.probed_model import ProbedModel
from workers.agent_config import probe as probing
from workers.agent_config.probe import ENOUGH, probe
from workers.providers.base_url_allow import ALLOW_NOTHING, Allow, parse_allow
from workers.providers.chat import Budget, Endpoint, open_client

PATIENT = Budget(connect_s=5, first_token_s=10, between_tokens_s=10, total_s=20)
HASTY = Budget(connect_s=5, first_token_s=0.5, between_tokens_s=0.5, total_s=20)
"""For those who shall be too late."""


@pytest.fixture
async def model() -> AsyncIterator[ProbedModel]:
    async with ProbedModel() as server:
        yield server


async def probed(
    base_url: str, allow: Allow | None = None, budget: Budget = PATIENT
) -> ProbeResult:
    endpoint = Endpoint(base_url, "say", SecretStr(planted("probe")))
    allowed = parse_allow(urlsplit(base_url).netloc) if allow is None else allow
    result = await probe(endpoint, budget, partial(open_client, budget, 1, allowed))
    assert found_in(result.model_dump_json().encode()) == []
    assert "sk-secret" not in result.model_dump_json(), "what the endpoint said"
    return result


async def test_an_endpoint_that_works_is_ok_and_its_stream_was_broken_off(
    model: ProbedModel,
) -> None:
    model.token_s = 0.005
    result = await probed(model.base_url)
    assert (result.status, result.reason, result.tools) == ("ok", None, "called")
    assert result.first_token_ms is not None
    assert result.longest_gap_ms is not None
    assert result.longest_gap_ms >= 4
    assert result.cancel_ms is not None
    text, tool = model.requests
    await text.closed.wait()
    assert ENOUGH <= text.sent_tokens < 200
    assert text.headers["authorization"] == f"Bearer {planted('probe')}"
    assert tool.headers["authorization"] == f"Bearer {planted('probe')}"


@pytest.mark.parametrize(
    ("tools", "seen"),
    [
        ("broken-tool", "broken"),
        ("say", "not_called"),
        ("400", "refused"),
        ("503", "no_answer"),
    ],
)
async def test_a_model_without_tools_is_ok_and_that_is_said(
    model: ProbedModel, tools: str, seen: str
) -> None:
    model.tools = tools
    result = await probed(model.base_url)
    assert (result.status, result.tools) == ("ok", seen)


async def test_a_late_first_word_and_long_gaps_are_degraded(
    model: ProbedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probing, "SLOW_FIRST_TOKEN_MS", 150.0)
    monkeypatch.setattr(probing, "SLOW_TOKENS_MS", 100.0)
    monkeypatch.setattr(probing, "LISTEN_S", 0.3)
    model.token_s = 0.15
    slow = await probed(model.base_url)
    assert (slow.status, slow.reason) == ("degraded", "slow_tokens")
    model.pace.ttft_s = 0.2
    late = await probed(model.base_url)
    assert (late.status, late.reason) == ("degraded", "slow_first_token")
    assert (late.first_token_ms or 0) >= 200


@pytest.mark.parametrize(
    ("script", "reason", "status_code", "says"),
    [
        ("401", "http_4xx", 401, "401"),
        ("429", "http_429", 429, "429"),
        ("503", "http_5xx", 503, "503"),
        ("redirect", "http_3xx", 307, "redirects are not followed"),
        ("json", "bad_content_type", None, "does not stream"),
        ("html", "bad_content_type", None, "no event stream"),
        ("keepalive", "timeout_first_token", None, "in time"),
        ("stall@3", "timeout_inter_token", None, "stalls"),
        ("broken-json@1", "bad_sse", None, "no chat completion"),
    ],
)
async def test_what_fails_a_turn_is_failing_with_its_class(
    model: ProbedModel, script: str, reason: str, status_code: int | None, says: str
) -> None:
    model.script = script
    budget = HASTY if reason.startswith("timeout") else PATIENT
    result = await probed(model.base_url, budget=budget)
    assert (result.status, result.reason, result.status_code) == ("failing", reason, status_code)
    assert says in (result.message or "")
    assert result.tools is None


async def test_an_address_that_is_not_allowed_is_not_dialled(model: ProbedModel) -> None:
    for base_url in (model.base_url, "https://127.0.0.1/v1", "https://169.254.169.254/v1"):
        result = await probed(base_url, ALLOW_NOTHING)
        assert (result.status, result.reason) == ("failing", "blocked_address")
        assert "127.0.0.1" not in (result.message or "")
    assert not model.requests


async def test_a_certificate_that_nobody_vouches_for_is_refused_before_the_key_is_sent() -> None:
    certificate = trustme.CA().issue_cert("127.0.0.1")
    async with LittleServer(certificate=certificate) as server:
        result = await probed(f"https://127.0.0.1:{server.port}/v1")
        assert (result.status, result.reason) == ("failing", "tls")
        assert server.heads == []


async def test_nobody_there_is_failing() -> None:
    async with ProbedModel() as gone:
        base_url = gone.base_url
    result = await probed(base_url)
    assert (result.status, result.reason) == ("failing", "disconnected")
