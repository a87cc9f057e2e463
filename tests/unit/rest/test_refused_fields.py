"""What a caller hears of fields that are wrong: which, and never what was sent."""

import json

import pytest
from httpx import AsyncClient

from schemas.agent import MAX_ENTRIES
from tests.fakes.rest_application import PLANTED, agent


async def test_an_invalid_body_is_named_field_by_field_and_never_echoed(
    client: AsyncClient,
) -> None:
    body = agent(
        name="",
        voice={"voice_id": PLANTED},
        llm=[{"base_url": "https://x", "api_key": f"{PLANTED} {PLANTED}", PLANTED: PLANTED}],
        input={"turn_detection": {"vad_threshold": PLANTED}},
        greeting=[PLANTED],
    )
    body[PLANTED] = PLANTED
    answer = await client.post("/agents", json=body)
    assert answer.status_code == 422
    assert PLANTED not in answer.text
    params = {error["param"] for error in answer.json()["errors"]}
    assert params == {
        "name",
        "voice",
        "llm.0.model",
        "llm.0.api_key",
        "llm.0.…",
        "input.turn_detection.vad_threshold",
        "greeting",
        "…",
    }


ENTRY = {"base_url": "https://llm.example.com/v1", "model": "m", "api_key": PLANTED}


@pytest.mark.parametrize(
    ("llm", "param"),
    [
        ([ENTRY] * (MAX_ENTRIES + 1), "llm"),
        ([{**ENTRY, "apiKey": PLANTED}], "llm.0.…"),
        ([{**ENTRY, "region": PLANTED}], "llm.0.…"),
        ([{**ENTRY, "abcsecretkeyinthewrongplace": 1}], "llm.0.…"),
        ([{**ENTRY, "1234567890": 1}], "llm.0.…"),
        ([{**ENTRY, "api_key": ""}], "llm.0.api_key"),
        ([{**ENTRY, "api_key": f"{PLANTED}\r\nX: y"}], "llm.0.api_key"),
        ([{**ENTRY, "api_key": f"{PLANTED}é"}], "llm.0.api_key"),
        ([{**ENTRY, "api_key": [PLANTED]}], "llm.0.api_key"),
        ([{**ENTRY, "base_url": ""}], "llm.0.base_url"),
        ([{**ENTRY, "model": [PLANTED]}], "llm.0.model"),
        ([PLANTED], "llm.0"),
        (PLANTED, "llm"),
        ({"0": ENTRY}, "llm"),
    ],
)
async def test_an_llm_entry_is_refused_by_field_and_its_key_never_echoed(
    client: AsyncClient, llm: object, param: str
) -> None:
    answer = await client.post("/agents", json=agent(llm=llm))
    assert answer.status_code == 422
    assert answer.json()["param"] == param
    assert PLANTED not in answer.text


@pytest.mark.parametrize(
    ("fields", "param", "names"),
    [
        ({"llm": [{**ENTRY, "aip_key": PLANTED}]}, "llm.0.…", "base_url, model, api_key"),
        ({"voice": {"voice_id": "ivy", "name": PLANTED}}, "voice.…", "voice_id"),
        ({"input": {"format": {"rate": 1}}}, "input.format.…", "encoding, sample_rate"),
        (
            {"tools": [{"name": "a", "description": "b", "http": {"url": "https://x", "0": 1}}]},
            "tools.0.http.…",
            "url, http_method, headers",
        ),
    ],
)
async def test_of_a_field_that_is_unknown_its_place_is_told_and_what_may_be_there(
    client: AsyncClient, fields: dict[str, object], param: str, names: str
) -> None:
    told = (await client.post("/agents", json=agent(**fields))).json()
    assert told["param"] == param
    assert told["message"] == f"{param}: unknown field; one of: {names}"
    assert told["errors"] == [{"param": param, "message": f"unknown field; one of: {names}"}]


@pytest.mark.parametrize("name", ["abcsecretkeyinthewrongplace", "1234567890", "region", "loc", ""])
async def test_no_name_that_is_made_up_is_told(client: AsyncClient, name: str) -> None:
    for sent in (agent(**{name: 1}), agent(llm=[{**ENTRY, name: {name: 1}}])):
        told = (await client.post("/agents", json=sent)).json()
        assert told["param"].endswith("…")
        assert not name or name not in json.dumps({**told, "request_id": ""})


async def test_one_llm_entry_is_taken(client: AsyncClient) -> None:
    assert (await client.post("/agents", json=agent(llm=[ENTRY]))).status_code == 200


async def test_the_number_of_errors_told_is_bounded(client: AsyncClient) -> None:
    body = agent(**{f"{chr(97 + n % 26)}{chr(97 + n // 26)}": 1 for n in range(60)})
    assert len((await client.post("/agents", json=body)).json()["errors"]) == 20
