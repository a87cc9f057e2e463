"""Examples for the OpenAPI document, by the name of the operation; a test holds them to schemas."""

from typing import Any, Final

_AGENT: Final = {
    "name": "Front desk",
    "system_prompt": "You answer the phone of a small hotel. Answer in one or two sentences.",
    "voice": {"voice_id": "ivy"},
    "greeting": "Good day, this is the front desk.",
}
_ID: Final = "agent_0b2f5d0c9f3e4a7d8c1b2a3f4e5d6c7b"
_MOMENT: Final = "2026-11-22T19:05:00.123456Z"
_FORMAT: Final = {"encoding": "audio/pcm", "sample_rate": None}
_RECORD: Final = {
    "id": _ID,
    "external_id": None,
    **_AGENT,
    "input": {
        "format": _FORMAT,
        "keyterms": [],
        "turn_detection": {
            "vad_threshold": 0.5,
            "min_silence": None,
            "max_silence": None,
            "interrupt_response": True,
            "interruption_delay": 0,
        },
    },
    "output": {"format": _FORMAT, "volume": 100},
    "llm": [],
    "created_at": _MOMENT,
    "updated_at": _MOMENT,
}
_SUMMARY: Final = {
    name: _RECORD[name] for name in ("id", "name", "created_at", "updated_at", "llm")
}

REQUESTS: Final[dict[str, dict[str, Any]]] = {
    "create_agent": {"plain": _AGENT},
    "update_agent": {
        "another greeting": {"greeting": "Good evening."},
        "back to the managed model": {"llm": []},
    },
    "create_token": {"for a browser": {"expires_in_seconds": 60}},
}
RESPONSES: Final[dict[str, dict[str, Any]]] = {
    "create_agent": {"201": _RECORD},
    "get_agent": {"200": _RECORD},
    "update_agent": {"200": _RECORD},
    "list_agents": {
        "200": {
            "agents": [_SUMMARY],
            "has_more": False,
            "response_metadata": {"next_cursor": None},
        }
    },
}
