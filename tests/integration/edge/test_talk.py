"""The device's `talk` against a real WebRTC peer."""

import asyncio
import itertools
import socket
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edge.errors import BusyError, RefusedError, UnreachableError
from edge.media.detector import LAG_MS
from edge.recorder import Recorder
from edge.settings import DeviceSettings
from edge.talk import Plan, talk
from edge.view import NoView
from edge.wav_sink import WavSink
from schemas.session_events import GateClosed, GateOpened, ToolCall, ToolResultEvent
from tests.integration.edge.scripted_gateway import ScriptedGateway, until

Speech = NDArray[np.int16]


async def hold(
    settings: DeviceSettings, *speeches: Speech, out: Path | None = None, after: float | None = None
) -> tuple[bool, list[dict[str, Any]]]:
    reports: list[dict[str, Any]] = []
    sink = WavSink(out) if out is not None else None
    try:
        answered = await talk(
            settings,
            Plan(speeches, after),
            recorder=Recorder(sink),
            view=NoView(),
            on_report=reports.append,
        )
    finally:
        if sink is not None:
            sink.__exit__(None, None, None)
    return answered, reports


def read(path: Path) -> Speech:
    with wave.open(str(path)) as file:
        assert (file.getnchannels(), file.getsampwidth()) == (1, 2)
        return np.frombuffer(file.readframes(file.getnframes()), dtype=np.int16)


async def test_one_recording_makes_one_turn_and_its_reply_is_written_down(
    gateway: ScriptedGateway, settings: DeviceSettings, go_forward: Speech, tmp_path: Path
) -> None:
    answered, (report,) = await hold(settings, go_forward, out=tmp_path / "reply.wav")

    assert answered, report
    assert report["transcript"] == "hello agent"
    assert report["reply_text"] == "hello user"
    assert report["error"] is None
    assert report["greeting"] is None
    assert report["reply_audio_s"] == pytest.approx(1.0, abs=0.1)
    assert report["gate"]["opened"] == 1
    assert report["gate"]["packets_sent"] == len(gateway.call.packets)
    timings = report["timings_ms"]
    assert 250 < timings["endpoint_ms"] < timings["reply_first_packet_ms"] + 1
    assert timings["total_ms"] > timings["reply_first_packet_ms"] + 900
    assert (timings["stt_ms"], timings["gateway_endpoint_ms"]) == (12.5, 100.0)
    heard = read(tmp_path / "reply.wav")
    assert len(heard) / 48_000 == pytest.approx(report["reply_audio_s"], abs=0.01)
    assert 6_000 < np.abs(heard).max() < 10_000
    assert gateway.deleted == [f"/v1/sessions/{gateway.call.session_id}"]


async def test_the_gate_says_that_it_is_there_and_frames_the_speech(
    gateway: ScriptedGateway, settings: DeviceSettings, go_forward: Speech
) -> None:
    await hold(settings, go_forward)

    first, opened, closed = gateway.call.events
    assert first == GateClosed(silence_ms=0)
    assert opened == GateOpened()
    assert isinstance(closed, GateClosed)
    assert closed.silence_ms == 200 + LAG_MS
    loud = np.abs(gateway.call.heard().astype(np.int32)) > 1_000
    assert loud[: 16_000 // 2].any()
    ticks = [timestamp for _, timestamp, _ in gateway.call.packets]
    assert {b - a for a, b in itertools.pairwise(ticks)} == {960}


async def test_several_recordings_are_turns_of_one_session(
    gateway: ScriptedGateway, settings: DeviceSettings, go_forward: Speech
) -> None:
    gateway.script.reply_s = 0.3
    answered, reports = await hold(settings, go_forward, go_forward)
    assert answered
    assert [report["turn"] for report in reports] == [1, 2]
    assert len(gateway.calls) == 1


async def test_the_greeting_is_heard_out_and_comes_with_the_first_turn(
    gateway: ScriptedGateway, settings: DeviceSettings, go_forward: Speech
) -> None:
    gateway.script.greeting = "good morning"
    answered, (report,) = await hold(settings, go_forward)
    assert answered, report
    assert report["greeting"]["reply_text"] == "good morning"
    assert report["greeting"]["reply_audio_s"] == pytest.approx(1.0, abs=0.1)
    assert report["greeting"]["error"] is None
    assert report["reply_text"] == "hello user"
    assert not report["interrupted"]


async def test_speaking_over_the_reply_silences_it_at_once(
    gateway: ScriptedGateway, settings: DeviceSettings, go_forward: Speech
) -> None:
    gateway.script.reply_s = 5.0
    speech = go_forward[4_000:]
    answered, (first, second) = await hold(settings, go_forward, speech, after=500)
    assert answered
    assert first["interrupted"]
    assert first["silence_after_ms"] <= 1_000  # bench/barge_in.py has the figure
    assert first["reply_text"] == "hello"
    assert 0.4 < first["reply_audio_s"] < 2
    assert second["reply_text"] == "hello user"
    assert second["reply_audio_s"] == pytest.approx(5.0, abs=0.2)


@pytest.mark.parametrize("is_changed", [False, True], ids=["from the start", "since this turn"])
async def test_an_agent_that_may_not_be_interrupted_is_heard_out_by_the_device(
    gateway: ScriptedGateway, settings: DeviceSettings, go_forward: Speech, *, is_changed: bool
) -> None:
    config = {"input": {"turn_detection": {"interrupt_response": False}}}
    if is_changed:
        gateway.script.changed_config = config
    else:
        gateway.script.config = config
    gateway.script.reply_s = 3.0
    _, (first, _) = await hold(settings, go_forward, go_forward, after=200)
    assert first["silence_after_ms"] is None


@pytest.mark.parametrize("every", [3, 10])
async def test_lost_reply_packets_leave_the_reply_whole_in_length(
    gateway: ScriptedGateway, settings: DeviceSettings, go_forward: Speech, every: int
) -> None:
    gateway.script.lose_every = every
    answered, (report,) = await hold(settings, go_forward)
    assert answered
    assert report["reply_audio_s"] == pytest.approx(1.0, abs=0.15)


async def test_poison_packets_do_not_end_the_audio(
    gateway: ScriptedGateway, settings: DeviceSettings, go_forward: Speech
) -> None:
    gateway.script.poison = True
    answered, (report,) = await hold(settings, go_forward)
    assert answered
    assert report["reply_audio_s"] >= 0.9


async def test_poison_events_do_not_end_the_session(
    gateway: ScriptedGateway, settings: DeviceSettings, go_forward: Speech
) -> None:
    async def poison() -> None:
        await until(lambda: bool(gateway.calls) and bool(gateway.call.packets))
        for text in (
            "",
            "[]",
            "{",
            '{"type":"reply.done"}',
            '{"type":"of.tomorrow"}',
            "x" * 20_000,
        ):
            gateway.call.send_text(text)

    _, (answered, (report,)) = await asyncio.gather(poison(), hold(settings, go_forward))
    assert answered
    assert report["transcript"] == "hello agent"


async def test_a_failed_reply_is_the_error_of_its_turn(
    gateway: ScriptedGateway, settings: DeviceSettings, go_forward: Speech
) -> None:
    gateway.script.fails_with = ("llm_failed", "the model did not answer")
    answered, (report,) = await hold(settings, go_forward)
    assert not answered
    assert report["error"] == {"code": "llm_failed", "message": "the model did not answer"}
    assert report["reply_audio_s"] > 0.9


async def test_a_turn_without_any_answer_ends_with_an_error(
    gateway: ScriptedGateway, settings: DeviceSettings, go_forward: Speech
) -> None:
    gateway.script.answers = False
    patient = settings.model_copy(update={"no_answer_s": 1.5})
    answered, (report,) = await hold(patient, go_forward)
    assert not answered
    assert report["error"]["code"] == "no_answer"


async def test_silence_is_no_turn(gateway: ScriptedGateway, settings: DeviceSettings) -> None:
    answered, (report,) = await hold(settings, np.zeros(16_000, dtype=np.int16))
    assert not answered
    assert report["error"]["code"] == "no_speech"
    assert gateway.call.packets == []


async def test_an_utterance_without_words_is_no_hang(
    gateway: ScriptedGateway, settings: DeviceSettings, go_forward: Speech
) -> None:
    gateway.script.ignores = True
    answered, (report,) = await hold(settings, go_forward)
    assert not answered
    assert report["error"]["code"] == "nothing_understood"


async def test_a_gateway_that_dies_in_mid_turn_is_the_error_of_that_turn(
    gateway: ScriptedGateway, settings: DeviceSettings, go_forward: Speech
) -> None:
    gateway.script.answers = False
    hasty = settings.model_copy(update={"degraded_s": 0.3, "lost_s": 0.8})

    async def die() -> None:
        await until(lambda: bool(gateway.calls) and bool(gateway.call.packets))
        await gateway.call.close()

    _, (answered, (report,)) = await asyncio.gather(die(), hold(hasty, go_forward))
    assert not answered
    assert report["error"]["code"] == "connection_lost"


async def test_a_wrong_key_is_refused_with_a_hint_and_without_the_key(
    settings: DeviceSettings, go_forward: Speech
) -> None:
    wrong = DeviceSettings(
        _env_file=None, server=settings.server, agent=settings.agent, api_key="wrong-secret"
    )
    with pytest.raises(RefusedError, match="EDGEWISE_API_KEY") as caught:
        await hold(wrong, go_forward)
    assert "wrong-secret" not in str(caught.value)


async def test_an_unknown_agent_is_refused_by_name(
    settings: DeviceSettings, go_forward: Speech
) -> None:
    other = settings.model_copy(update={"agent": "../../etc/passwd"})
    with pytest.raises(RefusedError, match="knows no agent"):
        await hold(other, go_forward)


async def test_a_full_gateway_says_when_to_come_back(
    gateway: ScriptedGateway, settings: DeviceSettings, go_forward: Speech
) -> None:
    gateway.script.status, gateway.script.retry_after = 503, "7"
    with pytest.raises(BusyError) as caught:
        await hold(settings, go_forward)
    assert caught.value.retry_after_s == 7


@pytest.mark.parametrize("answer", ["", "hello", "v=0\r\n", "v=0\r\nm=audio 9 RTP/AVP 0\r\n"])
async def test_an_answer_that_is_no_sdp_is_no_traceback(
    gateway: ScriptedGateway, settings: DeviceSettings, go_forward: Speech, answer: str
) -> None:
    gateway.script.answer = answer
    hasty = settings.model_copy(update={"connect_s": 2.0})
    with pytest.raises(UnreachableError):
        await hold(hasty, go_forward)


async def test_nobody_at_the_address_is_said_with_the_address(
    settings: DeviceSettings, go_forward: Speech
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(UnreachableError, match=url):
            await hold(settings.model_copy(update={"server": url}), go_forward)


async def test_a_tool_runs_on_the_device_and_an_unknown_one_is_answered_at_once(
    gateway: ScriptedGateway, settings: DeviceSettings, go_forward: Speech
) -> None:
    gateway.script.tools = (
        ToolCall(call_id="call_1", name="lights", arguments={"room": "hall"}),
        ToolCall(call_id="call_2", name="oven", arguments={}),
    )
    with_lights = settings.model_copy(update={"tools": {"lights": "cat"}})
    answered, _ = await hold(with_lights, go_forward)
    assert answered
    results = {e.call_id: e for e in gateway.call.events if isinstance(e, ToolResultEvent)}
    assert (results["call_1"].result, results["call_1"].is_error) == ('{"room": "hall"}', False)
    assert results["call_2"].is_error
