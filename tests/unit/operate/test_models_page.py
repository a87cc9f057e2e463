"""The page on connecting a model: its lines fit the settings, the schema and the address rules,
and it says of every class of failure what to do.
"""

import ast
import json
import re
from pathlib import Path
from typing import Any

import pytest

from schemas.agent import AgentUpdate
from workers.agent_config.probe import SLOW_FIRST_TOKEN_MS, SLOW_TOKENS_MS
from workers.errors import BlockedAddressError
from workers.providers.base_url_allow import ALLOW_NOTHING, operators_allow, parse_allow
from workers.providers.base_url_policy import BaseUrlPolicy
from workers.settings import Settings

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs" / "models.md").read_text()
CALLERS = ("turns", "providers", "agent_config")
"""Whose failures of a model a user gets to see."""
SETTING = re.compile(r"^EDGEWISE_([A-Z_]+)=(\S+)$", re.MULTILINE)


def sections() -> dict[str, str]:
    parts = re.split(r"^## (.+)$", PAGE, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def servers() -> list[str]:
    return [name for name, text in sections().items() if "```json" in text]


def entry(text: str) -> dict[str, Any]:
    (shown,) = re.findall(r"```json\n(.*?)```", text, re.DOTALL)
    (one,) = json.loads(shown.replace("…", "0123"))["llm"]
    return dict(one)


def settings(text: str) -> dict[str, str]:
    return {name.lower(): value for name, value in SETTING.findall(text)}


def classes_of_failure() -> set[str]:
    """The first argument of every `ModelError(…)` where it is written out."""
    found = set()
    for folder in CALLERS:
        for file in (ROOT / "workers" / folder).glob("*.py"):
            for node in ast.walk(ast.parse(file.read_text())):
                if isinstance(node, ast.Call) and ast.unparse(node.func) == "ModelError":
                    named = ast.walk(node.args[0])  # one class, or one of two by a condition
                    found |= {str(each.value) for each in named if isinstance(each, ast.Constant)}
    return found


def test_the_servers_that_people_ask_for_are_there() -> None:
    assert [name.split(",")[0].split(" ")[0] for name in servers()] == [
        "OpenAI",
        "OpenRouter",
        "Ollama",
        "llama.cpp",
        "vLLM",
    ]


@pytest.mark.parametrize("name", servers())
def test_the_entry_of_an_agent_is_allowed_as_the_page_says(name: str) -> None:
    text = sections()[name]
    one = entry(text)
    assert AgentUpdate.model_validate({"llm": [one]}).entries
    allow = parse_allow(settings(text).get("llm_allow", ""))
    kept = BaseUrlPolicy(allow).judge_text(one["base_url"])
    assert str(kept) == one["base_url"]
    if allow != ALLOW_NOTHING:
        with pytest.raises(BlockedAddressError):
            BaseUrlPolicy(ALLOW_NOTHING).judge_text(one["base_url"])


@pytest.mark.parametrize("name", servers())
def test_the_environment_of_the_managed_model_is_one_of_settings(name: str) -> None:
    text = sections()[name]
    given = {key: value for key, value in settings(text).items() if key != "llm_allow"}
    assert set(given) <= set(Settings.model_fields)
    made = Settings(_env_file=None, **given)  # type: ignore[arg-type]  # as text, which it reads
    one = entry(text)
    assert (made.managed_llm_base_url, made.managed_llm_model) == (one["base_url"], one["model"])
    assert BaseUrlPolicy(operators_allow(made)).judge_text(one["base_url"])


def test_every_class_of_failure_has_a_row_that_says_what_to_do() -> None:
    table = sections()["What an error means"]
    rows = dict(re.findall(r"^\| `([a-z0-9_]+)` \| (.+) \|$", table, re.MULTILINE))
    classes = classes_of_failure()
    assert {"timeout_connect", "http_4xx", "credentials_unavailable", "tls"} <= classes
    assert classes - set(rows) == set()
    assert set(rows) - classes == set(), "a class that is not there any more"
    assert all(row.count(" | ") == 1 for row in rows.values())


def test_the_bounds_of_degraded_are_those_of_the_pages() -> None:
    assert (SLOW_FIRST_TOKEN_MS, SLOW_TOKENS_MS) == (2_500, 1_000)
    for page in (PAGE, (ROOT / "docs" / "configure.md").read_text()):
        assert re.search(r"slow_first_token` \(2\.5 s or more\)", page)
        assert re.search(r"slow_tokens` \(a\s+gap of a second or more\)", page)
