import asyncio
import contextlib
import re
import socket
from pathlib import Path

import pytest
from pydantic import SecretStr

from workers.commands.check_circuits import check_circuits
from workers.commands.checks import (
    check_database,
    check_exposure,
    check_gateway_port,
    check_home,
    check_llm_allow,
    check_llm_gateway_port,
    check_model,
    check_redis,
    check_speech_to_text,
    check_text_to_speech,
    run_checks,
)
from workers.commands.doctor import MASK, run_doctor, shown, source_of, without_password
from workers.llm_stub.server import LlmStub
from workers.settings import Settings
from workers.storage.redis_client import connect
from workers.storage.turns.breakers import BreakerRule, Breakers, endpoint_name


def settings_of(tmp_path: Path, **more: object) -> Settings:
    given = {"home": tmp_path / "home", "port": 0, "llm_gateway_port": 0} | more
    return Settings(_env_file=None, **given)  # type: ignore[arg-type]  # judged by pydantic


def test_secrets_and_passwords_are_masked() -> None:
    assert shown(SecretStr("hidden-0123456789")) == MASK
    assert shown("redis://me:hidden@host:6379/1") == f"redis://me:{MASK}@host:6379/1"
    assert shown("redis://:hidden@host") == f"redis://:{MASK}@host"
    assert shown("postgresql://host/db?password=hidden") == f"postgresql://host/db?{MASK}"
    assert shown("https://models.example.com/v1") == "https://models.example.com/v1"
    assert without_password("https://[half") == MASK
    assert (shown(None), shown(()), shown(3)) == ("-", "-", "3")


def test_a_setting_comes_from_the_environment_then_from_the_file() -> None:
    assert source_of("port", {"EDGEWISE_PORT": "1"}, {"EDGEWISE_PORT": "2"}) == "environment"
    assert source_of("port", {"edgewise_port": "1"}, {}) == "environment"
    assert source_of("port", {}, {"EDGEWISE_PORT": "2"}) == ".env"
    assert source_of("port", {"PORT": "1"}, {}) == "default"


def test_all_is_well_on_defaults(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_doctor(settings_of(tmp_path, api_key="hidden-0123456789")) == 0
    told = capsys.readouterr().out
    assert "all that is needed is there" in told
    assert re.search(r"note\W+managed model", told)
    assert not re.search(r"^\W+no\W", told, re.MULTILINE)
    assert "hidden" not in told
    assert "EDGEWISE_API_KEY" in told


def test_what_is_missing_is_said_with_a_way_to_mend_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = settings_of(tmp_path, redis_url=f"unix://{tmp_path}/none.sock")
    assert run_doctor(wrong) == 1
    assert "something is missing" in capsys.readouterr().out
    for check in run_checks(wrong):
        assert check.ok or check.mend


def test_a_home_that_others_can_read_or_that_cannot_be_made_is_noticed(tmp_path: Path) -> None:
    assert check_home(settings_of(tmp_path)).ok
    open_home = tmp_path / "home"
    open_home.mkdir(mode=0o755)
    found = check_home(settings_of(tmp_path))
    assert not found.ok
    assert "chmod 700" in found.mend


@pytest.mark.parametrize(
    "url", ["redis://127.0.0.1:1/0", "nonsense://x", "unix:///nowhere/redis.sock"]
)
def test_a_redis_that_does_not_answer_is_noticed(tmp_path: Path, url: str) -> None:
    assert not check_redis(settings_of(tmp_path, redis_url=url)).ok


@pytest.mark.parametrize(
    "url",
    ["mysql://x/y", "nonsense", "postgresql+psycopg://127.0.0.1:1/none"],
)
def test_a_database_that_does_not_answer_is_noticed(tmp_path: Path, url: str) -> None:
    assert not check_database(settings_of(tmp_path, database_url=url)).ok


def test_a_database_that_answers_is_said(tmp_path: Path) -> None:
    assert check_database(settings_of(tmp_path, database_url=f"sqlite:///{tmp_path}/x.db")).ok


def test_a_taken_port_is_noticed_unless_the_system_of_this_home_has_it(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        theirs = check_gateway_port(settings_of(tmp_path, port=port))
        assert not theirs.ok
        assert "EDGEWISE_PORT" in theirs.mend
        assert "EDGEWISE_LLM_GATEWAY_PORT" in (
            check_llm_gateway_port(settings_of(tmp_path, llm_gateway_port=port)).mend
        )
        (tmp_path / "home" / "run").mkdir(parents=True)
        ours = tmp_path / "home" / "run" / "gateway.json"
        ours.write_text(f'{{"url": "http://127.0.0.1:{port}", "pid": 1}}')
        assert check_gateway_port(settings_of(tmp_path, port=port)).ok


def test_a_gateway_that_others_can_reach_needs_a_key_of_the_operators(tmp_path: Path) -> None:
    assert check_exposure(settings_of(tmp_path)).ok
    assert check_exposure(settings_of(tmp_path, host="::1")).ok
    assert not check_exposure(settings_of(tmp_path, host="0.0.0.0")).ok
    assert check_exposure(settings_of(tmp_path, host="0.0.0.0", api_key="k" * 16)).ok


def test_no_language_model_is_a_hint_and_no_failure(tmp_path: Path) -> None:
    hint = check_model(settings_of(tmp_path))
    assert not hint.ok
    assert not hint.needed


async def test_a_managed_model_is_asked_whether_it_is_there(tmp_path: Path) -> None:
    async with LlmStub() as stub:
        named = settings_of(tmp_path, managed_llm_base_url=stub.base_url, managed_llm_model="m")
        check = await asyncio.to_thread(check_model, named)
        assert (check.ok, check.found) == (True, "m: an endpoint answers, status 200")
        no_model = settings_of(tmp_path, managed_llm_base_url=stub.base_url)
        check = await asyncio.to_thread(check_model, no_model)
        assert (check.ok, check.needed) == (False, True)
        assert "EDGEWISE_MANAGED_LLM_MODEL" in check.mend
    for settings in (named, no_model):
        check = await asyncio.to_thread(check_model, settings)
        assert (check.ok, check.needed) == (False, True)
        assert check.mend == "start the server, or mend EDGEWISE_MANAGED_LLM_BASE_URL"


@pytest.mark.parametrize("url", ["ollama:11434/v1", "https://", "http://me:hidden@x/v1"])
def test_an_endpoint_that_no_part_would_take_is_named(tmp_path: Path, url: str) -> None:
    check = check_model(settings_of(tmp_path, managed_llm_base_url=url, managed_llm_model="m"))
    assert (check.ok, check.mend) == (False, "mend EDGEWISE_MANAGED_LLM_BASE_URL")
    assert "the URL" in check.found
    assert "hidden" not in check.found


async def test_a_speech_endpoint_is_asked_whether_it_is_there(tmp_path: Path) -> None:
    async with LlmStub() as stub:
        there = settings_of(tmp_path, stt_engine="openai", stt_base_url=stub.base_url)
        check = await asyncio.to_thread(check_speech_to_text, there)
        assert (check.ok, check.found) == (True, "an endpoint answers, status 200")
        gone = settings_of(tmp_path, tts_engine="openai", tts_base_url=stub.base_url + "/none")
        assert (await asyncio.to_thread(check_text_to_speech, gone)).ok
    check = await asyncio.to_thread(check_speech_to_text, there)
    assert not check.ok
    assert check.mend == "start the server, or mend EDGEWISE_STT_BASE_URL"
    unset = check_text_to_speech(settings_of(tmp_path, tts_engine="openai"))
    assert (unset.ok, unset.mend) == (False, "set EDGEWISE_TTS_BASE_URL")


def test_the_form_of_the_allowed_model_endpoints_is_checked(tmp_path: Path) -> None:
    assert check_llm_allow(settings_of(tmp_path)).found == "https on the public internet"
    good = check_llm_allow(settings_of(tmp_path, llm_allow="ollama.lan:11434, 10.0.0.0/8"))
    assert (good.ok, "2 allowed" in good.found) == (True, True)
    for bad in ("http://ollama.lan:11434", "10.0.0.1/8", "169.254.169.254", "ollama lan"):
        refused = check_llm_allow(settings_of(tmp_path, llm_allow=bad))
        assert not refused.ok, bad
        assert refused.needed
        assert "EDGEWISE_LLM_ALLOW" in refused.found


def test_endpoints_that_turns_leave_alone_are_named(settings: Settings) -> None:
    url = "http://127.0.0.1:1/v1"
    named = settings.model_copy(
        update={
            "managed_llm_base_url": url,
            "managed_llm_model": "m",
            "stt_engine": "openai",
            "stt_base_url": url,
            "tts_engine": "openai",
            "tts_base_url": url,
        }
    )
    assert (check_circuits(named).ok, check_circuits(named).found) == (True, "none")
    asyncio.run(open_circuits(named))
    found = check_circuits(named)
    assert not found.ok
    assert not found.needed
    assert re.fullmatch(
        r"managed model: for \d+ s more; speech-to-text: to be tried by the next turn", found.found
    )


async def open_circuits(settings: Settings) -> None:
    """Let the managed model rest, the ear be about to be tried, and the voice fail once."""
    rule = BreakerRule(failures=1, open_s=300)
    place = str(settings.managed_llm_base_url)
    async with contextlib.aclosing(connect(settings)) as redis:
        await redis.flushdb()
        await Breakers(redis, rule).failed(endpoint_name(None, place, settings.managed_llm_model))
        ear = endpoint_name(None, place, settings.stt_model)
        await Breakers(redis, rule, "stt").failed(ear)
        await redis.hset(f"stt:breaker:{ear}", "open_until", "1")
        voice = endpoint_name(None, place, settings.tts_model)
        await Breakers(redis, BreakerRule(failures=2), "tts").failed(voice)


def test_without_redis_nothing_is_known_of_them(tmp_path: Path) -> None:
    for more in ({}, {"redis_url": "redis://127.0.0.1:1/0"}, {"redis_url": "nonsense://x"}):
        found = check_circuits(settings_of(tmp_path, **more))
        assert found.ok
        assert found.found.startswith("not known: ")
