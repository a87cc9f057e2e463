import time
from dataclasses import dataclass, field
from typing import Any

import pytest
from pydantic import SecretStr

from edge.call import Call, interrupts_after_s
from edge.peer import Peer
from edge.reply_line import ReplyLine
from edge.settings import DeviceSettings
from edge.tools import DeviceTools
from edge.uplink import Uplink
from edge.view import NoView
from schemas.session_events import ClientEvent, ReplyStarted, SessionReady


class Line(ReplyLine):
    def __init__(self) -> None:
        super().__init__()
        self.did: list[str] = []

    def packet(self, sequence: int, timestamp: int, payload: bytes) -> None:  # noqa: ARG002  # the line's
        self.did.append(f"packet {sequence}")

    def fall_silent(self) -> None:
        self.did.append("silence")


class Wire(Peer):
    def __init__(self) -> None:
        """Connect to nobody."""

    def send_event(self, event: ClientEvent) -> None:
        pass


@dataclass
class Device:
    """A device to which a reply comes in; times are seconds from now on."""

    call: Call
    line: Line
    uplink: Uplink
    now: float = field(default_factory=time.monotonic)

    @classmethod
    def with_a_reply(cls, **detection: Any) -> "Device":
        line = Line()
        settings = DeviceSettings(
            _env_file=None, server="http://localhost", agent="agent_1", api_key=SecretStr("k")
        )
        call = Call(settings, line, NoView(), DeviceTools({}), turn_per_utterance=False)
        device = cls(call, line, call.uplink(Wire()))
        config = {"input": {"turn_detection": detection}}
        call.on_event(SessionReady(session_id="session_1", config=config))
        call.on_event(ReplyStarted(reply_id="reply_1", item_id="item_1"))
        call.on_packet(1, 0, b"x")
        return device

    def speech(self, after_s: float) -> None:
        self.uplink.on_opened(self.now + after_s, self.now + after_s)

    def silence(self, after_s: float) -> None:
        self.uplink.on_closed(self.now + after_s, self.now + after_s)


def test_a_reply_falls_silent_as_soon_as_the_user_speaks() -> None:
    device = Device.with_a_reply()
    device.speech(0.1)
    device.call.on_packet(2, 960, b"x")
    assert device.line.did == ["packet 1", "silence"]


def test_a_reply_falls_silent_once_the_user_has_spoken_as_long_as_the_agent_asks() -> None:
    device = Device.with_a_reply(interruption_delay=500)
    device.speech(0.1)
    device.call.tick(device.now + 0.58)
    device.call.on_packet(2, 960, b"x")
    assert device.line.did == ["packet 1", "packet 2"]
    device.call.tick(device.now + 0.62)
    device.call.on_packet(3, 1920, b"x")
    assert device.line.did == ["packet 1", "packet 2", "silence"]


def test_a_cough_that_is_shorter_leaves_the_reply_alone() -> None:
    device = Device.with_a_reply(interruption_delay=500)
    device.speech(0.1)
    device.silence(0.4)
    device.call.tick(device.now + 0.7)
    device.call.on_packet(2, 960, b"x")
    assert device.line.did == ["packet 1", "packet 2"]


def test_a_reply_that_may_not_be_interrupted_is_heard_out() -> None:
    device = Device.with_a_reply(interrupt_response=False, interruption_delay=200)
    device.speech(0.1)
    device.call.tick(device.now + 5)
    device.call.on_packet(2, 960, b"x")
    assert device.line.did == ["packet 1", "packet 2"]


@pytest.mark.parametrize("config", [{}, {"input": None}, {"input": {"turn_detection": 1}}])
def test_a_config_of_which_nothing_is_known_lets_the_user_interrupt(config: dict[str, Any]) -> None:
    assert interrupts_after_s(config) == 0
