"""A model behind TLS by an authority of the operator's own, from REST to the spoken turn."""

import contextlib
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
import trustme

from tests.acceptance.model import Model
from tests.acceptance.talking import talk
from tests.servers.certificates import Certificate, certificate
from tests.servers.planted import found_in, found_under, planted
from tests.servers.system import System, running_system
from tests.servers.waiting import wait_for

FAULTS = ("wrong name", "unknown authority", "self-signed")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[dict[str, Model], Path]]:
    """Models by the fault of their certificates, and the file of the authority to trust."""
    folder = tmp_path_factory.mktemp("certificates")
    authority, file = trustme.CA(), folder / "authority.pem"
    authority.cert_pem.write_to_path(file)
    shown: dict[str, Certificate] = {"": authority.issue_cert("localhost")}
    shown |= {fault: certificate(fault, "localhost", authority, folder) for fault in FAULTS}
    with contextlib.ExitStack() as stack:
        served = {
            fault: stack.enter_context(Model(server_side(each))) for fault, each in shown.items()
        }
        yield served, file


def server_side(shown: Certificate) -> ssl.SSLContext:
    if isinstance(shown, ssl.SSLContext):
        return shown
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    shown.configure_cert(context)
    return context


@pytest.fixture(scope="module")
def trusting(models: tuple[dict[str, Model], Path]) -> Iterator[System]:
    served, file = models
    with running_system(
        EDGEWISE_CA_FILE=str(file),
        EDGEWISE_LLM_ALLOW=",".join(urlsplit(model.url).netloc for model in served.values()),
        EDGEWISE_LLM_PROBE_EVERY_S="3600",
        EDGEWISE_LOG_LEVEL="DEBUG",
    ) as running:
        yield running


def agent_on(system: System, model: Model) -> str:
    entry = {"base_url": model.url, "model": "mine", "api_key": planted("tls")}
    agent = system.agent(llm=[entry])
    stored = httpx.get(f"{system.url}/v1/agents/{agent}", headers=system.headers, timeout=20)
    assert stored.json()["llm"] == [{"base_url": model.url, "model": "mine"}]
    return agent


def probed(system: System, agent: str) -> dict[str, Any]:
    def read() -> dict[str, Any] | None:
        url = f"{system.url}/v1/agents/{agent}/llm/health"
        answer = httpx.get(url, headers=system.headers, timeout=20).raise_for_status()
        assert found_in(answer.content) == []
        (found,) = answer.json()["entries"]
        return None if found["pending"] else dict(found)

    return wait_for("the entry is probed", read, within=30)


def test_a_model_that_the_operators_authority_vouches_for_is_probed_and_answers(
    trusting: System, models: tuple[dict[str, Model], Path], go_forward: Path
) -> None:
    model = models[0][""]
    assert urlsplit(model.url).scheme == "https"
    agent = agent_on(trusting, model)
    assert probed(trusting, agent)["status"] == "ok"
    model.reset()
    model.says("Nobody else can hear this.")

    heard = talk(trusting, agent, go_forward)

    assert heard.code == 0, heard
    assert heard.turn["reply_text"] == "Nobody else can hear this."
    sent = {request.headers["authorization"] for request in model.requests}
    assert sent == {f"Bearer {planted('tls')}"}
    assert found_under(trusting.home) == {}


@pytest.mark.parametrize("fault", FAULTS)
def test_any_other_certificate_is_stored_reported_and_never_given_the_key(
    trusting: System, models: tuple[dict[str, Model], Path], fault: str
) -> None:
    model = models[0][fault]
    agent = agent_on(trusting, model)
    found = probed(trusting, agent)
    assert (found["status"], found["reason"]) == ("failing", "tls")
    assert model.requests == []
    assert found_under(trusting.home) == {}
