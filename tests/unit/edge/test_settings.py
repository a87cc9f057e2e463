from pathlib import Path

import pytest

from edge.errors import BadInputError
from edge.settings import read_settings

GIVEN = {"agent": "agent_1", "api_key": "secret-key"}


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("SERVER", "AGENT", "API_KEY", "ICE_SERVERS"):
        monkeypatch.delenv(f"EDGEWISE_{name}", raising=False)
    monkeypatch.chdir(tmp_path)


def test_the_key_never_shows() -> None:
    settings = read_settings(**GIVEN)
    assert "secret-key" not in repr(settings)
    assert "secret-key" not in settings.model_dump_json()


def test_an_option_wins_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEWISE_SERVER", "http://there:1")
    assert read_settings(**GIVEN).server == "http://there:1"
    assert read_settings(**GIVEN, server="http://here:2").server == "http://here:2"


@pytest.mark.parametrize(
    ("given", "hint"),
    [
        ({"api_key": "x"}, "--agent"),
        ({"agent": "agent_1"}, "EDGEWISE_API_KEY"),
        ({**GIVEN, "server": "localhost:8300"}, "--server"),
        ({**GIVEN, "server": "ftp://x"}, "--server"),
        ({**GIVEN, "vad_threshold": 7}, "EDGEWISE_VAD_THRESHOLD"),
    ],
)
def test_what_is_missing_or_wrong_is_named_with_what_to_do(
    given: dict[str, object], hint: str
) -> None:
    with pytest.raises(BadInputError, match=hint) as caught:
        read_settings(**given)
    assert "secret-key" not in str(caught.value)


def test_an_agent_cannot_lead_the_request_elsewhere() -> None:
    settings = read_settings(api_key="k", agent="../../etc", server="http://h:1/")
    assert settings.sessions_url == "http://h:1/v1/agents/..%2F..%2Fetc/sessions"


def test_no_stun_server_is_asked_unless_one_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    assert read_settings(**GIVEN, ice_servers=[]).ice_servers == ()
    assert read_settings(**GIVEN, ice_servers=["stun:s:1"]).ice_servers == ("stun:s:1",)
    monkeypatch.setenv("EDGEWISE_ICE_SERVERS", '["stun:a:1", "stun:b:2"]')
    assert read_settings(**GIVEN).ice_servers == ("stun:a:1", "stun:b:2")
    monkeypatch.setenv("EDGEWISE_ICE_SERVERS", "stun:a:1")
    with pytest.raises(BadInputError, match="ice_servers"):
        read_settings(**GIVEN)
