"""The OpenAPI document of the running gateway: whole, true, and held to by every route."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import jsonschema_rs
import pytest

from tests.servers.parts import KEY
from tests.servers.system import clean_environment, command
from workers.settings import Settings

TESTS = Path(__file__).parents[2]
METHODS = {"get", "put", "post", "patch", "delete"}
OPEN = {"healthz", "readyz"}
ERROR = {"$ref": "#/components/schemas/ErrorBody"}


@pytest.fixture(scope="module")
def system_settings(module_settings: Settings) -> Settings:
    """SQLite alone: what a body or a document is does not hang on the database."""
    return module_settings


@pytest.fixture
def document(client: httpx.Client) -> dict[str, Any]:
    answer = client.get("/openapi.json", headers={"Authorization": ""})
    assert answer.status_code == 200
    found: dict[str, Any] = answer.json()
    return found


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in document["paths"].items():
        for method in METHODS & item.keys():
            yield method, path, item[method]


SEED = os.environ.get("SCHEMATHESIS_SEED", "1")
"""What a search begins with. One and the same, so that a change is judged and not the luck of a
run; another one by hand finds more."""


def run_schemathesis(client: httpx.Client, folder: Path, examples: int) -> None:
    data = TESTS / "data" / "schemathesis"
    words = ["--config-file", str(data / "schemathesis.toml"), "run", "--no-color"]
    words += ["--max-examples", str(examples), "--seed", SEED, "-H", f"Authorization: Bearer {KEY}"]
    done = subprocess.run(
        [command("st"), *words, f"{client.base_url}/openapi.json"],
        cwd=folder,
        env=clean_environment(SCHEMATHESIS_HOOKS=str(data / "hooks.py")),
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-8_000:] + done.stderr[-2_000:]
    assert "Tested: " in done.stdout


def test_schemathesis_finds_nothing(client: httpx.Client, tmp_path: Path) -> None:
    run_schemathesis(client, tmp_path, 5)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_schemathesis_finds_nothing_in_a_long_search(client: httpx.Client, tmp_path: Path) -> None:
    run_schemathesis(client, tmp_path, 300)


def test_every_operation_says_who_may_call_and_how_it_fails(document: dict[str, Any]) -> None:
    assert document["openapi"].startswith("3.1")
    assert document["components"]["securitySchemes"]["bearer"]["scheme"] == "bearer"
    assert document["security"] == [{"bearer": []}, {"key": []}]
    assert "HTTPValidationError" not in json.dumps(document)
    for method, path, operation in operations(document):
        where = (method, path)
        assert operation["tags"], where
        assert operation["description"], where
        answers = operation["responses"]
        if operation.get("security") != []:
            assert {"401", "503"} <= answers.keys(), where
        if operation["operationId"] in OPEN:
            assert operation["security"] == [], where
            continue
        wanted = {"404"} if "{" in path else set()
        wanted |= {"400", "413", "415", "422"} if "requestBody" in operation else set()
        assert wanted <= answers.keys(), where
        for status, answer in answers.items():
            assert "X-Request-Id" in answer["headers"], where
            if int(status) >= 400:
                assert answer["content"]["application/json"]["schema"] == ERROR, where
    names = [operation["operationId"] for *_, operation in operations(document)]
    assert len(names) == len(set(names))


def test_the_examples_fit_their_schemas(document: dict[str, Any]) -> None:
    checked = 0
    for *_, operation in operations(document):
        for holder in (operation.get("requestBody", {}), *operation["responses"].values()):
            for content in holder.get("content", {}).values():
                for example in content.get("examples", {}).values():
                    schema = {**content["schema"], "components": document["components"]}
                    jsonschema_rs.validate(schema, example["value"])
                    checked += 1
    assert checked >= 8
