"""A turn as the one JSON object that `talk --json` prints for it."""

from typing import Any, Final

from edge.conversation import Turn
from edge.uplink import GateCount

OF_THE_MODEL: Final = {"model", "entry", "failures", "prompt_tokens", "completion_tokens"}
NO_TIMES: Final = {"type", "timestamp", "reply_id", *OF_THE_MODEL}


def timings_ms(turn: Turn, ended_at: float | None) -> dict[str, float | None]:
    """Return the turn's times in milliseconds, counted from the end of the user's speech.

    What the gateway measured comes along under its own names; where the device measures the
    same, the gateway's figure has the prefix `gateway_`.
    """
    end_of_speech = turn.speech_ended_at

    def since(moment: float | None) -> float | None:
        if moment is None or end_of_speech is None:
            return None
        return round((moment - end_of_speech) * 1000, 1)

    measured = {
        "endpoint_ms": since(turn.endpoint_at),
        "reply_first_packet_ms": since(turn.first_packet_at),
        "total_ms": since(ended_at),
    }
    reply = turn.last_reply
    if reply is None or reply.metrics is None:
        return measured
    said = reply.metrics.model_dump(mode="json", exclude=NO_TIMES)
    named = {f"gateway_{key}" if key in measured else key: value for key, value in said.items()}
    return measured | named


def _model(turn: Turn) -> dict[str, Any] | None:
    """Return who answered and what was tried before; None where no model was asked."""
    reply = turn.last_reply
    if reply is None or reply.metrics is None or reply.metrics.model is None:
        return None
    said = reply.metrics.model_dump(mode="json", include=OF_THE_MODEL)
    return {"name": said.pop("model"), **said}


def as_json(
    turn: Turn,
    *,
    heard_s: float,
    ended_at: float | None,
    gate: GateCount,
    error: tuple[str, str] | None,
    greeting: dict[str, Any] | None,
) -> dict[str, Any]:
    """Return the object; `docs/device.md` says what each field means."""
    silence_s = turn.silence_after_s
    return {
        "turn": turn.number,
        "transcript": turn.transcript,
        "reply_text": turn.reply_text,
        "reply_audio_s": round(heard_s, 2),
        "interrupted": turn.was_interrupted,
        "silence_after_ms": None if silence_s is None else round(silence_s * 1000, 1),
        "timings_ms": timings_ms(turn, ended_at),
        "model": _model(turn),
        "gate": {
            "opened": gate.opened,
            "packets_sent": gate.packets_sent,
            "duty": round(gate.duty, 3),
        },
        "greeting": greeting,
        "error": None if error is None else {"code": error[0], "message": error[1]},
    }
