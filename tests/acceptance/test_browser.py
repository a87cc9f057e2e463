"""A browser is a WebRTC peer like any other: it never opens the data channel and gets an answer."""

from pathlib import Path

import pytest

from tests.acceptance.browser import chromium
from tests.acceptance.caller_page import CallerPage
from tests.acceptance.model import Model
from tests.servers.system import System
from tests.servers.waiting import wait_for


@pytest.mark.parametrize(
    "hides_addresses", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["open", "hidden"]
)
def test_a_browser_that_only_sends_audio_hears_the_answer(
    system: System, model: Model, agent: str, question: Path, *, hides_addresses: bool
) -> None:
    model.says("The train leaves at seven. It arrives in the morning.")
    caller = CallerPage(system.url, system.api_key, agent, hides_addresses=hides_addresses)
    with caller as page, chromium(page.url, question):
        wait_for("the browser connected", lambda: page.latest("connected"), within=40)
        wait_for("the question at the model", lambda: model.requests, within=40)
        quiet_before = page.latest("packetsReceived") or 0
        wait_for(
            "two seconds of reply packets",
            lambda: (page.latest("packetsReceived") or 0) - quiet_before > 100,
            within=30,
        )
        wait_for("sound in them", lambda: (page.latest("totalAudioEnergy") or 0) > 0.001)

    assert "forward" in model.last_user_message()
    assert page.errors == []
