"""Batches over REST, on both databases: in, applied, counted, the same again, refused."""

import contextlib
import http.client
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from sqlalchemy import Engine

from schemas.batch import MAX_BATCH_BYTES, MAX_ROWS
from schemas.ids import agent_id_of, new_id
from tests.servers.planted import found_in, found_under, planted
from tests.servers.waiting import wait_for
from workers.settings import Settings
from workers.storage.batches.tables import batches
from workers.storage.database import reading

NDJSON = "application/x-ndjson"
VOICE = {"voice_id": "ivy"}
ENTRY = {"base_url": "https://8.8.8.8/v1", "model": "m"}


def row(name: str, **fields: Any) -> dict[str, Any]:
    return {
        "external_id": name,
        "name": name,
        "system_prompt": "b",
        "voice": VOICE,
        **fields,
    }


def ndjson(*rows: Any) -> bytes:
    return b"".join(json.dumps(each).encode() + b"\n" for each in rows)


def post(
    client: httpx.Client, body: bytes | Iterator[bytes], media_type: str = NDJSON, key: str = ""
) -> httpx.Response:
    headers = {"Content-Type": media_type} | ({"Idempotency-Key": key} if key else {})
    return client.post("/v1/batches", content=body, headers=headers, timeout=60)


def done(client: httpx.Client, answer: httpx.Response) -> dict[str, int]:
    """Wait until a batch is done; return the counts that are not nought."""
    assert answer.status_code == 202, answer.text
    path = f"/v1/batches/{answer.json()['id']}"

    def ended() -> dict[str, Any] | None:
        found: dict[str, Any] = client.get(path).json()
        return found if found["status"] == "done" else None

    batch = wait_for("the batch is done", ended, within=30)
    assert batch["done"] == batch["total"] == answer.json()["total"]
    assert batch["finished_at"] is not None
    names = ("created", "updated", "unchanged", "deleted", "failed")
    return {name: batch[name] for name in names if batch[name]}


def errors(client: httpx.Client, answer: httpx.Response) -> list[dict[str, Any]]:
    told = client.get(f"/v1/batches/{answer.json()['id']}/errors")
    assert told.headers["content-type"].startswith(NDJSON)
    return [json.loads(line) for line in told.text.splitlines()]


def agent(client: httpx.Client, name: str) -> dict[str, Any] | None:
    answer = client.get(f"/v1/agents/{agent_id_of('default', name)}")
    return answer.json() if answer.status_code == 200 else None


def code_of(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


def test_the_three_formats_say_the_same_and_the_second_time_nothing_changes(
    client: httpx.Client,
) -> None:
    agents = [row(f"same{n}", greeting="Hi,\n=1+1") for n in range(3)]
    csv = "external_id,name,system_prompt,voice.voice_id,greeting\n" + "".join(
        f'same{n},same{n},b,ivy,"Hi,\n=1+1"\n' for n in range(3)
    )
    assert done(client, post(client, ndjson(*agents))) == {"created": 3}
    first = agent(client, "same1")
    as_list = json.dumps(agents, indent=1).encode()
    assert done(client, post(client, as_list, "application/json")) == {"unchanged": 3}
    again = post(client, csv.encode(), "text/csv; charset=utf-8")
    assert done(client, again) == {"unchanged": 3}
    assert first is not None
    assert agent(client, "same1") == first
    assert first["greeting"] == "Hi,\n=1+1"
    assert first["external_id"] == "same1"
    gone = [{"external_id": f"same{n}", "delete": True} for n in range(3)]
    assert done(client, post(client, ndjson(*gone))) == {"deleted": 3}
    assert done(client, post(client, ndjson(*gone))) == {"unchanged": 3}
    assert agent(client, "same1") is None


def test_good_rows_are_applied_although_others_fail_each_with_its_line(
    client: httpx.Client,
) -> None:
    mine = client.post("/v1/agents", json={"name": "m", "system_prompt": "b", "voice": VOICE})
    lines = [
        ndjson(row("good1")),
        b'{"planted-bad": \n',
        ndjson(row("good2", nmae="planted-bad")),
        b'"x" * 10\n',
        ndjson(row("long", greeting="x" * 1_048_576)),
        b'{"name": "\xff"}\n',
        b"[" * 3_000 + b"\n",
        ndjson({**row("x"), "id": mine.json()["id"]}),
        ndjson({"name": "renamed", "system_prompt": "c", "voice": VOICE, "id": mine.json()["id"]}),
        ndjson({"name": "a", "system_prompt": "b", "voice": VOICE, "id": new_id("agent")}),
        ndjson(row("inner", llm=[{**ENTRY, "base_url": "https://127.0.0.1/v1", "api_key": "k"}])),
        ndjson(row("wrong", input={"turn_detection": {"min_silence": "soon"}})),
        ndjson(row("keyless", llm=[ENTRY])),
        ndjson(row("good3")),
    ]
    answer = post(client, b"".join(lines))
    assert done(client, answer) == {"created": 2, "updated": 1, "failed": 11}
    told = errors(client, answer)
    assert [(error["line"], error["param"]) for error in told] == [
        (2, None),
        (3, "…"),
        (4, None),
        (5, None),
        (6, None),
        (7, None),
        (8, None),
        (10, "agent_id"),
        (11, "llm.0.base_url"),
        (12, "input.turn_detection.min_silence"),
        (13, "llm.0.api_key"),
    ]
    assert "planted-bad" not in json.dumps(told)
    assert client.get(f"/v1/agents/{mine.json()['id']}").json()["name"] == "renamed"
    assert [bool(agent(client, name)) for name in ("good1", "good2", "good3")] == [
        True,
        False,
        True,
    ]


def test_keys_are_sealed_kept_rotated_and_never_shown(
    client: httpx.Client, system_settings: Settings
) -> None:
    def sent(name: str) -> bytes:
        return ndjson(row("keyed", llm=[{**ENTRY, "api_key": planted(name)}]))

    assert done(client, post(client, sent("one"))) == {"created": 1}
    assert done(client, post(client, sent("one"))) == {"unchanged": 1}
    assert done(client, post(client, sent("two"))) == {"updated": 1}
    assert done(client, post(client, ndjson(row("keyed", llm=[ENTRY])))) == {"unchanged": 1}
    assert done(client, post(client, ndjson(row("keyed", greeting="Hi")))) == {"updated": 1}
    refused = row("keyed", llm=[{**ENTRY, "api_key": planted("bad") + " "}])
    answer = post(client, ndjson(refused, row("keyed", llm=[{**ENTRY, "key": planted("odd")}])))
    assert done(client, answer) == {"failed": 2}
    told = client.get(f"/v1/batches/{answer.json()['id']}/errors")
    assert not found_in(told.content)
    found = agent(client, "keyed")
    assert found is not None
    assert found["llm"] == [ENTRY]
    assert found_under(system_settings.home_path) == {}


def is_received(engine: Engine, key: str) -> bool:
    """Tell whether a batch with this key has begun to come in."""
    with reading(engine) as connection:
        found = connection.execute(
            sa.select(batches.c.id).where(batches.c.idempotency_key == key)
        ).first()
    return found is not None


def test_an_idempotency_key_stands_for_one_body(client: httpx.Client, engine: Engine) -> None:
    key, body = new_id("req"), ndjson(row("once"))
    first = post(client, body, key=key)
    assert done(client, first) == {"created": 1}
    again = post(client, body, key=key)
    assert (again.status_code, again.json()) == (202, first.json())
    assert code_of(post(client, ndjson(row("twice")), key=key)) == (409, "idempotency_key_reuse")
    as_list = post(client, body, "application/json", key=key)
    assert code_of(as_list) == (409, "idempotency_key_reuse")
    assert agent(client, "twice") is None
    meanwhile: list[httpx.Response] = []

    def slow() -> Iterator[bytes]:
        yield body
        wait_for("the batch is being received", lambda: is_received(engine, f"{key}2"))
        meanwhile.append(post(client, body, key=f"{key}2"))
        yield ndjson(row("late"))

    done(client, post(client, slow(), key=f"{key}2"))
    assert [code_of(answer) for answer in meanwhile] == [(409, "idempotency_in_progress")]
    refused = post(client, b"", key=f"{key}3")
    assert refused.status_code == 422
    assert done(client, post(client, body, key=f"{key}3")) == {"unchanged": 1}


@pytest.mark.parametrize(
    ("body", "media_type", "expected"),
    [
        (b"", NDJSON, (422, "validation_error")),
        (b"\n\n", NDJSON, (422, "validation_error")),
        (b"[]", "application/json", (422, "validation_error")),
        (b'{"a": 1}', "application/json", (422, "validation_error")),
        (b"a,a\n", "text/csv", (422, "validation_error")),
        (b"{}", "text/plain", (415, "invalid_request")),
        (b"{}", "", (415, "invalid_request")),
        (b"{}\n" * (MAX_ROWS + 1), NDJSON, (422, "validation_error")),
    ],
    ids=["empty", "blank", "empty list", "no list", "no head", "text", "untyped", "too many"],
)
def test_what_is_no_batch_is_refused_whole(
    client: httpx.Client, body: bytes, media_type: str, expected: tuple[int, str]
) -> None:
    assert code_of(post(client, body, media_type)) == expected


def test_a_body_that_is_too_large_is_refused_and_nothing_of_it_is_applied(
    client: httpx.Client,
) -> None:
    caller = http.client.HTTPConnection(client.base_url.host, client.base_url.port, timeout=20)
    with contextlib.closing(caller):
        caller.putrequest("POST", "/v1/batches")
        caller.putheader("Authorization", client.headers["authorization"])
        caller.putheader("Content-Type", NDJSON)
        caller.putheader("Content-Length", str(MAX_BATCH_BYTES + 1))
        caller.endheaders(ndjson(row("toomuch")))
        answer = caller.getresponse()
        assert (answer.status, json.load(answer)["code"]) == (413, "payload_too_large")
    assert agent(client, "toomuch") is None


def test_a_batch_that_is_not_there_is_not_found(client: httpx.Client) -> None:
    for path in (f"/v1/batches/{new_id('batch')}", "/v1/batches/x", "/v1/batches/x/errors"):
        assert code_of(client.get(path)) == (404, "batch_not_found")
