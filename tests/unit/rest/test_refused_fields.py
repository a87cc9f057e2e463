"""What a caller hears of fields that are wrong: which, and never what was sent."""

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
        ([{**ENTRY, "region": PLANTED}], "llm.0.region"),
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


async def test_one_llm_entry_is_taken(client: AsyncClient) -> None:
    assert (await client.post("/agents", json=agent(llm=[ENTRY]))).status_code == 200


async def test_the_number_of_errors_told_is_bounded(client: AsyncClient) -> None:
    body = agent(**{f"{chr(97 + n % 26)}{chr(97 + n // 26)}": 1 for n in range(60)})
    assert len((await client.post("/agents", json=body)).json()["errors"]) == 20
