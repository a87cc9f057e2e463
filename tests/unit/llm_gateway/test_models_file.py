"""The operator's file: what it may say, and how it is told what is wrong with it."""

import re
from pathlib import Path

import pytest

from workers.errors import ConfigurationError
from workers.llm_gateway.models_file import parse_models, read_models
from workers.llm_gateway.models_in_force import ModelsInForce

ENVIRON = {"KEY": " sk-real ", "EMPTY": "", "ODD": "sk-\nreal"}
ENTRY = '[models.a]\nbase_url = "https://api.example/v1"\nmodel = "m"\n'


def test_a_model_has_its_upstream_its_key_and_its_region() -> None:
    text = ENTRY + 'api_key_env = "KEY"\nregion = "eu"\nfirst_token_s = 3\n'
    route = parse_models(text.encode(), ENVIRON).routes["a"]
    assert route.upstream.base_url == "https://api.example/v1"
    assert (route.upstream.model, route.upstream.region) == ("m", "eu")
    assert route.api_key
    assert route.api_key.get_secret_value() == "sk-real"
    assert "sk-real" not in repr(route)


def test_an_account_has_its_own_limits_or_those_of_all() -> None:
    text = "[limits]\nrequests_per_minute = 5\n[accounts.acme]\ntokens_per_minute = 7\n"
    table = parse_models(text.encode(), {})
    assert table.limits_of("other").requests_per_minute == 5
    assert table.limits_of("acme").requests_per_minute is None
    assert table.limits_of("acme").tokens_per_minute == 7


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x = ", "no TOML"),
        ("x = 1", "x: unknown word; one of: models, limits, accounts"),
        ('[models.a]\nbase_url = "https://x/v1"', "models.a.model: Field required"),
        (ENTRY + 'key = "sk-real"', "models.a.key: unknown word; one of: base_url, model, api_key"),
        ("[limits]\nper_minute = 5", "limits.per_minute: unknown word; one of: requests_per_min"),
        ("[accounts.a]\nx.y = 5", "accounts.a.x: unknown word; one of: requests_per_minute, tok"),
        (ENTRY.replace("https", "ftp"), "models.a.base_url"),
        (ENTRY.replace("api.", "user:sk-real@api."), "models.a.base_url"),
        (ENTRY.replace("models.a", 'models."a b"'), "models.a b"),
        (ENTRY.replace("models.a", "models.edgewise-offline"), "built-in responder"),
        (ENTRY + 'api_key_env = "MISSING"', "$MISSING is not set"),
        (ENTRY + 'api_key_env = "EMPTY"', "$EMPTY is not set"),
        (ENTRY + 'api_key_env = "ODD"', "holds no key"),
        (ENTRY + "first_token_s = 0", "models.a.first_token_s"),
        ("[limits]\nrequests_per_minute = 0", "limits.requests_per_minute"),
        ('[accounts."A B"]', "accounts.A B"),
    ],
)
def test_a_fault_is_named_by_its_place_without_what_stands_there(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)) as raised:
        parse_models(text.encode(), ENVIRON)
    assert "sk-" not in str(raised.value)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://127.0.0.1:99999999/v1", "a port that is none"),
        ("http://127.0.0.1:65536/v1", "port is none"),
        ("http://h:abc/v1", "a port that is none"),
        ("http://ollamä.lan/v1", "xn-- form"),
        ("http://[::1/v1", "no plain host"),
        ("http://h/vä", "other than ASCII"),
        ("http://h..lan/v1", "name is not well formed"),
        ("http://h/v1?key=sk-real", "has a query"),
    ],
)
def test_an_address_that_no_request_could_go_to_is_no_base_url(url: str, said: str) -> None:
    text = ENTRY.replace("https://api.example/v1", url)
    with pytest.raises(ValueError, match=r"models\.a\.base_url: the ") as raised:
        parse_models(text.encode(), ENVIRON)
    assert said in str(raised.value)
    assert "sk-" not in str(raised.value)


@pytest.mark.parametrize(
    "url", ["http://ollama_1:11434/v1", "http://[::1]:8000", "http://127.0.0.1:1/v1"]
)
def test_a_name_of_a_container_and_an_ipv6_address_are_base_urls(url: str) -> None:
    text = ENTRY.replace("https://api.example/v1", url)
    assert parse_models(text.encode(), ENVIRON).routes["a"].upstream.base_url == url


def test_a_file_that_is_not_there_is_said_with_its_setting(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"EDGEWISE_LLM_GATEWAY_MODELS.*No such file"):
        read_models(tmp_path / "none.toml", {})


def test_the_file_is_looked_at_once_a_second_and_a_broken_one_changes_nothing(
    tmp_path: Path,
) -> None:
    file, clock = tmp_path / "models.toml", [0.0]
    file.write_text(ENTRY)
    models = ModelsInForce(file, {}, now=lambda: clock[0])

    def names_after(text: str | None, seconds: float) -> list[str]:
        if text is None:
            file.unlink()
        else:
            file.write_text(text)
        clock[0] += seconds
        return list(models.table().routes)

    assert names_after(ENTRY + ENTRY.replace(".a]", ".b]"), 0.5) == ["a"]
    assert names_after(ENTRY + ENTRY.replace(".a]", ".bb]"), 1) == ["a", "bb"]
    assert names_after("broken", 1) == ["a", "bb"]
    assert models.trouble
    assert names_after(None, 1) == ["a", "bb"]
    assert models.trouble
    assert "No such file" in models.trouble
    assert names_after(ENTRY, 1) == ["a"]
    assert models.trouble is None
